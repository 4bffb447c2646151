"""Measures the demand for each model: how often, how urgently, and how many further tasks its results lead to."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from edge.core.events import Arrived, Event, Finished, Run, Task, Time
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.meters.arrival_rate import RateMeter

FRESH_NS = 10_000_000_000  # age at which a shortest deadline is replaced, and period in which old counts are halved
APPS_MAX = 1_024  # names come with requests: bounds memory; the app that was silent for longest is forgotten


@dataclass
class Traffic:
    """Counts, from the moments it sees, the tasks with a deadline that were opened, whatever became of them.

    A request that is dropped on arrival counts for the models that its app opened last time.

    `meter`: measures the tasks by model.
    """

    meter: RateMeter = field(default_factory=RateMeter)
    slos_ns: dict[str, Time] = field(default_factory=dict, repr=False)  # model -> shortest recent deadline
    counted: int = field(default=0, repr=False)  # tasks so far
    _opens: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)  # app -> models
    _seen_ns: dict[str, Time] = field(default_factory=dict, repr=False)  # model -> when its shortest deadline came
    _ended: dict[str, float] = field(default_factory=dict, repr=False)  # model -> tasks that finished
    _children: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)  # model -> model -> tasks opened
    _next_task: int = field(default=1, repr=False)
    _faded_ns: Time = field(default=0, repr=False)

    def see(self, moment: Moment) -> None:
        """Counts what this moment opened; to be called once with every moment."""
        first, self._next_task = self._next_task, moment.state.next_task
        event = moment.event
        if isinstance(event, Arrived):
            self._arrived(event, moment, first)
        elif isinstance(event, Finished):
            self._finished(event, moment, first)

    def rates(self, now: Time) -> dict[str, float]:
        """Returns the tasks per second by model, in the order of names."""
        return self.meter.rates(now)

    def children(self, model: str) -> dict[str, float]:
        """Returns how many tasks of other models one task of this model leads to, in the order of names."""
        ended = self._ended.get(model, 0.0)
        return {child: count / ended for child, count in sorted(self._children.get(model, {}).items()) if ended}

    def roots(self) -> list[str]:
        """Returns the models that requests begin with, in the order of names."""
        return sorted({model for models in self._opens.values() for model in models})

    def _arrived(self, event: Arrived, moment: Moment, first: int) -> None:
        request, state = event.request, moment.state
        if request.deadline_ns is None:
            return
        models = tuple(task.model for task in born(moment, (request.id,), first)) or self._opens.get(request.app, ())
        if not models and request.app in state.models:
            models = (request.app,)
        self._opens.pop(request.app, None)
        if len(self._opens) >= APPS_MAX:
            del self._opens[next(iter(self._opens))]
        self._opens[request.app] = models
        for model in models:
            self._count(model, moment.now, request.deadline_ns - request.arrived_ns)

    def _finished(self, event: Finished, moment: Moment, first: int) -> None:
        run = ended_run(moment.state, event)
        if run is None or run.background:
            return
        self._fade(moment.now)
        last = [task for task in run.tasks if task.at + len(run.stages) >= len(task.chain)]
        model_of = {task.id: task.model for task in last}
        for task in last:
            self._ended[task.model] = self._ended.get(task.model, 0.0) + 1
        requests = tuple({task.request: None for task in last})
        for task in born(moment, requests, first):
            parent = model_of.get(task.parent or 0)
            if parent is not None and task.deadline_ns is not None:
                opened = self._children.setdefault(parent, {})
                opened[task.model] = opened.get(task.model, 0.0) + 1
                self._count(task.model, moment.now, task.deadline_ns - task.arrived_ns)

    def _count(self, model: str, now: Time, slo_ns: Time) -> None:
        self.counted += 1
        self.meter.count(model, now)
        known = self.slos_ns.get(model)
        if known is None or slo_ns <= known or now - self._seen_ns[model] > FRESH_NS:
            self.slos_ns[model], self._seen_ns[model] = slo_ns, now

    def _fade(self, now: Time) -> None:
        if now - self._faded_ns < FRESH_NS:
            return
        self._faded_ns = now
        for counts in (self._ended, *self._children.values()):
            for model in counts:
                counts[model] /= 2


def ended_run(state: State, event: Event) -> Run | None:
    """Returns the run that this event finished, or None."""
    for lane in state.lanes.values():
        if isinstance(event, Finished) and lane.ended is not None and lane.ended.work_id == event.work_id:
            return lane.ended
    return None


def born(moment: Moment, requests: tuple[int, ...], first: int) -> Iterator[Task]:
    """Yields the tasks of these requests that this moment opened, which are those with ids from `first` on.

    Tasks that were dropped in the same moment are not found.
    """
    if moment.state.next_task == first:
        return
    for number in requests:
        opened = moment.state.requests.get(number)
        yield from (task for task in opened.waiting.values() if task.id >= first) if opened else ()
    for action in moment.actions:
        if isinstance(action, Run):
            yield from (task for task in action.tasks if task.id >= first)
