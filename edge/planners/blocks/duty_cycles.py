"""Implements squishy bin packing: which models can take turns on a lane, with which batches, within their SLOs.

Nexus (Shen et al., SOSP 2019, section 4.1). A batch gathers while the one before runs, so a request waits for one duty
cycle and then for its own batch: `duty + l(b) <= slo`. The bins are squishy since a shorter duty cycle makes batches
smaller, and thus each request dearer.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from edge.core.events import Time

EPSILON = 1e-3  # tasks; a batch that exceeds a size by a rounding error only still has that size
SECOND_NS = 1_000_000_000

Duration = Callable[[int, str], Time]  # batch, lane -> ns: how long all stages of the model take


@dataclass(frozen=True)
class Session:
    """Describes one model with its SLO and its traffic."""

    model: str
    rate_per_s: float
    slo_ns: Time
    batches: Sequence[int]  # accepted sizes, ascending, from 1
    duration_ns: Duration
    blobs: Mapping[str, int] = field(default_factory=dict)  # digest -> bytes that it holds in memory


@dataclass(frozen=True)
class Part:
    """Describes the part of a session that one lane serves."""

    session: Session
    rate_per_s: float  # part of the session's rate that is served here
    batch: int


@dataclass(frozen=True)
class Node:
    """Describes what one lane does: every part once in each duty cycle."""

    lane: str
    duty_ns: float
    parts: tuple[Part, ...] = ()
    full: bool = False  # one model alone, with one batch right after the other

    def busy_ns(self) -> Time:
        """Returns the time that all parts take together."""
        return sum(part.session.duration_ns(part.batch, self.lane) for part in self.parts)

    def occupancy(self) -> float:
        """Returns the part of the duty cycle in which the lane is busy, 0..1."""
        return self.busy_ns() / self.duty_ns


@dataclass(frozen=True)
class Room:
    """Describes a lane that can be filled."""

    lane: str
    memory_bytes: int


@dataclass(frozen=True)
class Packing:
    """Holds the lanes that were filled, and the sessions that fit nowhere."""

    nodes: tuple[Node, ...]
    left: tuple[Session, ...] = ()  # sessions for which no lane has time or memory


def largest(session: Session, fits: Callable[[int], bool]) -> int:
    """Returns the largest accepted batch that fits, or 0; searches by bisection, as fitting is monotone."""
    at = bisect_left(session.batches, True, key=lambda batch: not fits(batch))
    return session.batches[at - 1] if at else 0


def saturated_batch(session: Session, lane: str) -> int:
    """Returns the largest batch that fits twice into the SLO; 0: none.

    A request that has just missed a batch waits for all of it.
    """
    return largest(session, lambda batch: 2 * session.duration_ns(batch, lane) <= session.slo_ns)


def throughput(session: Session, lane: str) -> float:
    """Returns the requests per second of a lane that runs nothing else; 0 if no batch fits twice into the SLO."""
    batch = saturated_batch(session, lane)
    return batch * SECOND_NS / session.duration_ns(batch, lane) if batch else 0.0


def residual(session: Session, rate_per_s: float, lane: str) -> Node | None:
    """Returns a lane with the session alone, as rarely as its SLO allows; None if even that is impossible.

    It gathers `b` requests for `b / rate` seconds, then runs them.
    """

    def fits(batch: int) -> bool:
        return session.duration_ns(batch, lane) + batch / rate_per_s * SECOND_NS <= session.slo_ns

    batch = largest(session, fits) or session.batches[0]
    waits_ns = min(batch / rate_per_s * SECOND_NS, session.slo_ns - session.duration_ns(batch, lane))
    node = Node(lane, waits_ns, (Part(session, rate_per_s, batch),))
    return node if waits_ns > 0 and node.busy_ns() <= waits_ns else None


def merged(node: Node, other: Node, memory_bytes: int) -> Node | None:
    """Returns both nodes on one lane, at the shorter duty cycle; None if a node is full or they do not fit."""
    duty_ns = min(node.duty_ns, other.duty_ns)
    parts = tuple(resized(part, duty_ns) for part in (*node.parts, *other.parts))
    both = Node(node.lane, duty_ns, tuple(part for part in parts if part is not None))
    if node.full or other.full or len(both.parts) < len(parts) or both.busy_ns() > duty_ns:
        return None
    in_time = all(duty_ns + p.session.duration_ns(p.batch, node.lane) <= p.session.slo_ns for p in both.parts)
    return both if in_time and memory_of(both.parts) <= memory_bytes else None


def resized(part: Part, duty_ns: float) -> Part | None:
    """Returns the part with the accepted batch that gathers in one duty cycle; None if there is none so large."""
    gathered = ceil(duty_ns * part.rate_per_s / SECOND_NS - EPSILON)
    batch = next((b for b in part.session.batches if b >= gathered), None)
    return None if batch is None else replace(part, batch=batch)


def memory_of(parts: Sequence[Part]) -> int:
    """Returns the bytes that these parts hold together; shared blobs count once."""
    blobs: dict[str, int] = {}
    for part in parts:
        blobs.update(part.session.blobs)
    return sum(blobs.values())


def pack(sessions: Sequence[Session], rooms: Sequence[Room]) -> Packing:
    """Returns a packing: whole lanes for models that fill them, then best fit for the rest, highest occupancy first."""
    free, nodes, rest = list(rooms), [], []
    for session in sorted(sessions, key=lambda s: s.model):
        rate = session.rate_per_s
        while room := quickest(session, free, rate):
            rate -= throughput(session, room.lane)
            free.remove(room)
            batch = saturated_batch(session, room.lane)
            part = Part(session, throughput(session, room.lane), batch)
            nodes.append(Node(room.lane, session.duration_ns(batch, room.lane), (part,), full=True))
        if rate > 0:
            rest.append((session, rate))
    shared, left = packed(rest, free)
    return Packing((*nodes, *shared), left)


def quickest(session: Session, free: Sequence[Room], rate: float) -> Room | None:
    """Returns, of the free lanes that the rate would fill, the one that serves the model best; None: no lane."""
    filled = [room for room in free if 0 < throughput(session, room.lane) <= rate and holds(room, session)]
    return max(filled, key=lambda room: throughput(session, room.lane), default=None)


def holds(room: Room, session: Session) -> bool:
    """Returns whether the session fits into the lane's memory."""
    return sum(session.blobs.values()) <= room.memory_bytes


