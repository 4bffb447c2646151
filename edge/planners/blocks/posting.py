"""Lets several planners share one plan: each posts its own fields, and again if another one's post undid them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from edge.core.events import Event, Plan, Planned


@dataclass
class Posting:
    """Remembers the fields that a planner wants, until the plan has them.

    Two planners that post in the same moment both start from the same plan, so the later one undoes the earlier one. A
    planner that calls `due` with every moment ends up with its fields in the plan. A field that is neither as it was
    nor as wanted was decided by another planner later, and is left to it.
    """

    wanted: dict[str, Any] = field(default_factory=dict)  # field of `Plan` -> value
    _before: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # the same fields before the post
    _seen: Plan | None = field(default=None, repr=False, compare=False)

    def want(self, **fields: Any) -> None:
        """Sets the fields to post; earlier ones stay."""
        self.wanted, self._before, self._seen = self.wanted | fields, {}, None

    def due(self, plan: Plan) -> Iterator[Event]:
        """Yields `Planned` if the plan lacks a wanted field, or lost it to a post that started from an older plan."""
        if plan is self._seen:
            return
        self._seen = plan
        if not self._before:
            self._before = {name: getattr(plan, name) for name in self.wanted}
        if any(getattr(plan, name) == self._before[name] != value for name, value in self.wanted.items()):
            yield Planned(replace(plan, **self.wanted))
