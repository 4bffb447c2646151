"""Starts the sources once every serving model is loaded, so that a camera told "online" meets a
lane that can answer.
"""

from collections.abc import Callable, Sequence

from edge.core.events import Event, Time
from edge.core.interfaces import Moment
from edge.core.state import State

PATIENCE_NS = 10_000_000_000  # what does not fit beside the rest is loaded when it is asked for


class Ready:
    """Observes the loop and calls `begin` once, when all models are loaded or after `PATIENCE_NS`."""

    def __init__(self, models: Sequence[str], begin: Callable[[], None]):
        self.models, self.begin = models, begin
        self.began = False
        self.since_ns: Time | None = None

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        """Checks the models at each moment until `begin` has been called."""
        if not self.began:
            self.since_ns = moment.now if self.since_ns is None else self.since_ns
            if moment.now - self.since_ns > PATIENCE_NS or all(settled(moment.state, name) for name in self.models):
                self.began = True
                self.begin()
        return ()


def settled(state: State, name: str) -> bool:
    """Returns whether every stage of a model's serving variant is loaded, or known never to load."""
    model = state.models.get(name)
    variant = model.serving if model else None
    return variant is not None and all(
        digest in state.resident or digest in state.impossible for digest in variant.stages
    )
