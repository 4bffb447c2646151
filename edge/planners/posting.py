"""How planners share one plan: each says its own fields, and says them again where another's word undid them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from edge.events import Event, Plan, Planned


@dataclass
class Posting:
    """Two planners that post in the same moment both start from the same plan, so the later one undoes the earlier
    one. Whoever asks with every moment what is to be posted (`due`) comes to agree with the others.
    """

    fields: dict[str, Any] = field(default_factory=dict)  # of `Plan`, as they should be
    _seen: Plan | None = field(default=None, repr=False, compare=False)

    def want(self, **fields: Any) -> None:
        self.fields.update(fields)
        self._seen = None

    def due(self, plan: Plan) -> Iterator[Event]:
        """`Planned` where the plan is new and says something else."""
        if plan is self._seen:
            return
        self._seen = plan
        if any(getattr(plan, name) != value for name, value in self.fields.items()):
            yield Planned(replace(plan, **self.fields))
