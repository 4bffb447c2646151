"""Adds the network's round trip to another estimator's durations on remote lanes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Event
from edge.core.interfaces import Moment, Observer
from edge.core.state import Estimator
from edge.estimators.rolling import Rolling
from edge.plugins import About
from porting.variant import Stage


@dataclass
class WithNetwork:
    """Adds a fixed overhead per lane to the durations that `inner` predicts.

    `inner` learns run times without the overhead. So if the overhead is set wrong, whatever `inner` learns corrects it;
    only a lane that is quicker than its overhead is never predicted to be. Raises `ValueError` for a negative overhead.

    `inner`: any estimator.
    `overhead_ms`: lane -> milliseconds by which a run takes longer there than the profile says.
    """

    about: ClassVar[About] = About(
        paper="ours: MArk (Zhang et al., ATC 2019) profiles each kind of instance instead",
        sources={
            "inner": "ours: the daemon's default without remote lanes",
            "overhead_ms": "ours: none; the daemon takes it from its remote devices",
        },
        needs=frozenset({"remote"}),
    )

    inner: Estimator = field(default_factory=Rolling)
    overhead_ms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(overhead < 0 for overhead in self.overhead_ms.values()):
            raise ValueError(f"overhead_ms is {dict(self.overhead_ms)}; expected 0 or more for each lane")
        self._overhead_ns = {lane: round(overhead * 1e6) for lane, overhead in self.overhead_ms.items()}

    def around(self, inner: Estimator) -> "WithNetwork":
        """Returns `inner` with the same overhead; an estimator that has an overhead already is returned as it is."""
        return inner if isinstance(inner, WithNetwork) else WithNetwork(inner, self.overhead_ms)

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """Returns the inner prediction plus the lane's overhead, in nanoseconds."""
        return self.inner.duration_ns(stage, batch, lane) + self._overhead_ns.get(lane, 0)

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Passes the run on to the inner estimator without the overhead, as at least 1 ns."""
        self.inner.learn(stage, batch, lane, max(1, took_ns - self._overhead_ns.get(lane, 0)))

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Passes the moment on if the inner estimator observes."""
        return self.inner.observe(moment) if isinstance(self.inner, Observer) else ()
