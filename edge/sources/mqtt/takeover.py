"""Detects two clients with one id, which disconnect each other for ever, so that it can be reported."""

from collections import deque

SHORT_LIFE_S = 10.0
WINDOW_S = 60.0
SUSPICIOUS = 3  # short lives within the window
SAY_EVERY_S = 60.0


class Takeovers:
    """Judges lost connections: MQTT 5 brokers state "session taken over"; 3.1.1 ones just close, so several short lives
    in a row count as a takeover.
    """

    def __init__(self) -> None:
        self._short: deque[float] = deque(maxlen=SUSPICIOUS)
        self._said_s: float | None = None

    def lost(self, now_s: float, lived_s: float, told: bool) -> bool:
        """Notes that an accepted connection ended after `lived_s`; returns whether it was
        (`told`) or looks like a takeover.
        """
        if lived_s < SHORT_LIFE_S:
            self._short.append(now_s)
        return told or (
            len(self._short) == SUSPICIOUS and now_s - self._short[0] <= WINDOW_S and lived_s < SHORT_LIFE_S
        )

    def worth_saying(self, now_s: float) -> bool:
        """Returns whether a takeover may be reported now: at most once a minute."""
        if self._said_s is not None and now_s - self._said_s < SAY_EVERY_S:
            return False
        self._said_s = now_s
        return True
