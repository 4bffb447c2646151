"""The loop of both worlds: hear, handle, do, let the observers see."""

from collections.abc import Sequence

from edge.protocols import Moment, Observer, World
from edge.scheduler import Scheduler


def run(scheduler: Scheduler, world: World, observers: Sequence[Observer] = ()) -> None:
    """Runs until the world says that it is over."""
    while (heard := world.listen()) is not None:
        now, event = heard
        actions = scheduler.handle(event, now)
        for action in actions:
            world.do(action)
        if observers:
            moment = Moment(now, event, actions, scheduler.state)
            for observer in observers:
                for posted in observer.observe(moment):
                    world.post(posted)
