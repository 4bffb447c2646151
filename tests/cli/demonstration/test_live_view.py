"""The live view as text: what it shows of the box's messages, at which width, and what a log gets instead."""

import io

from rich.console import Console

from cli.demonstration.live_view import JOURNAL_MAX, LiveView, drop_words, time_bar, viewer

STATS = {
    "frames": {"in": 1210, "answered": 1200, "dropped": {"late": 7, "superseded": 3}, "waiting": 0},
    "slo": {"attainment": 0.9917},
    "latency_ms": {"p50": 20.0, "p99": 81.4},
    "streams": {
        "gate-1": {"in": 605, "answered": 600, "dropped": {"late": 5}, "fps": 5.02, "p99_ms": 123.4},
        "gate-0": {"in": 605, "answered": 600, "dropped": {"late": 2, "superseded": 3}, "fps": 4.98, "p99_ms": 61.0},
    },
    "models": {
        "vehicles": {
            "variant": "head-2", "alarms": 2, "audits": 1, "promotions": 1, "rollbacks": 0,
            "state": "probation", "accuracy_estimate": 0.874,
        },
    },
    "queues": {"detector": 2, "vehicles": 0},
    "time_share": {"inference": 0.5, "training": 0.1, "labelling": 0.05, "idle": 0.35},
    "time_share_recent": {"inference": 0.4, "training": 0.2, "labelling": 0.0, "idle": 0.4},
}  # fmt: skip

EXPECTED = """\
Leeway  40 s, 50 s to go             1,200 answered, 10 dropped, in time 99.17 %
 stream      fps     in     answered   dropped                              p99
────────────────────────────────────────────────────────────────────────────────
 gate-0      5.0    605          600   3 superseded, 2 late        61 ms of 100
 gate-1      5.0    605          600   5 late                     123 ms of 100
 model       variant     estimate   drift        so far
────────────────────────────────────────────────────────────────────────────────
 vehicles    head-2          87 %   probation    2 alarms, 1 audit, 1 promotion
device   ████████████████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░
         inference 40 % training 20 % idle 40 %
waiting  detector 2
─────────────────────────────────── journal ────────────────────────────────────
   33 s  alarm      vehicles   detector BBSDs, statistic 0.412
"""


def text_of(renderable, width=80):
    console = Console(width=width, color_system=None, file=io.StringIO())
    console.print(renderable)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def fed() -> LiveView:
    view = LiveView(duration_s=90, slo_ms=100)
    view.message("stats", STATS)
    view.elapsed_s = 33.0
    view.message(
        "events", {"kind": "alarm", "model": "vehicles", "detector": "BBSDs", "statistic": 0.41234, "time": 5.0}
    )
    return view


def test_the_whole_screen():
    assert text_of(fed().render(40.0)) == EXPECTED


def test_it_fits_a_narrow_terminal():
    assert max(map(len, text_of(fed().render(40.0), width=60).splitlines())) <= 60


def test_nothing_came_yet():
    text = text_of(LiveView(90).render(0.0))
    assert "0 answered, 0 dropped, in time –" in text
    assert "nothing happened yet" in text
    assert LiveView(90).line(0.0) == "   0 s  0 answered, 0 dropped, p99 –, adapting 0 % of the time"


def test_messages_of_a_strange_shape_do_no_harm():
    view = LiveView(90)
    view.message("stats", {"frames": 3, "streams": {"gate-0": {"dropped": 2, "fps": None}}, "models": {"m": None}})
    view.message("events", {})
    view.message("results", {"slo": None})
    view.message("truth", {"camera": "gate-0"})
    assert "gate-0" in text_of(view.render(1.0))


def test_rendering_changes_nothing():
    view = fed()
    assert text_of(view.render(40.0)) == text_of(view.render(40.0))
    assert view == fed()


def test_late_streams_are_red():
    console = Console(width=80, force_terminal=True, color_system="standard", file=io.StringIO())
    console.print(fed().render(40.0))
    lines = console.file.getvalue().splitlines()
    assert "\x1b[31m" in next(line for line in lines if "gate-1" in line)
    assert "\x1b[31m" not in next(line for line in lines if "gate-0" in line)


def test_the_journal_keeps_the_last_lines():
    view = LiveView(90)
    for number in range(20):
        view.message("events", {"kind": "audit", "model": "vehicles", "labelled": number})
    assert len(view.journal) == JOURNAL_MAX
    assert view.journal[-1].endswith("labelled 19")


def test_results_count_what_was_late_and_tell_the_slo():
    view = LiveView(90)
    for met in (True, False, True):
        view.message("results", {"slo": {"deadline_ms": 80, "met": met}})
    assert (view.answered, view.late, view.slo_ms) == (3, 1, 80.0)


def test_the_bar_is_always_as_long():
    for shares in ({}, {"inference": 1.0}, {"inference": 0.7, "training": 0.7}, {"idle": 0.004, "labelling": 0.996}):
        assert len(time_bar(shares, width=40).plain.splitlines()[0]) == len("device   ") + 40


def test_drops_by_reason_largest_first():
    assert drop_words({"late": 2, "superseded": 9, "failed": 0}) == "9 superseded, 2 late"
    assert drop_words({}) == "0"
    assert drop_words(4) == "4"


def test_a_log_gets_a_line_every_five_seconds():
    console = Console(file=io.StringIO(), width=200)
    view = fed()
    with viewer(view, console) as shown:
        for quarter in range(70):
            shown.refresh(quarter / 4)
    lines = console.file.getvalue().splitlines()
    assert [line.split(" s ")[0].strip() for line in lines] == ["5", "10", "15"]
    assert lines[0] == (
        "   5 s  1,200 answered, 10 dropped, p99 81 ms, adapting 20 % of the time; vehicles head-2 probation"
    )


def test_a_terminal_gets_the_screen_and_is_left_clean():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=30, color_system=None)
    with viewer(fed(), console) as shown:
        shown.message("stats", STATS)
        shown.refresh(41.0)
    assert "41 s, 49 s to go" in console.file.getvalue()
    assert console.file.getvalue().rstrip().endswith("\x1b[2K")
