"""Groups models and lanes as HERD does (SHEPHERD, Zhang et al., NSDI 2023), exactly for small boxes.

A stream that may use a whole group of lanes survives a burst as large as the group: its burst tolerance is what the
group could serve of it alone, over its rate. The smallest tolerance of all is maximised. Memory, and short batches that
would wait for long ones, speak against one group of everything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edge.planners.blocks.duty_cycles import Room


@dataclass(frozen=True)
class StreamRate:
    """Describes one model and its traffic; a batch of b takes `ms_per_item * b + ms_per_batch`."""

    model: str
    rate_per_s: float
    ms_per_item: float
    ms_per_batch: float
    throughputs: Mapping[str, float]  # lane -> requests per second if it had the lane to itself
    blobs: Mapping[str, int] = field(default_factory=dict)  # digest -> bytes

    def tolerance(self, lanes: Sequence[str]) -> float:
        """Returns how many times its rate these lanes could serve; infinite without traffic."""
        able = sum(self.throughputs.get(lane, 0.0) for lane in lanes)
        return able / self.rate_per_s if self.rate_per_s > 0 else float("inf")


@dataclass(frozen=True)
class Group:
    """Describes lanes that serve the same streams."""

    lanes: tuple[str, ...]
    streams: tuple[StreamRate, ...] = ()


Worth = tuple[int, int, float]  # minus streams left out, minus pairs of unlike streams, least tolerance


def affinity(one: StreamRate, other: StreamRate) -> float:
    """Returns how much longer requests of the first wait for batches of the second, 1 for twins; larger is worse."""
    alone = (one.ms_per_item + one.ms_per_batch) / other.ms_per_item
    more_ms = other.ms_per_item + other.ms_per_batch - one.ms_per_batch
    if more_ms <= 0:
        return alone
    return min(alone, max(one.ms_per_item / more_ms, one.ms_per_item / other.ms_per_item))


def alike(one: StreamRate, other: StreamRate, threshold: float) -> bool:
    """Returns whether the affinities in both directions are at most the threshold."""
    return affinity(one, other) <= threshold and affinity(other, one) <= threshold


def fits(streams: Sequence[StreamRate], memory_bytes: int) -> bool:
    """Returns whether all of them together fit into this memory; shared blobs count once."""
    blobs: dict[str, int] = {}
    for stream in streams:
        blobs.update(stream.blobs)
    return sum(blobs.values()) <= memory_bytes


def worth(groups: Sequence[Group], streams: int, threshold: float) -> Worth:
    """Returns the worth of a grouping of so many streams; larger is better."""
    placed = [(stream, group) for group in groups for stream in group.streams]
    strangers = sum(strange(stream, group.streams, threshold) for stream, group in placed)
    least = min((stream.tolerance(group.lanes) for stream, group in placed), default=float("inf"))
    return len(placed) - streams, -strangers // 2, least


def strange(stream: StreamRate, others: Sequence[StreamRate], threshold: float) -> int:
    """Returns with how many of the others the stream is not alike."""
    return sum(other is not stream and not alike(stream, other, threshold) for other in others)


# ---- exact -------------------------------------------------------------------------------------------------------


def partitions(lanes: Sequence[str]) -> Iterator[list[tuple[str, ...]]]:
    """Yields every way to divide the lanes into groups, those with few groups first."""

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
    """Returns how many groupings `exact` examines at most; 2 ** 62 where there are too many to count."""
    if lanes > 6 or streams > 20:
        return 1 << 62
    return sum((len(groups) + 1) ** streams for groups in partitions([str(lane) for lane in range(lanes)]))


def exact(streams: Sequence[StreamRate], rooms: Sequence[Room], threshold: float) -> list[Group]:
    """Returns the best grouping; of equal ones the one with the fewest groups."""
    memory = {room.lane: room.memory_bytes for room in rooms}
    best: tuple[Worth, list[Group]] | None = None
    for lanes in partitions([room.lane for room in rooms]):
        for groups in assigned(list(streams), [Group(each) for each in lanes], memory):
            found = worth(groups, len(streams), threshold)
            if best is None or found > best[0]:
                best = found, groups
    return best[1] if best else []


def assigned(streams: list[StreamRate], groups: list[Group], memory: Mapping[str, int]) -> Iterator[list[Group]]:
    """Yields every assignment of the streams to the groups that memory allows; a stream may also be left out."""
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
    """Returns a grouping of streams that are alike, in at most as many groups as lanes.

    Each lane goes to the group with the least tolerance.
    """
    largest = max((room.memory_bytes for room in rooms), default=0)
    possible = [stream for stream in streams if fits([stream], largest)]
    clusters = few_enough(clustered(possible, largest, threshold), len(rooms), largest, threshold)
    lanes: list[list[str]] = [[] for _ in clusters]
    for room in sorted(rooms, key=lambda room: (room.memory_bytes, room.lane)):  # small lanes suit the fewest clusters
        able = [at for at, cluster in enumerate(clusters) if fits(cluster, room.memory_bytes)]
        if able:
            lanes[min(able, key=lambda at: (least(clusters[at], lanes[at]), at))].append(room.lane)
    return [Group(tuple(mine), tuple(cluster)) for mine, cluster in zip(lanes, clusters, strict=True) if mine]


def least(cluster: Sequence[StreamRate], lanes: Sequence[str]) -> float:
    """Returns the smallest tolerance of the streams on these lanes."""
    return min(stream.tolerance(lanes) for stream in cluster)


def clustered(streams: Sequence[StreamRate], memory_bytes: int, threshold: float) -> list[list[StreamRate]]:
    """Puts each stream, the shortest first, into the first cluster that it is alike with and fits into."""
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
    """Merges clusters until there are at most `most`.

    Neighbours in duration are merged, the pair with the fewest unlike streams first; if memory allows no merge, the
    cluster with the least traffic is removed.
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
    """Returns the number of pairs of unlike streams across two clusters."""
    return sum(strange(stream, other, threshold) for stream in one)
