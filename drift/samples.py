"""Holds what drift adaptation remembers of a model's answers: a stride of frames, recent pictures, a replay."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from porting.formats.format import Objects

Array = NDArray[Any]
Pictures = Array | Sequence[Array]  # n pictures, each uint8 [h, w, 3]; never stacked where a list will do

STREAMS_MAX = 64
STORED_AS = {"answers": "probs"}  # names of `reference.npz` that differ from ours


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Holds one answer of a watched model, with the picture that it was given.

    image: uint8 [h, w, 3], RGB, at the model's input size; answer: float32 [K] and features: float32 [D], the signals
    that its format gives. at_ns: when the frame arrived, on the clock of `AdaptationController.commands`. variant: the
    name of the variant that answered. objects: what the answer says; scored once the truth about the picture is known.
    """

    id: int
    stream: str
    at_ns: int
    image: Array
    answer: Array
    features: Array
    variant: str = ""
    objects: Objects = ()


class Stride:
    """Lets one frame per stream and stride through: neighbouring frames show the same objects and add no evidence."""

    def __init__(self, stride_ns: int, per_frame: int):
        self.stride_ns, self.per_frame = stride_ns, per_frame
        self._open: dict[str, tuple[int, int]] = {}  # stream -> (time of the frame taken last, crops taken of it)

    def takes(self, stream: str, at_ns: int) -> bool:
        """Returns whether a crop of this frame is wanted; a wanted one counts as taken.

        All crops of one frame carry the same time; at most `per_frame` of them are taken, from at most 64 streams.
        """
        if not self.would_take(stream, at_ns):
            return False
        frame, taken = self._open.get(stream, (at_ns, 0))
        self._open[stream] = (at_ns, taken + 1 if frame == at_ns else 1)
        return True

    def would_take(self, stream: str, at_ns: int) -> bool:
        """Returns what `takes` would return, without taking note."""
        if stream not in self._open:
            return len(self._open) < STREAMS_MAX
        frame, taken = self._open[stream]
        return taken < self.per_frame if at_ns == frame else not 0 <= at_ns - frame < self.stride_ns


class Recent:
    """Keeps the newest samples of all streams, oldest first; bounded in number and in bytes of pictures."""

    def __init__(self, samples_max: int = 400, bytes_max: int = 48 * 1024 * 1024):
        self.samples_max, self.bytes_max = samples_max, bytes_max
        self._samples: deque[Sample] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)
        self._bytes += sample.image.nbytes
        while len(self._samples) > self.samples_max or (self._bytes > self.bytes_max and len(self._samples) > 1):
            self._bytes -= self._samples.popleft().image.nbytes

    def since(self, at_ns: int) -> list[Sample]:
        return [sample for sample in self._samples if sample.at_ns >= at_ns]

    def clear(self) -> None:
        self._samples.clear()
        self._bytes = 0


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Holds labelled pictures in arrays of equal length n.

    images: n times uint8 [h, w, 3]; labels: int64 [n], index into the model's classes; group: int64 [n], samples of one
    group (stream and time block) may depend on each other.
    """

    images: Pictures
    labels: Array
    group: Array

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Holds the world that the model was ported in: what `reference.npz` holds, rows in time order per stream.

    images: uint8 [n, h, w, 3]; labels: int64 [n]; answers: float32 [n, K], stored as `probs`; features: float32 [n, D];
    stream, block: int64 [n].
    """

    images: Array
    labels: Array
    answers: Array
    features: Array
    stream: Array
    block: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> "Reference":
        """Returns the reference in the arrays of `reference.npz`.

        Raises `ValueError` when an array is missing or the lengths differ.
        """
        stored = {name: STORED_AS.get(name, name) for name in cls.__dataclass_fields__}
        missing = [name for name in stored.values() if name not in arrays]
        if missing:
            raise ValueError(f"reference without {', '.join(missing)}")
        lengths = {name: len(arrays[name]) for name in stored.values()}
        if len(set(lengths.values())) != 1 or not lengths["labels"]:
            raise ValueError(f"reference with arrays of lengths {lengths}")
        return cls(**{field: np.asarray(arrays[name]) for field, name in stored.items()})

    @property
    def prior(self) -> Array:
        """Returns the class frequencies of the labels, one pseudo-count each: float64 [K], sums to 1."""
        counts = np.bincount(self.labels, minlength=self.answers.shape[1]) + 1.0
        return np.asarray(counts / counts.sum())

    @property
    def group(self) -> Array:
        """Returns stream and time block as one number: int64 [n]."""
        return np.asarray(self.stream * (int(self.block.max()) + 1) + self.block)

    def split(self) -> tuple[Array, Array]:
        """Returns row numbers (replay, held out): every third time block is held out, and never trained on.

        With fewer than three blocks every third row is.
        """
        order = np.unique(self.group, return_inverse=True)[1]
        held = order % 3 == 2
        if not held.any():  # too few blocks to keep any apart: a third of the rows, better than none
            held = np.arange(len(order)) % 3 == 2
        return np.flatnonzero(~held), np.flatnonzero(held)

    def labelled(self, rows: Array) -> Labelled:
        return Labelled(self.images[rows], self.labels[rows], self.group[rows])


def balanced(labels: Array, size: int, rng: np.random.Generator) -> Array:
    """Returns at most `size` row numbers, ascending, with the classes as even as the labels allow."""
    rows = rng.permutation(len(labels))
    rank = np.zeros(len(labels), np.int64)
    for kind in np.unique(labels):
        of_kind = rows[labels[rows] == kind]
        rank[of_kind] = np.arange(len(of_kind))  # its turn within its class
    return np.sort(rows[np.argsort(rank[rows], kind="stable")][:size])


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Holds a bounded, class-balanced memory of the old world.

    features: float32 [n, D], those of the backbone `graph` (ONNX bytes) for the pictures in `old`.
    """

    old: Labelled
    features: Array
    graph: bytes

    @classmethod
    def of(cls, reference: Reference, graph: bytes, size: int, rng: np.random.Generator) -> "Replay":
        """Returns a replay of at most `size` samples, from the part of the reference that is not held out."""
        rows = reference.split()[0]
        rows = rows[balanced(reference.labels[rows], size, rng)]
        return cls(reference.labelled(rows), reference.features[rows], graph)
