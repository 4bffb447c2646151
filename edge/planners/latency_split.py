"""Divides the deadline of a pipeline among its models so that the pipeline occupies the lanes least."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Event, Time
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.meters.traffic import Traffic
from edge.planners.blocks.duty_cycles import SECOND_NS, Session
from edge.planners.blocks.posting import Posting
from edge.planners.squishy import session
from edge.plugins import About

IMPOSSIBLE = float("inf")


@dataclass(frozen=True)
class Pipeline:
    """Describes one model and the pipelines of the models that its results lead to.

    `costs`: `costs[t]` is the number of lanes that one request per second keeps busy with this model, if it has `t`
        steps of time for a batch and the wait before it.
    """

    model: str
    costs: Sequence[float]
    then: Sequence["Pipeline"] = ()


@dataclass(frozen=True)
class Solved:
    """Holds, for each number of steps, the least cost of a model and all after it, and the model's own steps."""

    model: str
    costs: Sequence[float]
    own: Sequence[int]
    then: Sequence["Solved"]


def solve(pipeline: Pipeline) -> Solved:
    """Returns the cheapest division of each number of steps along every path.

    Source: Nexus (Shen et al., SOSP 2019, section 6.2).

    cost(v, t) = min over own <= t of (cost of v with `own` steps + sum of cost(u, t - own) over the following u). A
    model may take all steps, which the published code leaves out. Of equally cheap divisions the one with most time for
    the first model is returned.
    """
    then = [solve(following) for following in pipeline.then]
    best = []
    for total in range(len(pipeline.costs)):
        ways = [
            (pipeline.costs[own] + sum([after.costs[total - own] for after in then]), -own) for own in range(total + 1)
        ]
        best.append(min(ways))
    return Solved(pipeline.model, [cost for cost, _ in best], [-own for _, own in best], then)


def parts(solved: Solved, steps: int) -> Iterator[tuple[str, int]]:
    """Yields each model with its steps if all together have `steps`; a model that stands at two places comes twice."""
    own = solved.own[steps]
    yield solved.model, own
    for after in solved.then:
        yield from parts(after, steps - own)


def costs(session: Session, lanes: Sequence[str], per_request: float, steps: int) -> list[float]:
    """Returns the cost of a session for 0 to `steps` parts of its SLO, on the lane that serves it best.

    A batch may take half of the time, since a request first waits for another batch. IMPOSSIBLE where no batch fits.
    """
    found = [IMPOSSIBLE] * (steps + 1)
    for lane in lanes:
        for batch in session.batches:
            took_ns = session.duration_ns(batch, lane)
            first = -(-2 * took_ns * steps // session.slo_ns)
            if first <= steps:
                found[first] = min(found[first], per_request * took_ns / batch / SECOND_NS)
    for step in range(1, steps + 1):
        found[step] = min(found[step], found[step - 1])
    return found


@dataclass
class LatencySplit:
    """Posts `budgets_ns` for pipelines of two models or more, every `epoch_s`.

    Which models lead to which is learnt from results.

    `epoch_s`: seconds between two plans.
    `first_s`: seconds of traffic before the first plan.
    `steps`: number of parts that a deadline is divided into.
    """

    epoch_s: float = 30.0
    first_s: float = 5.0
    steps: int = 50

    about: ClassVar[About] = About(
        paper="Nexus (Shen et al., SOSP 2019, section 6.2)",
        sources={
            "epoch_s": "its released scheduler",
            "first_s": "ours: enough results to know how many tasks they lead to",
            "steps": "ours: a fiftieth of a deadline is less than durations vary",
        },
        deviations=(
            "the pipeline is not declared but learnt: which model leads to which, and how often",
            "a model at two places of the pipeline has the shorter of its two budgets",
        ),
    )
    traffic: Traffic = field(init=False, repr=False, default_factory=Traffic)

    def __post_init__(self) -> None:
        self.posting = Posting()
        self.next_ns: Time | None = None

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Measures the traffic and yields new budgets when they are due."""
        self.traffic.see(moment)
        if self.next_ns is None:
            self.next_ns = moment.now + round(self.first_s * SECOND_NS) if self.traffic.counted else None
        elif moment.now >= self.next_ns:
            self.next_ns = moment.now + round(self.epoch_s * SECOND_NS)
            self.posting.want(budgets_ns=self._budgets(moment.state))
        yield from self.posting.due(moment.state.plan)

    def _budgets(self, state: State) -> Mapping[str, Time]:
        budgets: dict[str, Time] = {}
        for root in self.traffic.roots():
            slo_ns = self.traffic.slos_ns[root]
            pipeline = self._pipeline(state, root, 1.0, slo_ns, ())
            if pipeline is None or not pipeline.then:
                continue
            solved = solve(pipeline)
            if solved.costs[-1] < IMPOSSIBLE:
                for model, steps in parts(solved, self.steps):
                    budgets[model] = min(budgets.get(model, slo_ns), slo_ns * steps // self.steps)
        return budgets

    def _pipeline(
        self, state: State, name: str, per_request: float, slo_ns: Time, before: tuple[str, ...]
    ) -> Pipeline | None:
        """Returns the pipeline from this model on; None if no variant serves or the model leads back to itself."""
        model = state.models.get(name)
        if model is None or model.serving is None or name in before:
            return None
        here = session(state, name, model.serving.stages, 0.0, slo_ns)
        then = [
            self._pipeline(state, child, per_request * count, slo_ns, (*before, name))
            for child, count in self.traffic.children(name).items()
        ]
        return Pipeline(
            name, costs(here, [*state.lanes], per_request, self.steps), [each for each in then if each is not None]
        )
