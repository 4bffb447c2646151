"""Loads models before they are asked for, by forecasts from recent traffic and from one season ago."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import sqrt
from typing import ClassVar

from edge.core.events import Event, Time
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.meters.arrival_rate import RateMeter
from edge.meters.history import History
from edge.meters.traffic import Traffic
from edge.planners.blocks.posting import Posting
from edge.plugins import About
from edge.policies.blocks.batching import nearby

SURE = 2.0  # standard deviations by which demand must exceed that of a season ago to be more than chance
GAP_S = 600.0  # counts are kept so long at least: a longer gap between two events loses what came before it


@dataclass
class Forecast:
    """Posts `Plan.preload`: the models that are asked for, then those expected soonest, as many as memory holds.

    Every `period_s` the tasks of the next `ahead` periods are forecast: those of the same period one season ago, plus
    the recent excess over that season; without a season, an average of recent periods. A model stays in the plan,
    behind all expected ones, until none of the last `plans` forecasts expected it. Raises `ValueError` for options out
    of range.

    `period_s`: seconds of a period, above 0.
    `ahead`: number of periods that are forecast, at least 1.
    `headroom`: factor on the forecast, at least 0.
    `window_s`: time constant in seconds with which the average forgets, above 0.
    `season_s`: seconds of a season, at least `ahead` periods; 0: there is none.
    `least`: number of expected tasks for which a model is loaded.
    `plans`: number of forecasts for which a model is kept, at least 1.
    """

    period_s: float = 0.5
    ahead: int = 6
    headroom: float = 1.2
    window_s: float = 5.0
    season_s: float = 0.0
    least: float = 1.0
    plans: int = 6

    about: ClassVar[About] = About(
        paper="Zhang et al., MArk, ATC 2019: predictive scaling",
        sources={
            "period_s": "ours: a load takes less; the published code plans each minute, since instances start slowly",
            "ahead": "the published code",
            "headroom": "the published code",
            "window_s": "the published code samples for so long",
            "season_s": "ours: none; set a day where the traffic has a daily pattern",
            "least": "ours: one task is worth a load",
            "plans": "the published code",
        },
        deviations=(
            "an average and the same time one season ago, instead of an LSTM that is trained on the trace",
            "memory is planned, not machines: a box cannot rent more. If memory holds all models, nothing changes",
            "the model needed soonest goes first (Belady); the published code fills the step that lacks most",
        ),
    )

    posting: Posting = field(default_factory=Posting, init=False, repr=False, compare=False)
    traffic: Traffic = field(init=False, repr=False, compare=False)
    counts: dict[str, History] = field(default_factory=dict, init=False, repr=False, compare=False)  # model -> tasks
    levels: dict[str, History] = field(default_factory=dict, init=False, repr=False, compare=False)  # -> their average
    began: int | None = field(default=None, init=False, repr=False, compare=False)  # the first whole period
    planned: int = field(default=0, init=False, repr=False, compare=False)  # the period of the last plan
    # model -> in how many periods it is needed, minus the tasks that are expected
    needs: dict[str, tuple[int, float]] = field(default_factory=dict, init=False, repr=False, compare=False)
    lately: deque[frozenset[str]] = field(init=False, repr=False, compare=False)  # models that each forecast expected
    asked: set[str] = field(default_factory=set, init=False, repr=False, compare=False)  # models of the last period
    asking: set[str] = field(default_factory=set, init=False, repr=False, compare=False)  # models of this period
    seen: int = field(default=0, init=False, repr=False, compare=False)  # tasks that were examined

    def __post_init__(self) -> None:
        if min(self.period_s, self.window_s) <= 0 or min(self.ahead, self.plans) < 1 or self.headroom < 0:
            raise ValueError(f"{self}: expected a period_s and window_s above 0, ahead and plans of at least 1")
        if 0 < self.season_s < self.ahead * self.period_s:
            raise ValueError(f"{self}: a season is at least as long as what is planned ahead")
        self.period_ns, self.season = round(self.period_s * 1e9), round(self.season_s / self.period_s)
        kept_s = max(GAP_S, 2 * self.period_s)
        self.traffic = Traffic(RateMeter(self.period_s * 1e3, self.window_s, kept_s))
        self.lately = deque(maxlen=self.plans)

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Forecasts once a period, and yields a new plan then or when another model is asked for."""
        period = moment.now // self.period_ns
        if self.began is None:
            self.began, self.planned = period + 1, period
        elif period > self.planned:
            self._close(period)  # before this moment is counted: it belongs to the new period
            self.asked = self.asking if period == self.planned + 1 else set()
            self.asking, self.planned = set(), period
            self._forecast(period)
            self._post(moment.state)
        self.traffic.see(moment)
        if new := self._new():
            self.asking |= new
            if not new <= self.asked:  # a model of the last period is in the plan already
                self._post(moment.state)
        yield from self.posting.due(moment.state.plan)

    def _new(self) -> set[str]:
        """Returns the models that are asked for the first time in this period."""
        if self.traffic.counted == self.seen:
            return set()
        self.seen = self.traffic.counted
        return {model for model, series in self.traffic.meter.series.items() if series.open} - self.asking

    def expected(self, model: str, period: int) -> list[float]:
        """Returns the tasks that are expected in each of `ahead` periods from this one on, without the headroom."""
        level = self.levels[model].at(period - 1)
        excess = self._excess(model, period, level)
        return [
            level if (seen := self._season_ago(self.counts[model], number)) is None else seen + excess
            for number in range(period, period + self.ahead)
        ]

    def _excess(self, model: str, period: int, level: float) -> float:
        """Returns by how many tasks recent periods exceed those of one season ago; 0 if that may be chance."""
        before = self._season_ago(self.levels[model], period - 1)
        if before is None or level <= before + SURE * sqrt(max(before, 1.0)):
            return 0.0
        return level - before

    def _season_ago(self, history: History, period: int) -> float | None:
        """Returns the number of one season ago, or None if the planner had not started then."""
        assert self.began is not None
        return history.at(period - self.season) if self.season and period - self.season >= self.began else None

    def _close(self, period: int) -> None:
        """Stores what was counted in the periods that are over."""
        now: Time = period * self.period_ns
        for model, rate in self.traffic.rates(now).items():
            counts = self.counts.setdefault(model, History(self.season + 1))
            levels = self.levels.setdefault(model, History(self.season + 1))
            for number, count in since(self.planned, self.traffic.meter.series[model].closed):
                counts.put(number, count)
            levels.put(period - 1, rate * self.period_s)

    def _forecast(self, period: int) -> None:
        """Determines, for each model, in how many periods it will be needed and how many tasks are expected."""
        wants = {model: [self.headroom * tasks for tasks in self.expected(model, period)] for model in self.counts}
        soon = {model: at for model, tasks in wants.items() if (at := first(tasks, self.least)) is not None}
        self.lately.append(frozenset(soon))
        kept = frozenset().union(*self.lately)
        self.needs = {model: (soon.get(model, self.ahead), -sum(wants[model])) for model in kept}

    def _post(self, state: State) -> None:
        """Posts the models that are asked for, whatever was forecast, then the expected ones that fit beside them.

        The ones needed soonest go first; of those needed equally soon, the ones that are loaded already.
        """
        facts = sorted(self.asking | self.asked)
        ranks = {
            model: (soon, not held(state, model), volume, model)
            for model, (soon, volume) in self.needs.items()
            if model not in facts
        }
        expected = fitting(state, facts, sorted(ranks, key=ranks.__getitem__))
        self.posting.want(preload=(*facts, *expected))


