"""Cameras that fit are served on time, the one too many is refused, and a place that becomes free is given away."""

from collections import Counter
from collections.abc import Iterable

from edge.estimators.table import Table
from edge.policies.disbatcher import DisBatcher
from edge.policies.wrappers.default_stack import complete
from edge.policies.wrappers.stream_admission import StreamAdmission
from evaluation.arrivals.request import Arrival, requests_of
from evaluation.scenario import MS, Scenario, affine, play

SECOND = 1000 * MS
EYE = affine("eye", 20, 0)  # 20 ms a frame, in batches or alone
Camera = tuple[str, float, float]  # its name, from second, to second


def outcomes(
    cameras: Iterable[Camera], after_s: float, slo_ms: float = 100, every_ms: int = 100
) -> dict[str, Counter[str]]:
    """What became of the frames that came after this time."""
    made = []
    for at, (name, begins, ends) in enumerate(cameras):
        times = range(round(begins * SECOND) + at * 7 * MS, round(ends * SECOND), every_ms * MS)
        made += [Arrival(time_ns, name, "eye", round(slo_ms * MS)) for time_ns in times]
    scenario = Scenario("cameras", (EYE,), requests_of(made), slowdown=0)
    world = play(scenario, complete(StreamAdmission(DisBatcher())), Table())
    came = {request.id: request for request in world.requests}
    found: dict[str, Counter[str]] = {}
    for time_ns, reply in world.replies:
        request = came[reply.request_id]
        good = reply.outcome == "ok" and time_ns <= (request.deadline_ns or 0)
        if request.arrived_ns >= after_s * SECOND:
            found.setdefault(request.stream, Counter())["good" if good else reply.outcome] += 1
    return found


def test_two_cameras_fill_the_windows_and_the_third_is_refused() -> None:
    """A window is 50 ms, a frame 20 ms: two fit, three do not, though three ask for 60 % of the lane only."""
    found = outcomes([("a", 0, 5), ("b", 0, 5), ("c", 0, 5)], after_s=2)
    assert found == {"a": Counter(good=30), "b": Counter(good=30), "c": Counter(refused=30)}


def test_who_was_there_first_stays() -> None:
    found = outcomes([("late", 3, 8), ("a", 0, 8), ("b", 0, 8)], after_s=5)
    assert found["late"] == Counter(refused=30)
    assert found["a"] == found["b"] == Counter(good=30)


def test_a_place_that_becomes_free_is_given_away() -> None:
    """Camera b ends after 4 s and is forgotten 10 s later."""
    found = outcomes([("a", 0, 20), ("b", 0, 4), ("c", 0, 20)], after_s=16)
    assert found == {"a": Counter(good=40), "c": Counter(good=40)}


def test_with_more_time_more_cameras() -> None:
    found = outcomes([(name, 0, 5) for name in "abcdef"], after_s=2, slo_ms=200)
    assert {name for name, counted in found.items() if counted == Counter(good=30)} == set("abcde")
    assert found["f"] == Counter(refused=30)


def test_a_camera_that_comes_late_is_not_taken_for_a_slow_one() -> None:
    """Its 20 ms a frame, ten frames in a window: one such camera is all that the lane can take."""
    names = [f"late-{number}" for number in range(3)]
    found = outcomes([("a", 0, 2), *[(name, 20, 25) for name in names]], after_s=22, slo_ms=1000, every_ms=35)
    assert sum(counted.keys() == {"good"} for counted in found.values()) == 1
    assert sum(counted.keys() == {"refused"} for counted in found.values()) == 2
