"""Another estimator's word, and on lanes far away the way there and back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Event
from edge.core.interfaces import About, Learns, Moment
from edge.core.state import Estimator
from edge.estimators.rolling import Rolling
from porting.variant import Stage


@dataclass
class WithNetwork:
    """`overhead_ms`: lane -> by how much a run takes longer there than the profile says.

    `inner` learns what runs took without it. So where the guess is wrong, what has run corrects it, whatever way
    `inner` learns; only a lane that is quicker than its overhead is never believed to be.
    """

    about: ClassVar[About] = About(
        paper="ours: MArk (Zhang et al., ATC 2019) profiles each kind of instance instead",
        sources={
            "inner": "ours: what the daemon has without a lane far away",
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
        """The same way, for another estimator; one that knows of a way stays as it is."""
        return inner if isinstance(inner, WithNetwork) else WithNetwork(inner, self.overhead_ms)

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        return self.inner.duration_ns(stage, batch, lane) + self._overhead_ns.get(lane, 0)

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        self.inner.learn(stage, batch, lane, max(1, took_ns - self._overhead_ns.get(lane, 0)))

    def observe(self, moment: Moment) -> Iterable[Event]:
        return self.inner.observe(moment) if isinstance(self.inner, Learns) else ()
