"""Says what a scheduler may want to know of a device beside durations. Plain values, no imports."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Traits:
    """Describes where a device is and what its runs cost and allow, beside how long they take."""

    remote: bool = False  # runs leave this box: they cost network time, and perhaps money
    stoppable: bool = False  # `Engine.stop` ends a run halfway
    price_per_request: float = 0.0  # of one task, in any money
    overhead_ms: float = 0.0  # by which a run takes longer than its profile, until the lane's own runs say better


PLAIN = Traits()  # in this box, never stopped halfway, free

# A kind that is missing here is `PLAIN`. Traces that were recorded before devices had traits say the kind alone, so the
# meaning of these names must not change.
BY_KIND: Mapping[str, Traits] = {
    "cpu": Traits(stoppable=True),
    "simulated": Traits(stoppable=True),
    "remote": Traits(remote=True),
}


def traits_of_kind(kind: str) -> Traits:
    """Returns what is known of a device of which only the kind is known."""
    return BY_KIND.get(kind, PLAIN)
