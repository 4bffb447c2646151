"""Which models share which lanes: HERD's grouping (SHEPHERD, Zhang et al., NSDI 2023), exact for small boxes.

A stream that may use a whole group of lanes survives a burst as large as the group: its burst tolerance is what the
group could serve of it alone, over its rate. The smallest tolerance of all is to be as large as possible. What speaks
against one group of everything: memory, and short batches that would wait for long ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edge.planners.blocks.duty_cycles import Room


@dataclass(frozen=True)
class StreamRate:
    """One model and its traffic. A batch of b takes `ms_per_item * b + ms_per_batch`."""

    model: str
    rate_per_s: float
    ms_per_item: float
    ms_per_batch: float
    throughputs: Mapping[str, float]  # by lane, per second, if it had the lane to itself
    blobs: Mapping[str, int] = field(default_factory=dict)  # bytes by digest

    def tolerance(self, lanes: Sequence[str]) -> float:
        """How many times its rate these lanes could serve."""
        able = sum(self.throughputs.get(lane, 0.0) for lane in lanes)
        return able / self.rate_per_s if self.rate_per_s > 0 else float("inf")


@dataclass(frozen=True)
class Group:
    lanes: tuple[str, ...]
    streams: tuple[StreamRate, ...] = ()


Worth = tuple[int, int, float]  # minus streams left out, minus pairs that do not belong together, least tolerance


def affinity(one: StreamRate, other: StreamRate) -> float:
    """How badly the second suits the first, 1 for twins: how much longer its requests wait for the other's batches."""
    alone = (one.ms_per_item + one.ms_per_batch) / other.ms_per_item
    more_ms = other.ms_per_item + other.ms_per_batch - one.ms_per_batch
    if more_ms <= 0:
        return alone
    return min(alone, max(one.ms_per_item / more_ms, one.ms_per_item / other.ms_per_item))


def alike(one: StreamRate, other: StreamRate, threshold: float) -> bool:
    """In both directions."""
    return affinity(one, other) <= threshold and affinity(other, one) <= threshold


def fits(streams: Sequence[StreamRate], memory_bytes: int) -> bool:
    """All of them together; blobs that two share are there once."""
    blobs: dict[str, int] = {}
    for stream in streams:
        blobs.update(stream.blobs)
    return sum(blobs.values()) <= memory_bytes


def worth(groups: Sequence[Group], streams: int, threshold: float) -> Worth:
    """Of a grouping of so many streams; the larger, the better."""
    placed = [(stream, group) for group in groups for stream in group.streams]
    strangers = sum(strange(stream, group.streams, threshold) for stream, group in placed)
    least = min((stream.tolerance(group.lanes) for stream, group in placed), default=float("inf"))
    return len(placed) - streams, -strangers // 2, least


def strange(stream: StreamRate, others: Sequence[StreamRate], threshold: float) -> int:
    return sum(other is not stream and not alike(stream, other, threshold) for other in others)


# ---- exact -------------------------------------------------------------------------------------------------------


def partitions(lanes: Sequence[str]) -> Iterator[list[tuple[str, ...]]]:
    """Every way to divide the lanes into groups, few groups first."""

    def divided(rest: Sequence[str]) -> Iterator[list[tuple[str, ...]]]:
        if not rest:
            yield []
            return
        for groups in divided(rest[1:]):
            yield [(rest[0],), *groups]
            for at, group in enumerate(groups):
                yield [*groups[:at], (rest[0], *group), *groups[at + 1 :]]

    yield from sorted(divided(lanes), key=lambda groups: (len(groups), groups))


def ways(lanes: int, streams: int) -> int:
    """How many groupings `exact` looks at, at most; one of the two may be too many to be counted."""
    if lanes > 6 or streams > 20:
        return 1 << 62
    return sum((len(groups) + 1) ** streams for groups in partitions([str(lane) for lane in range(lanes)]))


def exact(streams: Sequence[StreamRate], rooms: Sequence[Room], threshold: float) -> list[Group]:
    """The best grouping; of equal ones the one with the fewest groups."""
    memory = {room.lane: room.memory_bytes for room in rooms}
    best: tuple[Worth, list[Group]] | None = None
    for lanes in partitions([room.lane for room in rooms]):
        for groups in assigned(list(streams), [Group(each) for each in lanes], memory):
            found = worth(groups, len(streams), threshold)
            if best is None or found > best[0]:
                best = found, groups
    return best[1] if best else []


def assigned(streams: list[StreamRate], groups: list[Group], memory: Mapping[str, int]) -> Iterator[list[Group]]:
    """Every assignment of the streams to the groups that memory allows; a stream may also be left out."""
    if not streams:
        yield groups
        return
    stream, *rest = streams
    for at, group in enumerate(groups):
        streams_there = (*group.streams, stream)
        if all(fits(streams_there, memory[lane]) for lane in group.lanes):
            grown = [*groups[:at], Group(group.lanes, streams_there), *groups[at + 1 :]]
            yield from assigned(rest, grown, memory)
    yield from assigned(rest, groups, memory)


# ---- greedy ------------------------------------------------------------------------------------------------------


def greedy(streams: Sequence[StreamRate], rooms: Sequence[Room], threshold: float) -> list[Group]:
    """Streams that are alike together, no more groups than lanes; each lane to the group that tolerates least."""
    largest = max((room.memory_bytes for room in rooms), default=0)
    possible = [stream for stream in streams if fits([stream], largest)]
    clusters = few_enough(clustered(possible, largest, threshold), len(rooms), largest, threshold)
    lanes: list[list[str]] = [[] for _ in clusters]
    for room in sorted(rooms, key=lambda room: (room.memory_bytes, room.lane)):  # the small ones have the least choice
        able = [at for at, cluster in enumerate(clusters) if fits(cluster, room.memory_bytes)]
        if able:
            lanes[min(able, key=lambda at: (least(clusters[at], lanes[at]), at))].append(room.lane)
    return [Group(tuple(mine), tuple(cluster)) for mine, cluster in zip(lanes, clusters, strict=True) if mine]


def least(cluster: Sequence[StreamRate], lanes: Sequence[str]) -> float:
    return min(stream.tolerance(lanes) for stream in cluster)


def clustered(streams: Sequence[StreamRate], memory_bytes: int, threshold: float) -> list[list[StreamRate]]:
    clusters: list[list[StreamRate]] = []
    for stream in sorted(streams, key=lambda each: (each.ms_per_item + each.ms_per_batch, each.model)):
        for cluster in clusters:
            if not strange(stream, cluster, threshold) and fits([*cluster, stream], memory_bytes):
                cluster.append(stream)
                break
        else:
            clusters.append([stream])
    return clusters


def few_enough(
    clusters: list[list[StreamRate]], most: int, memory_bytes: int, threshold: float
) -> list[list[StreamRate]]:
    """Neighbours in duration are put together, the pair with the fewest strangers first; where memory forbids it, the
    one with the least traffic goes nowhere.
    """
    while len(clusters) > most:
        pairs = [at for at in range(len(clusters) - 1) if fits(clusters[at] + clusters[at + 1], memory_bytes)]
        if pairs:
            at = min(pairs, key=lambda at: (strangers(clusters[at], clusters[at + 1], threshold), at))
            clusters[at : at + 2] = [clusters[at] + clusters[at + 1]]
        else:
            clusters.remove(min(clusters, key=lambda cluster: sum(stream.rate_per_s for stream in cluster)))
    return clusters


def strangers(one: Sequence[StreamRate], other: Sequence[StreamRate], threshold: float) -> int:
    return sum(strange(stream, other, threshold) for stream in one)
