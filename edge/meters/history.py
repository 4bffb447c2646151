"""Numbers by period, for as long as a season: what came then."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class History:
    """`size`: periods that are kept; numbers that were never put are 0. Periods ascend."""

    size: int
    _kept: dict[int, float] = field(default_factory=dict, repr=False)
    _order: deque[int] = field(default_factory=deque, repr=False)

    def put(self, period: int, number: float) -> None:
        if number:
            self._kept[period] = number
            self._order.append(period)
        while self._order and self._order[0] <= period - self.size:
            self._kept.pop(self._order.popleft(), None)

    def at(self, period: int) -> float:
        return self._kept.get(period, 0.0)
