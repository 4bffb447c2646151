"""Computes the least device time that each request needs, whatever the policy does: in the best batch it can join.

A batch that a request is part of lies inside the request's window, from arrival to deadline, and so does the request's
share of it, duration / batch. How large the batch can be, and so how small the share, depends on the other requests
whose windows allow them to join it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np

from edge.answers.cascade import Cascade
from edge.core.events import Request, Task
from edge.estimators.table import Table
from evaluation.bounds.preemptive_relaxation import Floats, Ints
from evaluation.scenario import Scenario
from porting.variant import Variant

WAYS_MAX = 256  # combinations of variants told apart; beyond, the best accuracy is assumed at the least work


@dataclass(frozen=True)
class Need:
    """Describes a model that requests of an app may need. Each array has one entry per request.

    `count`: tasks; `head_ns`, `tail_ns`: the least time of what has to be done before and after them.
    """

    model: str
    count: Ints
    head_ns: Ints
    tail_ns: Ints


@dataclass(frozen=True)
class Way:
    """Describes one way to answer the requests of an app. Both arrays have one entry per request.

    `value`: what the answer is worth; `work_ns`: device time that it takes at least, infinite where there is not time
    enough.
    """

    value: Floats
    work_ns: Floats


@dataclass
class AppDemand:
    """Holds the requests of one app that have a deadline, and the models they need.

    `together`: an answer takes all of `needs`; else any one of them may be enough.
    """

    name: str
    ids: Ints
    begin_ns: Ints
    end_ns: Ints
    needs: Sequence[Need]
    together: bool = True


@dataclass
class Demand:
    """Holds what a scenario's requests need of its lanes, which equal `speed` of the quickest lane."""

    scenario: Scenario
    variants: Mapping[str, Sequence[Variant]] = field(init=False)

    def __post_init__(self) -> None:
        scenario = self.scenario
        self.variants = {each.variant.model: (each.variant, *each.others) for each in scenario.served}
        self.stages = {stage.digest: stage for each in scenario.served for stage in each.stages}
        self.profile = scenario.profile or Table()
        self.lanes = [lane.lane for lane in scenario.lanes]

    # ---- the box ---------------------------------------------------------------------------------------------------

    @cached_property
    def durations_ns(self) -> Mapping[str, Mapping[int, int]]:
        """Maps stages to batch sizes to the duration in ns on the lane that is quickest at it."""
        return {
            digest: {
                batch: min(self.profile.duration_ns(stage, batch, lane) for lane in self.lanes)
                for batch in stage.batches
            }
            for digest, stage in self.stages.items()
        }

    @cached_property
    def speed(self) -> float:
        """Sums the speeds of the lanes, 1.0 being the quickest lane's.

        A lane counts for the largest part of the quickest lane's speed that it reaches with any stage and batch, so the
        sum is never too low.
        """
        return sum(
            max(
                quickest_ns / self.profile.duration_ns(self.stages[digest], batch, lane)
                for digest, durations_ns in self.durations_ns.items()
                for batch, quickest_ns in durations_ns.items()
            )
            for lane in self.lanes
        )

    def alone_ns(self, stages: Sequence[str]) -> int:
        """Returns the least duration in ns of a chain of stages, each in the batch size that ends first."""
        return sum(min(self.durations_ns[digest].values()) for digest in stages)

    def quickest_ns(self, model: str) -> int:
        """Returns the least duration in ns of a task of this model, over all its variants."""
        return min(self.alone_ns(variant.stages) for variant in self.variants[model])

    # ---- the requests ----------------------------------------------------------------------------------------------

    @cached_property
    def apps(self) -> Sequence[AppDemand]:
        """Lists the demand of each app that has a request with a deadline and a model that can answer it."""
        groups: dict[str, list[Request]] = {}
        for request in self.scenario.requests:
            if request.deadline_ns is not None:
                groups.setdefault(request.app, []).append(request)
        return [made for name, requests in groups.items() if (made := self._app(name, requests)) is not None]

    def _app(self, name: str, requests: Sequence[Request]) -> AppDemand | None:
        answer = self.scenario.answers.get(name)
        ids, begin_ns, end_ns = np.array(
            [(request.id, request.arrived_ns, request.deadline_ns) for request in requests], np.int64
        ).T
        zeros = np.zeros(len(requests), np.int64)
        if isinstance(answer, Cascade) and answer.detect in self.variants:
            return AppDemand(name, ids, begin_ns, end_ns, self._cascade(answer, requests))
        models = [name] if answer is None else list(dict.fromkeys(answer.models()))
        needs = [Need(model, zeros + 1, zeros, zeros) for model in models if model in self.variants]
        # Nothing is known of this kind of answer but that it takes a result of at least one of its models.
        return AppDemand(name, ids, begin_ns, end_ns, needs, together=False) if needs else None

    def _cascade(self, answer: Cascade, requests: Sequence[Request]) -> Sequence[Need]:
        """Returns the need of the detector and, where what it finds is known before the run, of each classifier."""
        zeros = np.zeros(len(requests), np.int64)
        head_ns = zeros + self.quickest_ns(answer.detect)
        tail_ns, needs = zeros, []
        found = found_by(self.scenario, answer.detect, requests)
        for kind, model in answer.classify.items():
            count = np.array([min(answer.items_max, items.get(kind, 0)) for items in found], np.int64)
            if model in self.variants and count.any():
                needs.append(Need(model, count, head_ns, zeros))
                tail_ns = np.maximum(tail_ns, (count > 0) * self.quickest_ns(model))
        return [Need(answer.detect, zeros + 1, zeros, tail_ns), *needs]

    # ---- the work --------------------------------------------------------------------------------------------------

    def ways(self, app: AppDemand, value: Callable[[Variant], float]) -> list[Way]:
        """Returns all ways to answer the requests of an app.

        `value`: what an answer by a variant is worth; one by several models is worth the mean of theirs. Beyond
        `WAYS_MAX` combinations of variants it returns one way that is better than any of them.
        """
        choices = [self._ways_of_need(app, at, value) for at in range(len(app.needs))]
        if not app.together:
            return [way for ways in choices for way in ways]
        if np.prod([len(ways) for ways in choices]) > WAYS_MAX:
            choices = [[best_of(ways)] for ways in choices]
        needed = np.array([need.count > 0 for need in app.needs])
        return [
            Way(
                np.average([way.value for way in chosen], axis=0, weights=needed),
                np.sum([way.work_ns for way in chosen], axis=0),
            )
            for chosen in product(*choices)
        ]

    def _ways_of_need(self, app: AppDemand, at: int, value: Callable[[Variant], float]) -> list[Way]:
        need, ways = app.needs[at], []
        for variant in self.variants[need.model]:
            shares_ns = sum(self.shares_ns[app.name, at, digest] for digest in variant.stages)
            work_ns = np.multiply(need.count, shares_ns, out=np.zeros(len(app.ids)), where=need.count > 0)
            ways.append(Way(np.full(len(app.ids), value(variant)), work_ns))
        return ways

    @cached_property
    def shares_ns(self) -> Mapping[tuple[str, int, str], Floats]:
        """Maps (app, index of the need, stage) to the least device time in ns of one task of each request there."""
        windows: dict[str, dict[tuple[str, int, str], tuple[Ints, Ints, Ints]]] = {}
        for app in self.apps:
            for at, need in enumerate(app.needs):
                for digest, (head_ns, tail_ns) in self._offsets_ns(need.model).items():
                    begin_ns = app.begin_ns + need.head_ns + head_ns
                    end_ns = app.end_ns - need.tail_ns - tail_ns
                    windows.setdefault(digest, {})[app.name, at, digest] = (begin_ns, end_ns, need.count)
        found: dict[tuple[str, int, str], Floats] = {}
        for digest, visits in windows.items():
            begin_ns, end_ns, count = (np.concatenate(column) for column in zip(*visits.values(), strict=True))
            least_ns = least_shares(begin_ns, end_ns, count, self.durations_ns[digest])
            sizes = np.cumsum([len(visit[0]) for visit in visits.values()])[:-1]
            found.update(zip(visits, np.split(least_ns, sizes), strict=True))
        return found

    def _offsets_ns(self, model: str) -> Mapping[str, tuple[int, int]]:
        """Maps stages to the least time in ns of what comes before and after them in the chain of any variant."""
        found: dict[str, tuple[int, int]] = {}
        for variant in self.variants[model]:
            for at, digest in enumerate(variant.stages):
                head_ns, tail_ns = self.alone_ns(variant.stages[:at]), self.alone_ns(variant.stages[at + 1 :])
                known = found.get(digest, (head_ns, tail_ns))
                found[digest] = (min(known[0], head_ns), min(known[1], tail_ns))
        return found