def since(period: int, closed: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the (number, count) of buckets from this period on, ascending; older ones are not examined."""
    found: list[tuple[int, int]] = []
    for number, count in reversed([*closed]):
        if number < period:
            break
        found.append((number, count))
    return found[::-1]


def first(tasks: Iterable[float], least: float) -> int | None:
    """Returns the index of the period in which the sum reaches `least`, or None."""
    total = 0.0
    for at, number in enumerate(tasks):
        total += number
        if total >= least:
            return at
    return None


def held(state: State, name: str) -> bool:
    """Returns whether all stages of the serving variant are in the memory of this box."""
    model, lanes = state.models.get(name), nearby(state)
    stages = model.serving.stages if model is not None and model.serving is not None else ()
    return all(any(lane.residency.holds(digest) for lane in lanes) for digest in stages)


def fitting(state: State, there: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """Yields the models, in this order, that fit into this box's memory beside `there`; shared blobs count once."""
    room = sum(lane.residency.limit_bytes for lane in nearby(state))
    blobs = dict(pair for name in there for pair in blobs_of(state, name).items())
    for name in names:
        more = blobs_of(state, name)
        if more and sum((blobs | more).values()) <= room:
            blobs |= more
            yield name


def blobs_of(state: State, name: str) -> dict[str, int]:
    """Returns the blobs of the model's serving variant with their bytes; empty if no variant serves."""
    model = state.models.get(name)
    stages = model.serving.stages if model is not None and model.serving is not None else ()
    return dict(pair for digest in stages for pair in state.stages[digest].blobs.items())
