"""Decides from the last attempts to connect which protocol the next one uses and how long it
waits. No clock, no I/O.
"""

from dataclasses import dataclass
from typing import Literal

from paho.mqtt.enums import MQTTProtocolVersion

from edge.sources.mqtt.socket_options import V5, V311

BACKOFF_FIRST_S = 0.2
STEADY_S = 5.0  # a connection that lived this long ends a row of failures

# How the broker ended an attempt: refused the protocol; refused us; closed the connection; accepted it and kept silent.
Refusal = Literal["protocol", "us", "hung up", "silent"]


@dataclass(slots=True)
class Attempts:
    """Remembers the attempts in a row. `protocol` "auto" means MQTT 5, and 3.1.1 from a refusal until the end of the
    next accepted connection.
    """

    protocol: Literal["auto", "5", "3.1.1"]
    longest_pause_s: float
    fall_back: bool = False
    hung_up: int = 0  # in a row
    failures: int = 0  # in a row

    @property
    def auto(self) -> bool:
        """Returns whether the protocol may be chosen."""
        return self.protocol == "auto"

    def next_protocol(self) -> MQTTProtocolVersion:
        """Returns the protocol for the next attempt."""
        if self.auto:
            return V311 if self.fall_back else V5
        return V5 if self.protocol == "5" else V311

    def pause_s(self) -> float:
        """Counts a failure and returns the pause before the next attempt, in s: doubles from 0.2
        s up to `longest_pause_s`.
        """
        self.failures += 1
        return min(self.longest_pause_s, BACKOFF_FIRST_S * 2.0 ** min(self.failures - 1, 10))

    def lost(self, lived_s: float) -> None:
        """Notes that an accepted connection ended after `lived_s` seconds."""
        self.fall_back, self.hung_up = False, 0
        if lived_s >= STEADY_S:
            self.failures = 0

    def refused(self, how: Refusal) -> bool:
        """Notes that an attempt ended before it was accepted; returns True to try the other protocol at once."""
        tried_v5 = self.next_protocol() == V5
        self.hung_up = self.hung_up + 1 if how == "hung up" else 0
        if self.auto and tried_v5 and how in ("protocol", "silent"):
            self.fall_back = True
            return True
        # Some old brokers hang up on MQTT 5, but so does whatever stands before a broker that is just starting.
        self.fall_back = self.auto and tried_v5 and self.hung_up >= 2
        return False
