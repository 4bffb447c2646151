"""Thresholds for window tests: moving-block bootstrap on a known world, to a stated rate of false alarms per day."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.detectors import WindowTest
from drift.detectors.bbsds import BbsdsGivenClass

Array = NDArray[Any]
MakeTest = Callable[[Array], WindowTest]

DAY_S = 86_400.0
FOLDS = 4  # a window is scored against the other folds: what a test was built with says too little about new frames
SLICE_DRAWS = 8  # bootstrap windows between two yields
TAIL_SHARE = 0.10  # part of the scores that the tail is fitted to
SHAPE = (
    -0.10,
    0.40,
)  # the fitted tail is kept no lighter than nearly exponential: a bounded fit would promise too much


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Answers of one variant in a world known to be harmless, rows of each stream in time order.

    probs: float32 [n, K]; stream: int64 [n]; block: int64 [n], index of the time block within its stream.
    """

    probs: Array
    stream: Array
    block: Array

    def __len__(self) -> int:
        return len(self.probs)


@dataclass(frozen=True, slots=True)
class Channel:
    """A kind of window: `size` samples of one stream, or of `streams` streams together."""

    name: str
    size: int
    streams: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """Tests fitted to one world, with the score each may reach on each kind of window."""

    tests: Mapping[str, WindowTest]
    limits: Mapping[str, Mapping[str, float]]  # channel -> test -> limit
    alarming: tuple[str, ...]  # tests that may raise an alarm; the others characterise it

    def excess(self, channel: str, probs: Array) -> dict[str, float]:
        """Score over limit, by test; above 1 is beyond what this world shows."""
        return {name: test.score(probs) / self.limits[channel][name] for name, test in self.tests.items()}

    def worst(self, excess: Mapping[str, float]) -> float:
        return max(excess[name] for name in self.alarming)


def rate_per_test(false_alarms_per_day: float, channels: int, tests_per_day: float) -> float:
    """Probability of an alarm that one test may have. `channels` = models x (streams + 1) x detectors of the system.

    A union bound: overlapping windows and correlated tests only make the true rate smaller.
    """
    return min(0.5, false_alarms_per_day / (channels * tests_per_day))


def threshold(scores: Array, rate: float) -> float:
    """The score that a window of this world exceeds with probability `rate`.

    Within the data an empirical quantile; beyond it a generalised Pareto tail over the upper tenth, fitted by
    probability-weighted moments (Hosking and Wallis, Technometrics 1987), with its shape held in `SHAPE`.
    """
    scores = np.sort(np.asarray(scores, np.float64))
    n = len(scores)
    if rate * n >= 10:
        return float(np.quantile(scores, 1 - rate, method="higher"))
    start = scores[int(n * (1 - TAIL_SHARE)) - 1]
    excess = scores[scores > start] - start
    if len(excess) < 5 or excess[-1] <= 0:
        return float(scores[-1]) + 1e-9
    shape, scale = _pareto(excess)
    ratio = len(excess) / n / rate
    tail = scale * np.log(ratio) if abs(shape) < 1e-6 else scale / shape * (ratio**shape - 1)
    return float(max(start + tail, scores[-1]))


def _pareto(excess: Array) -> tuple[float, float]:
    """(shape, scale) of a generalised Pareto with the sample's mean, its shape clipped to `SHAPE`."""
    n = len(excess)
    mean = float(excess.mean())
    weighted = float(np.mean(excess * (n - 0.65 - np.arange(n)) / n))  # excess ascending: weights fall
    shape = 2 - mean / (mean - 2 * weighted) if mean > 2 * weighted else SHAPE[1]
    shape = float(np.clip(shape, *SHAPE))
    return shape, mean * (1 - shape)


def calibrate(
    world: World,
    make: Sequence[MakeTest],
    channels: Sequence[Channel],
    rate: float,
    rng: np.random.Generator,
    draws: int = 600,
) -> Generator[None, None, Guard]:
    """Fit and calibrate in slices; returns the guard of that world.

    A bootstrap window is made of runs of consecutive samples, a third of a window long, so that the dependence between
    neighbours stays; a stream's window is made of one stream's runs, so that the difference between streams stays too.
    """
    fold = _folds(world)
    makers = [*make, BbsdsGivenClass]
    tests = {test.name: test for test in (maker(world.probs) for maker in makers)}
    yield
    apart = []
    for k in range(FOLDS):
        others = world.probs[fold != k]
        apart.append([maker(others if len(others) else world.probs) for maker in makers])
        yield
    limits = {}
    for channel in channels:
        scores = np.zeros((draws, len(makers)))
        for draw in range(draws):
            k = int(rng.integers(FOLDS))
            window = world.probs[_window(world, np.flatnonzero(fold == k), channel, rng)]
            scores[draw] = [test.score(window) for test in apart[k]]
            if draw % SLICE_DRAWS == 0:
                yield
        limits[channel.name] = {test.name: max(threshold(scores[:, i], rate), 1e-6) for i, test in enumerate(apart[0])}
        yield
    return Guard(tests, limits, tuple(name for name in tests if name != BbsdsGivenClass.name))


def _folds(world: World) -> Array:
    """Fold of each row: each stream's time cut into `FOLDS` pieces of whole blocks."""
    fold = np.zeros(len(world), np.int64)
    for stream in np.unique(world.stream):
        rows = np.flatnonzero(world.stream == stream)
        place = np.unique(world.block[rows], return_inverse=True)[1]
        fold[rows] = place * FOLDS // (int(place.max()) + 1)
    spread = np.unique(fold)
    # A stream of one block has one fold; then streams take the place of time.
    return (
        fold if len(spread) == FOLDS else np.unique(world.stream * 10**9 + world.block, return_inverse=True)[1] % FOLDS
    )


def _window(world: World, rows: Array, channel: Channel, rng: np.random.Generator) -> Array:
    """Row numbers of one bootstrap window taken from `rows`."""
    if not len(rows):
        rows = np.arange(len(world))
    by_stream = [rows[world.stream[rows] == stream] for stream in np.unique(world.stream[rows])]
    run = max(1, -(-channel.size // (3 * channel.streams)))
    one = by_stream[int(rng.integers(len(by_stream)))]
    parts: list[Array] = []
    taken = 0
    while taken < channel.size:
        source = one if channel.streams == 1 else by_stream[int(rng.integers(len(by_stream)))]
        start = int(rng.integers(max(1, len(source) - run + 1)))
        part = source[start : start + min(run, channel.size - taken)]
        parts.append(part)
        taken += len(part)
    return np.concatenate(parts)
