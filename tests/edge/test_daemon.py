"""The daemon as a whole, without a broker: frames whose answer is known go in, every one is accounted for."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.config import load
from edge.observers.trace import replay
from edge.policies.wrappers.default_stack import complete
from porting.errors import UserError
from porting.repository.atomic_files import write_json
from porting.repository.repository import Repository
from tests.edge.daemon_builder import (
    CASCADE,
    CELL,
    COLOURS,
    KINDS,
    LABELS,
    Daemon,
    add_up,
    colour_classifier,
    edge,
    jpeg,
    ported,
    swapped,
    within,
)

JUNCTION = {"junction": CASCADE}
ONE_JUNCTION = {"*": {"apps": ["junction"], "waiting_max": 32}}


def repository_of(box: Path) -> Repository:
    return Repository(box / "repository")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def head_of(box: Path, model: str, variant: str) -> Path:
    repository = repository_of(box)
    return repository.blob_path(str(repository.stages(repository.variant(model, variant), "")[1].head))


def point(box: Path, model: str, variant: str) -> None:
    """Move the pointer as `serve` does, without looking at what it points to."""
    pointer = repository_of(box).pointer(model) or {}
    write_json(box / "repository" / model / "serving.json", {**pointer, "variant": variant, "number": 2})


# ---- answers


@pytest.mark.parametrize("colour", LABELS)
def test_a_frame_is_answered_right_without_a_broker(box, colour):
    with Daemon(edge(box)) as daemon:
        (found,) = daemon.answered(jpeg(colour))["objects"]
        assert (found["kind"], found["label"]) == ("paint", colour)
        assert "box" not in found


def test_the_result_says_what_when_and_how_long(box):
    with Daemon(edge(box)) as daemon:
        sent = time.time()
        daemon.send(jpeg("red"), camera="north", seq=41, frame_time=sent - 1.5)
        assert within(lambda: daemon.results)
        result = daemon.results[0]
    assert list(result) == [
        "id", "camera", "app", "models", "frame_time", "received_time", "published_time", "seq", "objects",
        "timings_ms", "slo", "dropped_before",
    ]  # fmt: skip
    assert (result["camera"], result["app"], result["seq"]) == ("north", "colour", 41)
    assert result["models"] == {"paint": "fp32"}
    assert result["frame_time"] == sent - 1.5 < sent <= result["received_time"] <= result["published_time"]
    assert result["id"].startswith(f"{result['frame_time']:.6f}-")
    spans = result["timings_ms"]
    assert list(spans) == ["queue", "decode", "infer", "post", "total"]
    assert spans["total"] == pytest.approx(sum(spans.values()) - spans["total"], abs=0.01)
    assert min(spans.values()) > 0
    assert result["slo"] == {"deadline_ms": 5000.0, "met": True}
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize(
    "cells",
    [("red", "green", "blue", "black"), ("blue", "blue", "red", "green"), ("blue", "red", "blue", "red")]
    + [(colour,) * 4 for colour in COLOURS],
    ids="-".join,
)
def test_every_crop_goes_to_its_classifier_and_comes_back_to_its_box(box, cells):
    with Daemon(edge(box, apps=JUNCTION, streams=ONE_JUNCTION)) as daemon:
        result = daemon.answered(jpeg(*cells))
    found = result["objects"]
    assert len(found) == sum(cell != "black" for cell in cells)
    for thing in found:
        x1, y1, x2, y2 = thing["box"]
        covered = cells[2 * int((y1 + y2) / 2 > CELL) + int((x1 + x2) / 2 > CELL)]
        assert thing["label"] == covered
        assert thing["kind"] == KINDS[covered == "blue"]
        assert (x2 - x1, y2 - y1) == (36, 36)  # 12 pixels of the input, in pixels of the frame
    asked = {"cells"} | {"paint" for c in cells if c in ("red", "green")} | {"tint" for c in cells if c == "blue"}
    assert set(result["models"]) == asked


def test_two_apps_look_at_one_camera(box):
    apps = {"colour": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 5000}, **JUNCTION}
    with Daemon(edge(box, apps=apps, streams={"*": {"apps": ["colour", "junction"]}})) as daemon:
        daemon.send(jpeg("green"))
        assert within(lambda: len(daemon.results) == 2)
        assert {result["app"] for result in daemon.results} == {"colour", "junction"}
        assert {result["seq"] for result in daemon.results} == {1}
        assert daemon.stop()["frames"] == {"in": 2, "answered": 2, "dropped": {}, "waiting": 0}


def test_two_lanes_share_the_work_and_the_frames(box):
    devices = {name: {"use": "devices.cpu:Cpu"} for name in ("cpu0", "cpu1")}
    apps = {"colour": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 9000}}
    apps["junction"] = {**CASCADE, "slo_ms": 9000}
    config = edge(box, devices=devices, apps=apps, streams={"*": {"apps": ["colour", "junction"], "waiting_max": 32}})
    with Daemon(config) as daemon:
        for number in range(30):
            daemon.send(jpeg("red", "green", "blue", "red"), camera=f"gate-{number % 3}")
        assert within(lambda: daemon.handled() == 60)
        assert not daemon.reasons
        assert {run.lane for run in daemon.runs} == {"cpu0", "cpu1"}
        for result in daemon.results:
            if result["app"] == "junction":
                assert sorted(thing["label"] for thing in result["objects"]) == ["blue", "green", "red", "red"]


def test_models_that_do_not_fit_together_take_turns(box):
    repository = repository_of(box)
    sizes = {}
    for model in ("cells", "paint", "tint"):
        stages = repository.stages(repository.variant(model, "fp32"), "cpu")
        sizes[model] = sum({digest: size for stage in stages for digest, size in stage.blobs.items()}.values())
    room = max(sizes["cells"], sizes["paint"], sizes["tint"]) + 100
    assert room < sizes["cells"] + min(sizes["paint"], sizes["tint"])
    devices = {"cpu0": {"use": "tests.edge.daemon_builder:TightCpu", "room": room}}
    with Daemon(edge(box, devices=devices, apps=JUNCTION, streams=ONE_JUNCTION)) as daemon:
        for _ in range(4):
            found = daemon.answered(jpeg("red", "green", "blue", "black"))["objects"]
            assert sorted(thing["label"] for thing in found) == ["blue", "green", "red"]
        assert daemon.evicted >= 4
        assert not daemon.reasons


def test_a_gray_model_sees_gray(tmp_path):
    ported(tmp_path, {"paint": colour_classifier(channels=1)})
    with Daemon(edge(tmp_path)) as daemon:
        assert daemon.answered(jpeg("red"))["models"] == {"paint": "fp32"}


# ---- bad frames


def test_a_truncated_frame_costs_nobody_else_anything(box):
    good, cut = jpeg("green"), jpeg("red")[:-200]
    with Daemon(edge(box), first=[good, cut, good, good]) as daemon:
        assert within(lambda: daemon.handled() == 4)
        assert [result["objects"][0]["label"] for result in daemon.results] == ["green"] * 3
        assert any(len(run.tasks) > 1 for run in daemon.runs), "they were meant to share a batch"
        last = daemon.stop()
    assert last["frames"] == {"in": 4, "answered": 3, "dropped": {"failed": 1}, "waiting": 0}
    assert "JPEG of" in last["last_words"]["failed"]


@pytest.mark.parametrize(
    "payload", [b"", b"\xff\xd8\xff\xd9", b"GIF89a", b"\x00" * 10_000, jpeg("red")[:20], b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture_is_dropped_with_its_reason(box, payload):
    with Daemon(edge(box)) as daemon:
        daemon.send(payload)
        assert daemon.answered(jpeg("blue"))["objects"][0]["label"] == "blue"
        assert daemon.reasons == {"failed": 1}
        assert daemon.details[0]


def test_cameras_that_nobody_named_or_that_are_off_are_counted(box):
    streams = {"gate": {"apps": ["colour"]}, "shed": {"apps": ["colour"], "enabled": False}}
    with Daemon(edge(box, streams=streams)) as daemon:
        daemon.send(jpeg("red"), camera="stranger")
        daemon.send(jpeg("red"), camera="shed")
        daemon.answered(jpeg("red"))
        assert daemon.stop()["frames"]["dropped"] == {"unknown_camera": 1, "disabled": 1}


def test_a_newer_frame_takes_the_place_of_one_that_waits(box):
    with Daemon(edge(box, streams={"*": {"apps": ["colour"]}}), first=[jpeg("red")] * 20) as daemon:
        assert within(lambda: daemon.handled() == 20)
        assert daemon.results[-1]["seq"] == 20
        assert daemon.reasons["superseded"] == 20 - len(daemon.results) > 10
        assert add_up(daemon.stop()["frames"])


def test_what_cannot_make_it_is_given_up_and_counted(box):
    apps = {"colour": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 0.01}}
    with Daemon(edge(box, apps=apps), first=[jpeg("red")] * 5) as daemon:
        assert within(lambda: daemon.handled() == 5)
        last = daemon.stop()
    assert last["frames"]["dropped"]["late"] >= 4
    assert last["slo"]["attainment"] == 0


def test_strangers_cannot_grow_the_books_or_push_out_the_cameras_we_know(box):
    streams = {"*": {"apps": ["colour"]}, "gate": {"apps": ["colour"]}}
    with Daemon(edge(box, streams=streams)) as daemon:
        for number in range(600):
            daemon.send(b"junk", camera=f"stranger-{number}")
            if number % 100 == 0:  # what the loop cannot take is dropped at the door: it is to see all of these
                assert within(lambda sent=number: daemon.handled() > sent)
        assert daemon.answered(jpeg("red"), camera="gate")["camera"] == "gate"
        assert within(lambda: daemon.handled() == 601)
        assert daemon.reasons["too_many_cameras"] > 300
        parts = daemon.parts
        assert len(parts.world.by_stream) <= 257
        assert len(parts.metrics.streams) <= 258
        assert parts.metrics.streams["gate"].answered == 1
        (results,) = [listener for listener in parts.world.listeners if hasattr(listener, "dropped_before")]
        assert len(results.dropped_before) <= 257
        assert add_up(daemon.stop()["frames"])


# ---- weather on the device


def test_a_batch_on_which_the_device_fails_is_tried_again_one_by_one(box):
    devices = {"cpu0": {"use": "tests.edge.daemon_builder:WeatherCpu", "words": ["device"]}}
    with Daemon(edge(box, devices=devices), first=[jpeg("red")] * 4) as daemon:
        assert within(lambda: daemon.handled() == 4)
        assert len(daemon.results) == 4
        assert daemon.stop()["events"]["failed_works"] == 1


def test_a_frame_on_which_the_device_fails_twice_is_given_up(box):
    devices = {"cpu0": {"use": "tests.edge.daemon_builder:WeatherCpu", "words": ["device", "device"]}}
    with Daemon(edge(box, devices=devices)) as daemon:
        daemon.send(jpeg("red"))
        assert within(lambda: daemon.handled() == 1)
        assert daemon.details == ["the sky fell"]
        assert daemon.answered(jpeg("red"))["objects"][0]["label"] == "red"


def test_a_bug_ends_the_daemon_loudly(box):
    devices = {"cpu0": {"use": "tests.edge.daemon_builder:WeatherCpu", "words": ["bug"]}}
    daemon = Daemon(edge(box, devices=devices)).__enter__()
    daemon.send(jpeg("red"))  # not before: it would be a race whether the daemon is up first or down
    assert within(lambda: daemon.error)
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        daemon.stop()


# ---- the repository under the running daemon


def test_a_pointer_that_moves_is_followed_without_a_lost_frame(box):
    repository = repository_of(box)
    name = swapped(repository)
    seen: list[str] = []

    def keep_asking_until(variant: str) -> None:
        until = time.monotonic() + 10
        while not seen or seen[-1] != variant:
            assert time.monotonic() < until, seen[-1:]
            result = daemon.answered(jpeg("red"))
            seen.append(result["models"]["paint"])
            assert result["objects"][0]["label"] == ("blue" if seen[-1] == name else "red")

    with Daemon(edge(box)) as daemon:
        keep_asking_until("fp32")
        repository.serve("paint", name)
        keep_asking_until(name)
        repository.rollback("paint")
        keep_asking_until("fp32")
        last = daemon.stop()
    assert last["frames"] == {"in": len(seen), "answered": len(seen), "dropped": {}, "waiting": 0}
    assert last["models"]["paint"]["variant"] == "fp32"


def damaged(box):
    flip_a_bit(head_of(box, "paint", "swapped"))
    return head_of(box, "paint", "swapped").name


def unreadable(box):
    (box / "repository" / "paint" / "variants" / "swapped.json").write_text('{"model": "paint"}')
    return "swapped.json"


def half_a_table(box):
    (box / "repository" / "paint" / "variants" / "swapped.json").write_text('{"model": "pai')
    return "swapped.json"


def gone(box):
    head_of(box, "paint", "swapped").unlink()
    return "No such file"


@pytest.mark.parametrize("harm", [damaged, unreadable, half_a_table, gone])
def test_what_cannot_be_loaded_does_not_serve_and_the_old_one_does(box, harm):
    swapped(repository_of(box))
    with Daemon(edge(box, journal="journal.jsonl")) as daemon:
        assert daemon.answered(jpeg("red"))["models"] == {"paint": "fp32"}
        named = harm(box)
        point(box, "paint", "swapped")
        journal = box / "journal.jsonl"
        assert within(lambda: '"trouble"' in journal.read_text())
        (line,) = [json.loads(line) for line in journal.read_text().splitlines()]
        assert line["model"] == "paint"
        assert named in line["reason"]
        assert daemon.answered(jpeg("red"))["objects"][0]["label"] == "red"
        last = daemon.stop()
    assert last["models"]["paint"]["variant"] == "fp32"
    assert not last["frames"]["dropped"]


# ---- slips: one line at start, nothing left behind


def no_such_model(box):
    return {"apps": {"colour": {"use": "edge.answers.single:Single", "model": "pint", "slo_ms": 50}}}, "'pint' serves"


def flipped(box):
    blob = head_of(box, "paint", "fp32")
    flip_a_bit(blob)
    return {}, str(blob)


def no_teacher(box):
    return {"drift": {"models": ["paint"], "teacher": "professor"}}, "'professor' serves nothing"


def teacher_that_finds_boxes(box):
    return {"drift": {"models": ["paint"], "teacher": "cells"}}, "'cells' is no classifier"


def teacher_for_one_of_two(box):
    return {"drift": {"models": ["paint", "tint"], "teacher": {"paint": "tint"}}}, "names none for 'tint'"


def watched_without_reference(box):
    return {"drift": {"models": ["tint"]}}, "'tint' has no reference"


def watched_detector(box):
    return {"drift": {"models": ["cells"]}}, "'cells' has no head"


def kind_that_is_never_found(box):
    app = {**CASCADE, "classify": {"vehicles": "paint"}}
    return {"apps": {"colour": app}}, "finds no 'vehicles'; it finds vehicle, person"


def detector_that_is_none(box):
    return {"apps": {"colour": {**CASCADE, "detect": "paint"}}}, "'paint' finds no boxes"


def cores_that_are_not_there(box):
    return {"devices": {"cpu0": {"use": "devices.cpu:Cpu", "cores": [4096]}}}, "cores [4096]"


def option_that_is_not_there(box):
    return {"policy": {"use": "edge.policies.edf:EarliestDeadlineFirst", "batchmax": 4}}, "batchmax"


def plug_in_that_is_not_there(box):
    return {"estimator": {"use": "edge.estimators.rolling:Roling"}}, "Roling"


def pointer_that_says_nothing(box):
    (box / "repository" / "paint" / "serving.json").write_text("{}")
    return {}, "serving.json: says no variant"


def variant_of_another_version(box):
    (box / "repository" / "paint" / "variants" / "fp32.json").write_text('{"model": "paint", "later": 1}')
    return {}, "fp32.json"


def reference_without_labels(box):
    repository = repository_of(box)
    arrays = repository.reference("paint")
    repository.save_reference("paint", {name: array for name, array in arrays.items() if name != "labels"})
    return {"drift": {"models": ["paint"]}}, "reference without labels; port it again"


def drift_option_that_is_not_there(box):
    return {
        "drift": {"models": ["paint"], "responses": [{"use": "drift.repair.retrain_head:HeadRetraining", "x": 1}]}
    }, "x"


def trace_in_a_file(box):
    (box / "taken").write_text("")
    return {"trace": "taken/trace.jsonl"}, "trace"


SLIPS = [
    no_such_model, flipped, no_teacher, teacher_that_finds_boxes, teacher_for_one_of_two, watched_without_reference,
    watched_detector, kind_that_is_never_found, detector_that_is_none, cores_that_are_not_there,
    option_that_is_not_there, plug_in_that_is_not_there, pointer_that_says_nothing, variant_of_another_version,
    reference_without_labels, drift_option_that_is_not_there, trace_in_a_file,
]  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_one_line_at_start(box, slip):
    changes, said = slip(box)
    with pytest.raises(UserError) as caught, Daemon(edge(box, **changes)):
        pass
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- the end, and how it can be looked at afterwards


def test_a_drain_answers_or_counts_every_frame(box):
    with Daemon(edge(box), first=[jpeg("red")] * 25) as daemon:
        daemon.parts.world.ask_to_stop()
        taken = [daemon.send(jpeg("red")) for _ in range(5)]  # after the word was given, perhaps after the end
        last = daemon.stop()
    frames = last["frames"]
    assert last["final"]
    assert frames["in"] == 25 + sum(taken)
    assert frames["waiting"] == 0
    assert set(frames["dropped"]) <= {"stopped"}
    assert frames["answered"] + frames["dropped"]["stopped"] == frames["in"]
    assert not daemon.send(jpeg("red"))


def test_an_engine_that_ignores_stop_does_not_hold_up_the_end(box):
    """Nor one that heeds it: `hang` waits for a stop, `deaf` for somebody to set the event."""
    for word in ("hang", "deaf"):
        devices = {"cpu0": {"use": "tests.edge.daemon_builder:HangingCpu", "word": word}}
        with Daemon(edge(box, devices=devices)) as daemon:
            daemon.parts.scheduler.grace_ns = 20_000_000
            daemon.send(jpeg("red"))
            assert within(lambda daemon=daemon: daemon.runs)
            last = daemon.stop()
            assert not daemon.alive, word
        assert last["frames"] == {"in": 1, "answered": 0, "dropped": {"stopped": 1}, "waiting": 0}
        assert daemon.details == ["" if word == "hang" else "its lane did not stop"]


def test_a_live_run_can_be_replayed_byte_by_byte(box):
    config = edge(box, apps=JUNCTION, streams=ONE_JUNCTION, trace="trace.jsonl")
    with Daemon(config, first=[jpeg("red", "blue", "green", "black"), b"junk", jpeg("blue")] * 5) as daemon:
        assert within(lambda: daemon.handled() == 15)
        repository_of(box).serve("paint", swapped(repository_of(box)))
        assert within(lambda: daemon.answered(jpeg("red"))["models"]["paint"] == "swapped")
    settings = load(config)
    policy = complete(settings.policy.build(), step_ms=settings.background.step_ms)
    answers = {name: app.build() for name, app in settings.apps.items()}
    lines = (box / "trace.jsonl").read_text().splitlines()
    assert replay(lines, policy, answers, settings.estimator.build()) == len(lines) > 50


CHILD = """
import itertools, sys
from pathlib import Path
from porting.pipeline import derive
from tests.edge.daemon_builder import Daemon, edge, jpeg, repository_of_box
box = Path(sys.argv[1])
with Daemon(edge(box)) as daemon:
    repository = repository_of_box(box)
    parent = repository.variant("paint", "fp32")
    head = repository.arrays(repository.stages(parent, "")[1].head)
    daemon.answered(jpeg("red"))
    for number in itertools.count():
        name = f"head-{len(repository.variants('paint'))}"
        derive(repository, parent, name=name, head={k: v + 1e-3 * (number + 1) for k, v in head.items()})
        repository.serve("paint", name)
        print(name, flush=True)
        daemon.send(jpeg("red"))
