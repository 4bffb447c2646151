"""How planners share one plan: each says its own fields, and says them again where another's word undid them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from edge.core.events import Event, Plan, Planned


@dataclass
class Posting:
    """Two planners that post in the same moment both start from the same plan, so the later one undoes the earlier
    one. Whoever asks with every moment what is to be posted (`due`) comes to agree with the others.

    A field that is neither as it was nor as wanted was decided by another planner after us, and is left to it.
    """

    wanted: dict[str, Any] = field(default_factory=dict)  # of `Plan`, by name of the field
    _before: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # as the plan was before our word
    _seen: Plan | None = field(default=None, repr=False, compare=False)

    def want(self, **fields: Any) -> None:
        self.wanted, self._before, self._seen = self.wanted | fields, {}, None

    def due(self, plan: Plan) -> Iterator[Event]:
        """`Planned` where the plan does not say yet, or any more, what we want."""
        if plan is self._seen:
            return
        self._seen = plan
        if not self._before:
            self._before = {name: getattr(plan, name) for name in self.wanted}
        if any(getattr(plan, name) == self._before[name] != value for name, value in self.wanted.items()):
            yield Planned(replace(plan, **self.wanted))
