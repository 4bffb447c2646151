"""Completes a policy that only orders work with deadlines: adds model loading and background work."""

from edge.core.interfaces import Policy
from edge.policies.wrappers.background_share import BackgroundShare
from edge.policies.wrappers.model_loading import ModelLoading


def complete(inner: Policy, step_ms: float = 10.0, keep: int = 4) -> Policy:
    """Returns `inner` within model loading and background work, as the daemon runs it.

    Model loading is inside: a load for a waiting frame goes before another background step of what it would evict.

    `step_ms`: largest expected duration of a background step, in milliseconds.
    `keep`: number of unused stages that may stay on a lane.
    """
    return BackgroundShare(ModelLoading(inner, keep=keep), step_ms=step_ms)