"""


@pytest.mark.parametrize(("promotions", "delay_s"), [(1, 0.004), (3, 0.019)])
def test_killed_at_any_moment_it_serves_the_last_good_version(box, promotions, delay_s):
    """Promotions follow each other without a pause, so that the kill hits the middle of one."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(box)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    done = [child.stdout.readline().strip() for _ in range(promotions)][-1]
    assert done, "the child died by itself"
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(delay_s)
    child.kill()
    child.wait()
    child.stdout.close()
    repository = repository_of(box)
    assert repository.verify() == []
    serving = repository.serving("paint")
    assert serving in repository.variants("paint")
    assert int(serving.removeprefix("head-")) >= int(done.removeprefix("head-"))
    assert [entry["number"] for entry in repository.history("paint")] == [
        *range(1, repository.pointer("paint")["number"] + 1)
    ]
    with Daemon(edge(box)) as daemon:
        assert daemon.answered(jpeg("red"))["models"]["paint"] == serving


def test_a_full_disk_ends_the_trace_and_not_the_serving(box):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with Daemon(edge(box, trace=str(full), journal=str(full))) as daemon:
        for _ in range(200):
            daemon.answered(jpeg("red"))
    assert len(daemon.results) == 200


def test_the_repository_may_be_moved_away_while_it_serves(box):
    with Daemon(edge(box)) as daemon:
        daemon.answered(jpeg("red"))
        shutil.move(box / "repository", box / "elsewhere")
        assert daemon.answered(jpeg("green"))["objects"][0]["label"] == "green"
