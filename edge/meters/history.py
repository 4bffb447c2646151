"""Keeps numbers by period, for as long as a season."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class History:
    """Keeps the numbers of the last `size` periods; a number that was never put is 0."""

    size: int
    _kept: dict[int, float] = field(default_factory=dict, repr=False)
    _order: deque[int] = field(default_factory=deque, repr=False)

    def put(self, period: int, number: float) -> None:
        """Stores the number of a period and forgets periods that are too old; periods must ascend."""
        if number:
            self._kept[period] = number
            self._order.append(period)
        while self._order and self._order[0] <= period - self.size:
            self._kept.pop(self._order.popleft(), None)

    def at(self, period: int) -> float:
        """Returns the number of a period; 0 if it is unknown."""
        return self._kept.get(period, 0.0)
