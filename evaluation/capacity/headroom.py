"""Searches how many cameras hold their SLOs, by how much their frame rate could rise, and which changes would help."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from edge.systems import System
from evaluation.capacity.search import HOLDS, CapacityQuestion, Coping, attempt, scenario_of

NEAR = 0.9  # load at which the search begins; at 1.0 lanes are busy all the time
PACES = [1.05**n for n in range(-60, 49)]  # of frames: a twentieth of the rate to ten times as often
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Change:
    """Describes a possible change: how many cameras the box would then hold, and how many more these are."""

    words: str
    cameras: int
    more: int


def most(
    question: CapacityQuestion, least: int, greatest: int, holds: float = HOLDS, tell: Tell = lambda words: None,
    near: float = NEAR,
) -> tuple[int, dict[int, Coping]]:  # fmt: skip
    """Returns the largest number of cameras, `least` to `greatest`, that hold their SLOs, and
    the results of all that do.

    A number smaller than one that holds is assumed to hold. The first result is `least - 1` when not even `least`
    holds.

    Args:
        question: the box.
        least: smallest number of cameras.
        greatest: largest number of cameras.
        holds: share of a camera's frames that must be in time, 0..1.
        tell: called with what is being tried.
        near: load that is tried first.

    Raises:
        UserError: there is no scenario to try.
    """
    held: dict[int, Coping] = {}

    def test(cameras: int) -> bool:
        tell(f"{cameras} cameras")
        coping = attempt(question, cameras, holds)
        if coping is not None:
            held[cameras] = coping
        return coping is not None

    return largest(test, least, greatest, guess(question, least, near)), held


def guess(question: CapacityQuestion, cameras: int, load: float) -> int:
    """Returns the number of cameras at which the load is `load`. Raises `UserError`."""
    known = float(scenario_of(question, cameras, 0).facts["load"])
    return round(load * cameras / known) if known else cameras


def largest(test: Callable[[int], bool], least: int, greatest: int, start: int) -> int:
    """Returns the largest number, `least` to `greatest`, that passes; `least - 1` when none
    does. `test` must be monotone.

    It tries near `start` first, then at growing distances, then bisects: a failing trial costs most.
    """
    low, high, step = least - 1, greatest + 1, max(1, start // 8)
    at = min(max(start, least), greatest)
    while high - low > 1:
        passed = test(at)
        low, high = (at, high) if passed else (low, at)
        if low >= least and high <= greatest:
            at = (low + high) // 2
        else:
            at = min(at + step, greatest) if passed else max(at - step, least)
            step *= 2
    return low


def headroom(question: CapacityQuestion, cameras: int, holds: float = HOLDS) -> float | None:
    """Returns the factor by which the cameras' frame rate could rise or, below 1, must fall, in steps of 5 %.

    None: not even a twentieth of the rate holds. Raises `UserError`.
    """

    def test(at: int) -> bool:
        return attempt(paced(question, PACES[at]), cameras, holds) is not None

    load = float(scenario_of(question, cameras, 0).facts["load"])
    start = min(range(len(PACES)), key=lambda at: abs(PACES[at] * load - NEAR))
    at = largest(test, 0, len(PACES) - 1, start)
    return PACES[at] if at >= 0 else None


def changes(
    question: CapacityQuestion, best: int, greatest: int, others: Sequence[System], holds: float = HOLDS,
    tell: Tell = lambda words: None, near: float = NEAR,
) -> Iterator[Change]:  # fmt: skip
    """Yields what each of some changes would bring, one at a time. `best`: cameras that hold without them."""
    least = max(1, question.named)
    question = replace(question, seeds=1)  # enough for a difference, since both sides use the same seed

    def held(changed: CapacityQuestion) -> int:
        return most(changed, least, greatest if question.others else least, holds, near=near)[0]

    before = held(question)
    for words, changed in asked(question, others):
        tell(words)
        more = held(changed) - before
        yield Change(words, max(0, best + more), more)


def paced(question: CapacityQuestion, times: float) -> CapacityQuestion:
    """Returns the question with `times` the frame rate, for longer where that is lower: a share
    of few frames says little.
    """
    return replace(question, fps=times * question.fps, duration_s=question.duration_s / min(1.0, times))


def asked(question: CapacityQuestion, others: Sequence[System]) -> Iterator[tuple[str, CapacityQuestion]]:
    """Yields the changes to try, in words and as questions."""
    yield f"{0.8 * question.fps:g} frames a second", paced(question, 0.8)
    # A frame that may take longer than the next one takes to come must be allowed to wait for its turn.
    yield "SLOs half as long again, one more frame may wait", replace(question, slo=1.5, more_waiting=1)
    yield "one more frame of each camera may wait", replace(question, more_waiting=1)
    yield "models a quarter faster", replace(question, faster=0.75)
    yield "a second device like each one", replace(question, lanes=2)
    for other in others:
        yield f"system: {other.name}", replace(question, system=other)
