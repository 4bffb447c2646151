"""The books: every frame ends in exactly one counter, whatever the order of things; time goes where it went."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Failed, Finished, LaneDown, Loaded, LoadFailed, Reply, Request, Run, Stopped, Task, Woke
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.data.frame import Frame
from edge.data.job import InFlightRequest
from edge.estimators.table import Table
from edge.observers.metrics import STREAMS_MAX, Metrics, quantiles_ms, shares, slo
from edge.observers.results import Results
from edge.observers.stats import Stats, with_network_drops
from edge.runtime.admission import OTHERS
from tests.edge.daemon_builder import add_up

MS = 1_000_000
OUTCOMES = ("ok", "late", "superseded", "failed", "refused", "stopped")


def opened(number, camera="gate", arrived_ns=0, deadline_ns=100 * MS):
    frame = Frame(camera, b"", arrived_ns, 0.0, 0.0)
    return InFlightRequest(Request(number, "app", camera, arrived_ns, deadline_ns), frame)


def answered(metrics, number, outcome="ok", at_ns=MS, camera="gate", detail=""):
    metrics.replied(opened(number, camera), Reply(number, outcome, detail=detail), at_ns)


words = st.tuples(st.sampled_from(["arrive", "drop", *OUTCOMES]), st.sampled_from(["gate", "yard", "shed"]))


@given(st.lists(words, max_size=60))
def test_whatever_happens_the_books_add_up(story):
    metrics, waiting, fell = Metrics(), Counter(), Counter()
    for number, (word, camera) in enumerate(story):
        if word == "arrive":
            metrics.arrived(camera)
            waiting[camera] += 1
        elif word == "drop":
            metrics.dropped(camera, "app", "unknown_camera")
            fell["unknown_camera"] += 1
        elif waiting[camera]:
            waiting[camera] -= 1
            answered(metrics, number, word, camera=camera)
            fell[word] += 1
        table = metrics.snapshot(number)
        assert add_up(table["frames"])
        assert table["frames"]["waiting"] == waiting.total()
    table = metrics.snapshot(0)
    assert table["frames"]["dropped"] == {reason: n for reason, n in fell.items() if reason != "ok"}
    assert table["frames"]["answered"] == fell["ok"]
    assert sum(stream["in"] for stream in table["streams"].values()) == table["frames"]["in"]


def test_a_frame_that_is_answered_too_late_was_answered_but_did_not_meet_its_time():
    metrics = Metrics()
    for number, at_ns in enumerate((100 * MS, 100 * MS + 1)):
        metrics.arrived("gate")
        answered(metrics, number, at_ns=at_ns)
    metrics.arrived("gate")
    answered(metrics, 9, "late")
    table = metrics.snapshot(0)
    assert table["frames"]["answered"] == 2
    assert table["slo"]["attainment"] == pytest.approx(1 / 3, abs=1e-4), "a drop is a miss"


def test_background_work_is_in_no_book():
    metrics = Metrics()
    metrics.replied(InFlightRequest(Request(1, "teacher", "background", 0)), Reply(1, "refused"), 1)
    assert metrics.snapshot(0)["frames"] == {"in": 0, "answered": 0, "dropped": {}, "waiting": 0}
    assert metrics.snapshot(0)["slo"]["attainment"] is None


def test_strangers_share_one_line():
    metrics = Metrics()
    for number in range(STREAMS_MAX + 50):
        metrics.dropped(f"stranger-{number}", "", "unknown_camera")
    table = metrics.snapshot(0)
    assert len(table["streams"]) == STREAMS_MAX + 1
    assert table["streams"][OTHERS]["in"] == 50


def test_strangers_take_no_line_from_a_camera_of_the_file():
    metrics = Metrics(known=frozenset({"gate"}))
    for number in range(STREAMS_MAX + 50):
        metrics.dropped(f"stranger-{number}", "", "unknown_camera")
    metrics.arrived("gate")
    assert metrics.snapshot(0)["streams"]["gate"]["in"] == 1


def test_the_last_words_of_each_trouble_are_kept():
    metrics = Metrics()
    for number, detail in enumerate(("JPEG cut", "", "JPEG empty")):
        metrics.arrived("gate")
        answered(metrics, number, "failed", detail=detail)
    assert metrics.snapshot(0)["last_words"] == {"failed": "JPEG empty"}


def moment(now_ms, event, *actions):
    return Moment(now_ms * MS, event, actions, State(Table()))


def run(work_id, model="paint", background=False):
    return Run(work_id, "cpu0", ("s",), (Task(1, 1, model, ("s",), 0, 0, None),), background)


def test_time_goes_to_whom_it_was_spent_on():
    metrics = Metrics(labelling=frozenset({"teacher"}))
    metrics.observe(moment(0, Woke(), run(1)))
    metrics.observe(moment(10, Finished(1, {}, 8 * MS), run(2, "teacher", background=True)))
    metrics.observe(moment(30, Failed(2, "NaN"), run(3, "adapt/paint", background=True)))
    metrics.observe(moment(40, Stopped(3)))
    table = metrics.snapshot(100 * MS)
    assert table["time_share"] == {"inference": 0.08, "training": 0.1, "labelling": 0.2, "idle": 0.62}
    assert table["uptime_s"] == 0.1
    assert not metrics.works
    assert metrics.snapshot(200 * MS)["time_share_recent"]["idle"] == 1.0


def test_events_on_the_lanes_are_counted():
    metrics = Metrics()
    for event in (Loaded("cpu0", "s"), LoadFailed("cpu0", "abcdefghijklmnop", "flipped"), Failed(7, "NaN")):
        metrics.observe(moment(0, event))
    table = metrics.snapshot(0)
    assert table["events"] == {"loads": 1, "failed_loads": 1, "failed_works": 1}
    assert table["last_words"] == {"failed_loads": "abcdefghijkl: flipped", "failed_works": "NaN"}


@pytest.mark.parametrize(
    ("latencies_ns", "expected"),
    [
        ([], {"p50": None, "p99": None}),
        ([5 * MS], {"p50": 5.0, "p99": 5.0}),
        ([k * MS for k in range(101)], {"p50": 50.0, "p99": 99.0}),
    ],
)
def test_quantiles_are_in_milliseconds(latencies_ns, expected):
    assert quantiles_ms(np.array(latencies_ns, np.int64)) == expected


def test_shares_are_of_a_whole_and_never_below_nothing():
    assert shares(Counter(inference=30, training=90), 100)["idle"] == 0.0
    assert shares(Counter(), 0) == {"inference": 0.0, "training": 0.0, "labelling": 0.0, "idle": 1.0}


@given(st.dictionaries(st.sampled_from(["too_large", "empty", "after_end", "received", "sent"]), st.integers(0, 9)))
def test_what_the_network_thread_refused_came_in_and_fell_out(counters):
    books = {"frames": {"in": 5, "answered": 3, "dropped": {"late": 1}, "waiting": 1}, "slo": slo(2, 5)}
    table = with_network_drops(books, counters)
    frames = table["frames"]
    assert add_up(frames)
    assert table["slo"] == {"met": 2, "attainment": round(2 / frames["in"], 5)}, "a drop is a miss, wherever it was"
    refused = sum(n for name, n in counters.items() if name not in ("received", "sent"))
    assert frames["in"] == 5 + refused
    assert books["frames"]["in"] == 5, "the table that was given is left alone"


def test_statistics_are_told_once_a_period():
    told = []
    stats = Stats(Metrics(), told.append, lambda state: {"paint": {}}, dict, lambda: 1.5, 100 * MS)
    for now_ms in (200, 250, 299, 300, 450):
        stats.observe(moment(now_ms, Woke()))
    assert len(told) == 3
    assert told[0]["time"] == 1.5
    assert told[0]["models"] == {"paint": {}}
    assert not told[0]["final"]
    assert told[0]["memory_bytes"] > 1_000_000


def test_a_result_says_what_its_stream_lost_since_the_last_one():
    told = []
    results = Results(SimpleNamespace(publish=lambda topic, table, delivery: told.append(table["dropped_before"])))
    results.dropped("gate", "app", "stream_full")
    results.dropped("gate", "", "unknown_camera")  # of no app: no result will ever say it
    results.dropped("yard", "app", "stream_full")
    results.replied(opened(1), Reply(1, "late"), MS)
    for number in (2, 3):
        results.replied(opened(number), Reply(number, "ok"), MS)
    assert told == [2, 0]
    assert results.dropped_before == {("yard", "app"): 1}


def test_the_trace_context_of_a_frame_goes_on_with_its_result():
    told = []
    results = Results(SimpleNamespace(publish=lambda *said: told.append(said)))
    first, second = opened(1), opened(2)
    first.frame = replace(first.frame, properties={"traceparent": "00-ab-cd-01"})
    for one in (first, second):
        results.replied(one, Reply(one.request.id, "ok"), MS)
    trace = {"traceparent": "00-ab-cd-01"}
    assert [delivery.headers for _, _, delivery in told] == [trace, {}]
    assert [table.get("traceparent") for _, table, _ in told] == ["00-ab-cd-01", None]


# ---- lanes that are lost, lanes that cost


def ran(metrics, run, event, now=MS):
    metrics.observe(Moment(0, None, (run,), State(Table())))
    metrics.observe(Moment(now, event, (), State(Table())))


def run_on(lane, work_id, tasks=1):
    return Run(work_id, lane, ("s",), tuple(Task(n, n, "m", ("s",), 0, 0, 1) for n in range(tasks)))


def test_what_a_lost_lane_was_doing_is_over():
    metrics = Metrics()
    metrics.observe(Moment(0, None, (run_on("cpu0", 2),), State(Table())))
    ran(metrics, run_on("cloud", 1), LaneDown("cloud", "gone"))
    assert [*metrics.works] == [2]
    assert metrics.spent_ns["inference"] == MS
    table = metrics.snapshot(MS)
    assert (table["events"], table["last_words"]) == ({"lanes_lost": 1}, {"lanes_lost": "cloud: gone"})


def test_tasks_are_paid_for_where_they_cost_whatever_became_of_them():
    metrics = Metrics(prices={"cloud": 0.5})
    ran(metrics, run_on("cloud", 1, 3), Finished(1, {}))
    ran(metrics, run_on("cloud", 2, 3), Failed(2, "refused"))
    ran(metrics, run_on("cpu0", 3, 3), Finished(3, {}))
    assert metrics.snapshot(MS)["paid"] == {"cloud": {"tasks": 6, "money": 3.0}}
    assert "paid" not in Metrics().snapshot(MS)
