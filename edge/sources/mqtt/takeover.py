"""Two clients with one id throw each other out for ever: seen here, so that it is said instead of silent flapping."""

from collections import deque

SHORT_LIFE_S = 10.0
WINDOW_S = 60.0
SUSPICIOUS = 3  # short lives within the window
SAY_EVERY_S = 60.0


class Takeovers:
    """MQTT 5 brokers say "session taken over"; 3.1.1 ones just close, so there several short lives stand for it."""

    def __init__(self) -> None:
        self._short: deque[float] = deque(maxlen=SUSPICIOUS)
        self._said_s: float | None = None

    def lost(self, now_s: float, lived_s: float, told: bool) -> bool:
        """A connection that had been accepted ended after `lived_s`. True: it was (`told`) or looks like a takeover."""
        if lived_s < SHORT_LIFE_S:
            self._short.append(now_s)
        return told or (
            len(self._short) == SUSPICIOUS and now_s - self._short[0] <= WINDOW_S and lived_s < SHORT_LIFE_S
        )

    def worth_saying(self, now_s: float) -> bool:
        """At most once a minute."""
        if self._said_s is not None and now_s - self._said_s < SAY_EVERY_S:
            return False
        self._said_s = now_s
        return True
