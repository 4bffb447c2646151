"""Finds thresholds for window tests by a moving-block bootstrap on a known world, to a rate of false alarms per day."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.detection.bbsds import BbsdsGivenClass
from drift.detection.window_test import WindowTest

Array = NDArray[Any]
MakeTest = Callable[[Array], WindowTest]

DAY_S = 86_400.0
HALF_DRAWS = 24  # bootstrap windows for each random halving of the world
SLICE_DRAWS = 8  # bootstrap windows between two yields
TAIL_SHARE = 0.10  # part of the scores that the tail is fitted to


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceWorld:
    """Holds answers of one variant in a world known to be harmless, the rows of each stream in time order.

    answers: float32 [n, K]; stream: int64 [n]; block: int64 [n], index of the time block within its stream.
    """

    answers: Array
    stream: Array
    block: Array

    def __len__(self) -> int:
        return len(self.answers)


@dataclass(frozen=True, slots=True)
class Channel:
    """Describes a kind of window: `size` samples of one stream, or of `streams` streams together."""

    name: str
    size: int
    streams: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedDetector:
    """Holds the tests fitted to one world, with the score that each may reach on each kind of window."""

    tests: Mapping[str, WindowTest]
    limits: Mapping[str, Mapping[str, float]]  # channel -> test -> limit
    alarming: tuple[str, ...]  # tests that may raise an alarm; the others characterise it

    def excess(self, channel: str, answers: Array) -> dict[str, float]:
        """Returns score over limit, by test; above 1 is beyond what this world shows.

        answers: float32 [m, K]. A test that only characterises an alarm is left out where there is no alarm.
        """
        limits = self.limits[channel]
        excess = {name: self.tests[name].score(answers) / limits[name] for name in self.alarming}
        if self.worst(excess) > 1:
            excess |= {n: t.score(answers) / limits[n] for n, t in self.tests.items() if n not in excess}
        return excess

    def worst(self, excess: Mapping[str, float]) -> float:
        """Returns the largest excess among the tests that may raise an alarm."""
        return max(excess[name] for name in self.alarming)


def rate_per_test(false_alarms_per_day: float, channels: int, tests_per_day: float) -> float:
    """Returns the probability of a false alarm that one test may have, at most 0.5.

    channels: models x (streams + 1) x detectors of the system. A union bound: overlapping windows and correlated tests
    only make the true rate smaller.
    """
    return min(0.5, false_alarms_per_day / (channels * tests_per_day))


def threshold(scores: Array, rate: float) -> float:
    """Returns the score that a window of this world exceeds with probability `rate`.

    Within the data an empirical quantile; beyond it a generalised Pareto tail over the upper tenth with shape 0, that
    is an exponential one. Scores are bounded, so their true tail is lighter; a fitted shape follows the luck of a small
    reference over five orders of magnitude (measured: it either promised too much or never alarmed).
    """
    scores = np.sort(np.asarray(scores, np.float64))
    n = len(scores)
    if rate * n >= 10:
        return float(np.quantile(scores, 1 - rate, method="higher"))
    start = scores[int(n * (1 - TAIL_SHARE)) - 1]
    excess = scores[scores > start] - start
    if not len(excess):
        return float(scores[-1]) + 1e-9
    return float(max(start + excess.mean() * np.log(len(excess) / n / rate), scores[-1]))


def calibrate(
    world: ReferenceWorld,
    make: Sequence[MakeTest],
    channels: Sequence[Channel],
    rate: float,
    rng: np.random.Generator,
    draws: int = 600,
) -> Generator[None, None, CalibratedDetector]:
    """Fits the tests and their limits to a world, in slices; returns the calibrated detector.

    The world's chunks (runs of consecutive samples of one stream, a window long) are halved at random, again and again:
    one half makes the reference, the other the windows. A window is made of long pieces of chunks, so that the
    dependence between neighbours stays; half of the windows of a stream keep to one stream, so that streams may differ.
    Scoring against half of the reference is stricter than operation, and makes up for the luck of a small reference.
    """
    makers = [*make, BbsdsGivenClass]
    tests = {test.name: test for test in (maker(world.answers) for maker in makers)}
    yield
    limits = {}
    for channel in channels:
        chunks = _chunks(world, channel.size)
        scores = np.zeros((draws, len(makers)))
        for draw in range(draws):
            if draw % HALF_DRAWS == 0:
                order = rng.permutation(len(chunks))
                source = [chunks[i] for i in order[: (len(order) + 1) // 2]]
                others = np.concatenate([chunks[i] for i in order[len(order) // 2 :]])
                apart = [maker(world.answers[others]) for maker in makers]
                yield
            window = world.answers[_window(world, source, channel, rng)]
            scores[draw] = [test.score(window) for test in apart]
            if draw % SLICE_DRAWS == 0:
                yield
        limits[channel.name] = {test.name: max(threshold(scores[:, i], rate), 1e-6) for i, test in enumerate(apart)}
        yield
    return CalibratedDetector(tests, limits, tuple(name for name in tests if name != BbsdsGivenClass.name))


def _chunks(world: ReferenceWorld, size: int) -> list[Array]:
    """Row numbers of runs of about `size` consecutive samples of one stream; at least two chunks."""
    chunks: list[Array] = []
    for stream in np.unique(world.stream):
        rows = np.flatnonzero(world.stream == stream)
        chunks += np.array_split(rows, max(1, round(len(rows) / size)))
    return chunks if len(chunks) > 1 else np.array_split(np.arange(len(world)), 2)


def _window(world: ReferenceWorld, chunks: Sequence[Array], channel: Channel, rng: np.random.Generator) -> Array:
    """Row numbers of one bootstrap window made of pieces of `chunks`."""
    piece = max(1, -(-channel.size // max(2, channel.streams)))
    if channel.streams == 1 and rng.random() < 0.5:
        stream = world.stream[chunks[int(rng.integers(len(chunks)))][0]]
        chunks = [chunk for chunk in chunks if world.stream[chunk[0]] == stream]
    parts: list[Array] = []
    taken = 0
    while taken < channel.size:
        chunk = chunks[int(rng.integers(len(chunks)))]
        start = int(rng.integers(max(1, len(chunk) - piece + 1)))
        part = chunk[start : start + min(piece, channel.size - taken)]
        parts.append(part)
        taken += len(part)
    return np.concatenate(parts)
