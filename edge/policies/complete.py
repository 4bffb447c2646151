"""The wiring of a whole system around a policy that only orders the work with deadlines."""

from edge.policies.background import Background
from edge.policies.resident import Resident
from edge.protocols import Policy


def complete(inner: Policy, step_ms: float = 10.0, keep: int = 4) -> Policy:
    """What the daemon runs: `inner`, residency, background work of steps of `step_ms`.

    Residency is inside: a load for a frame that waits goes before another background step of what it would evict.
    """
    return Background(Resident(inner, keep=keep), step_ms=step_ms)