def packed(
    rest: Sequence[tuple[Session, float]], rooms: Sequence[Room]
) -> tuple[tuple[Node, ...], tuple[Session, ...]]:
    """Packs sessions best fit, decreasing: each to the lane that is then occupied most, else to an empty one.

    Returns the lanes in use and the sessions that fit nowhere.
    """

    def occupancy(wanted: tuple[Session, float]) -> tuple[float, str]:
        alone = [node for room in rooms if (node := residual(*wanted, room.lane))]
        return (-max((node.occupancy() for node in alone), default=0.0), wanted[0].model)

    nodes: dict[str, Node] = {}
    left: list[Session] = []
    for session, rate in sorted(rest, key=occupancy):
        fitting = [(room.lane in nodes, node) for room in rooms if (node := fitted(session, rate, room, nodes))]
        # Lanes that are in use go first; `max` keeps the first of equals.
        best = max(fitting, key=lambda found: (found[0], found[1].occupancy()), default=None)
        if best is None:
            left.append(session)
        else:
            nodes[best[1].lane] = best[1]
    return tuple(nodes.values()), tuple(left)


def fitted(session: Session, rate: float, room: Room, nodes: Mapping[str, Node]) -> Node | None:
    """Returns what this lane would do with the session in addition; None if that is impossible."""
    alone = residual(session, rate, room.lane)
    if alone is None or not holds(room, session):
        return None
    return merged(nodes[room.lane], alone, room.memory_bytes) if room.lane in nodes else alone


def overloaded(node: Node) -> Node:
    """Returns the same models one after the other without a pause, each with its saturated batch."""
    parts = tuple(replace(part, batch=saturated_batch(part.session, node.lane)) for part in node.parts)
    busy = replace(node, parts=parts)
    return replace(busy, duty_ns=busy.busy_ns())


def pack_what_fits(sessions: Sequence[Session], rooms: Sequence[Room], halvings: int = 7) -> tuple[Packing, float]:
    """Returns a packing, with all rates scaled down by one share if they do not fit, and that share, above 0 to 1.

    The share is found within 2 ** -halvings. Sessions that fit at no rate (an SLO or a memory too small) do not count;
    if sessions fit one by one but not together, as many as possible are packed and the rest is left. Lanes that cannot
    do it all run the batches of lanes that are never idle: smaller batches would turn away work without need.
    """
    possible = [s for s in sessions if any(residual(s, LEAST_PER_S, r.lane) and holds(r, s) for r in rooms)]
    packing, low, high = pack(possible, rooms), 0.0, 1.0
    if not packing.left:
        return packing, 1.0
    best: Packing | None = None
    together = not pack([replace(s, rate_per_s=LEAST_PER_S) for s in possible], rooms).left
    for _ in range(halvings if together else 0):
        share = (low + high) / 2
        tried = pack([replace(s, rate_per_s=max(LEAST_PER_S, s.rate_per_s * share)) for s in possible], rooms)
        if tried.left:
            high = share
        else:
            low, best = share, tried
    chosen = best or packing
    return Packing(tuple(node if node.full else overloaded(node) for node in chosen.nodes), chosen.left), low or 1.0


LEAST_PER_S = 1e-6  # a rate at which a model fits wherever it fits at all
