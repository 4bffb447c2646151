"""Drives a scheduler in either world: listen, handle, do, let the observers see."""

from collections.abc import Sequence

from edge.core.interfaces import Moment, Observer, World
from edge.core.scheduler import Scheduler


def run(scheduler: Scheduler, world: World, observers: Sequence[Observer] = ()) -> None:
    """Handles events until the world says that it is over."""
    observers = [*learners(scheduler), *observers]
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


def learners(scheduler: Scheduler) -> list[Observer]:
    """Returns the plug-ins that learn from what they see: a policy, what it wraps, answers, the estimator."""
    found: list[object] = [scheduler.policy]
    while (inner := getattr(found[-1], "inner", None)) is not None:
        found.append(inner)
    found += [*scheduler.answers.values(), scheduler.state.estimator]
    return [plug_in for plug_in in found if isinstance(plug_in, Observer)]
