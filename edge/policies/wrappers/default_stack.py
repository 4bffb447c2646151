"""The wiring of a whole system around a policy that only orders the work with deadlines."""

from edge.core.interfaces import Policy
from edge.policies.wrappers.background_share import BackgroundShare
from edge.policies.wrappers.model_loading import Resident


def complete(inner: Policy, step_ms: float = 10.0, keep: int = 4) -> Policy:
    """What the daemon runs: `inner`, residency, background work of steps of `step_ms`.

    Residency is inside: a load for a frame that waits goes before another background step of what it would evict.
    """
    return BackgroundShare(Resident(inner, keep=keep), step_ms=step_ms)