def least_shares(begin_ns: Ints, end_ns: Ints, count: Ints, durations_ns: Mapping[int, int]) -> Floats:
    """Returns duration / batch, in ns, of the best batch that can run inside each window; infinite where there is none.

    A batch is possible where tasks enough to fill it (`count` in each window) can begin at one moment and end in time.
    """
    least_ns = np.full(len(begin_ns), np.inf)
    for batch, took_ns in durations_ns.items():
        fits = (end_ns - begin_ns >= took_ns) & (count > 0)
        begins, ends = np.sort(np.repeat(begin_ns[fits], count[fits])), np.sort(np.repeat(end_ns[fits], count[fits]))
        ready = np.arange(1, len(begins) + 1) - np.searchsorted(ends, begins + took_ns, "left")
        moments = begins[ready >= batch]
        first = np.searchsorted(moments, begin_ns, "left")
        last = np.searchsorted(moments, end_ns - took_ns, "right")
        possible = fits & (last > first)
        least_ns[possible] = np.minimum(least_ns[possible], took_ns / batch)
    return least_ns


def found_by(scenario: Scenario, model: str, requests: Sequence[Request]) -> list[Mapping[str, int]]:
    """Returns what a detector finds in the frame of each request, by kind.

    The mappings are empty where the scenario does not know it before the run.
    """
    if not callable(scenario.detections):
        return [{}] * len(requests)
    frames = (Task(0, each.id, model, (), 0, each.arrived_ns, each.deadline_ns) for each in requests)
    return [scenario.detections(frame) for frame in frames]


def best_of(ways: Sequence[Way]) -> Way:
    """Returns a way that is at least as good as each of these: for each request the highest value at the least work."""
    return Way(np.max([way.value for way in ways], axis=0), np.min([way.work_ns for way in ways], axis=0))
