"""The observer between an adaptation and the running daemon: real core, lanes and repository, orders by a script."""

import errno
import json
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from devices.interface import DeviceError
from drift.commands import Ask, Note, Promote, RepairCandidate, Rollback, RunJob
from drift.jobs import BackgroundJob
from drift.samples import Sample
from edge.observers.adaptation.observer import AdaptationObserver
from edge.observers.adaptation.watched_model import incumbent
from porting.repository import atomic_files
from porting.repository.atomic_files import write_json
from porting.repository.repository import Repository
from tests.edge.daemon_builder import LABELS, Client, Daemon, colour_classifier, edge, jpeg, swapped, within


class Script:
    """Stands where the adaptation stands: gives the orders of a test and keeps what it is told."""

    def __init__(self, incumbent):
        self.incumbent, self.state = incumbent, "watching"
        self.waiting, self.samples, self.told = [], [], []

    def commands(self, now_ns):
        given, self.waiting = self.waiting, []
        return given

    def wants(self, stream, at_ns):
        return True

    def observe(self, sample):
        self.samples.append(sample)

    def labelled(self, sample_id, label, confidence):
        self.told.append(("labelled", sample_id, label, round(confidence, 2)))

    def promoted(self, name):
        self.incumbent, self.state = replace(self.incumbent, name=name), "probation"
        self.told.append(("promoted", name))

    def refused(self, reason):
        self.state = "watching"
        self.told.append(("refused", reason))

    def rolled_back(self):
        self.state = "watching"
        self.told.append(("rolled_back",))

    def served(self, incumbent):
        self.incumbent, self.state = incumbent, "watching"
        self.told.append(("served", incumbent.name))

    def status(self):
        return {"state": self.state}


class Rig:
    """A daemon that watches `paint`, with a script in the place of its adaptation."""

    def __init__(self, box, **changes):
        drift = {"models": ["paint"], "teacher": "tint"}
        self.box, self.repository = box, Repository(box / "repository")
        self.daemon = Daemon(edge(box, journal="journal.jsonl", **{"drift": drift, **changes}))
        begun = self.daemon._begun
        self.daemon._begun = lambda parts: (self.prepare(parts), begun(parts))

    def prepare(self, parts):
        (self.adapt,) = [observer for observer in parts.observers if isinstance(observer, AdaptationObserver)]
        self.watched = self.adapt.watched["paint"]
        self.watched.adaptation = self.script = Script(self.watched.adaptation.incumbent)

    def __enter__(self):
        self.daemon.__enter__()
        return self

    def __exit__(self, *what):
        self.daemon.__exit__(*what)

    def command(self, command, state="watching"):
        def give():
            self.script.state = state
            self.script.waiting.append(command)

        self.daemon.parts.world.call(give)

    def told(self, kind):
        """Wait for a word of that kind; the newest."""
        assert within(lambda: any(word[0] == kind for word in self.script.told)), self.script.told
        return next(word for word in reversed(self.script.told) if word[0] == kind)

    def journal(self):
        return [json.loads(line) for line in (self.box / "journal.jsonl").read_text().splitlines()]

    def label_of_red(self):
        result = self.daemon.answered(jpeg("red"))
        return result["models"]["paint"], result["objects"][0]["label"]


@pytest.fixture
def rig(box):
    with Rig(box) as made:
        yield made


def head(rig):
    """The head that calls red blue."""
    now = rig.script.incumbent.head
    return now.with_(now.weight[::-1], now.bias[::-1]).arrays()


def test_what_comes_free_with_an_answer_is_handed_over(rig):
    rig.daemon.send(jpeg("green"), camera="north", seq=17)
    assert within(lambda: rig.script.samples)
    (sample,) = rig.script.samples
    assert (sample.stream, sample.variant) == ("north", "fp32")
    assert sample.image.shape == (16, 16, 3)
    assert sample.image.mean(axis=(0, 1)).argmax() == LABELS.index("green") == sample.answer.argmax()
    assert [thing.label for thing in sample.objects] == ["green"]
    assert sample.features.shape == (3,)
    assert rig.adapt.origins[sample.id] == {"camera": "north", "seq": "17"}


def test_a_promotion_is_stored_served_and_answers(rig):
    assert rig.label_of_red() == ("fp32", "red")
    rig.command(Promote(RepairCandidate("head", head(rig)), {"gain": 0.5}), "promoting")
    _, name = rig.told("promoted")
    assert within(lambda: rig.label_of_red() == (name, "blue"))
    assert rig.repository.serving("paint") == name
    assert rig.repository.pointer("paint")["why"] == {"response": "head", "gain": 0.5}
    assert rig.repository.variant("paint", name).made_by == {"response": "head", "evidence": {"gain": 0.5}}
    assert not [word for word in rig.script.told if word[0] == "served"], "it was no stranger's doing"


def test_a_rollback_serves_what_served_before(rig):
    rig.command(Promote(RepairCandidate("head", head(rig)), {}), "promoting")
    _, name = rig.told("promoted")
    assert within(lambda: rig.label_of_red() == (name, "blue"))
    rig.command(Rollback("fp32", "worse"), "rolling_back")
    rig.told("rolled_back")
    assert within(lambda: rig.label_of_red() == ("fp32", "red"))
    assert rig.repository.pointer("paint")["why"] == {"reason": "worse"}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_refuses_the_promotion_and_the_old_one_serves(rig, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert rig.label_of_red() == ("fp32", "red")
    with monkeypatch.context() as patched:
        patched.setattr(atomic_files.os, call, full)
        rig.command(Promote(RepairCandidate("head", head(rig)), {}), "promoting")
        assert "disk is full" in rig.told("refused")[1]
    assert rig.label_of_red() == ("fp32", "red")
    assert rig.repository.serving("paint") == "fp32"
    assert rig.repository.verify() == []
    rig.command(Promote(RepairCandidate("head", head(rig)), {}), "promoting")  # room again
    rig.told("promoted")


def test_a_rollback_to_nowhere_is_refused(rig):
    rig.command(Rollback("nobody", "worse"), "rolling_back")
    assert "no variant 'nobody'" in rig.told("refused")[1]
    assert rig.label_of_red() == ("fp32", "red")


def test_a_promotion_that_cannot_be_loaded_is_undone(rig):
    assert rig.label_of_red() == ("fp32", "red")
    rig.command(Promote(RepairCandidate("realign", graph=b"not a graph"), {}), "promoting")
    _, name = rig.told("promoted")
    assert within(lambda: rig.label_of_red() and rig.repository.serving("paint") == "fp32")
    assert rig.told("served") == ("served", "fp32")
    assert name in rig.repository.pointer("paint")["why"]["reason"]
    assert within(lambda: [line["kind"] for line in rig.journal()] == ["trouble", "served"])  # told first, then written
    assert rig.label_of_red() == ("fp32", "red")


def test_work_is_done_in_steps_on_the_idle_thread(rig):
    seen = []

    def slices():
        for _ in range(3):
            seen.append(threading.current_thread().name)
            yield
        return "counted"

    job = BackgroundJob(
        "count", slices(), iter(range(0, 10**12, 10**8)).__next__
    )  # each look at the clock costs 100 ms
    rig.command(RunJob("count", job))
    assert within(lambda: job.done)
    assert job.result == "counted"
    assert seen == ["cpu0/background"] * 3
    last = rig.daemon.stop()
    assert last["time_share"]["training"] > 0


def test_a_step_that_fails_switches_the_repair_off_and_serves_on(rig):
    def step(budget_ns):
        raise DeviceError("out of memory")

    rig.command(RunJob("broken", SimpleNamespace(step=step)))
    assert within(lambda: rig.watched.broken)
    assert rig.adapt.tables()["paint"]["state"] == "broken"
    assert rig.label_of_red() == ("fp32", "red")
    (line,) = [line for line in rig.journal() if line["kind"] == "broken"]
    assert line["reason"] == "out of memory"


def test_a_bug_in_a_repair_ends_the_repair_and_not_the_daemon(rig, caplog):
    def odd():
        yield
        raise ValueError("no such operator in an odd model")

    rig.command(RunJob("repair", BackgroundJob("repair", odd(), time.monotonic_ns)))
    assert within(lambda: rig.watched.broken)
    assert rig.label_of_red() == ("fp32", "red")
    (line,) = [line for line in rig.journal() if line["kind"] == "broken"]
    assert line["reason"] == "ValueError: no such operator in an odd model"
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info[0] is ValueError
    rig.repository.serve("paint", swapped(rig.repository))
    assert within(lambda: rig.watched.broken is None), "another variant is another chance"


def test_a_bug_in_what_decides_ends_the_repair_and_not_the_daemon(rig):
    def commands(now_ns):
        raise IndexError("in a detector of somebody's own")

    rig.script.commands = commands
    assert within(lambda: rig.watched.broken)
    assert rig.label_of_red() == ("fp32", "red")


def test_a_bug_while_storing_ends_the_repair_and_not_the_daemon(rig, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(rig.repository.__class__, "add_blob", lambda *_: {}["nowhere"])
        rig.command(Promote(RepairCandidate("realign", graph=b"graph"), {}), "promoting")
        assert within(lambda: rig.watched.broken)
    assert rig.label_of_red() == ("fp32", "red")
    rig.repository.serve("paint", swapped(rig.repository))
    assert within(lambda: rig.watched.broken is None), "another variant is another chance"


def test_a_slow_disk_holds_no_lane(rig, monkeypatch):
    writing, may_go_on, sync = threading.Event(), threading.Event(), atomic_files.os.fsync

    def slow(handle):
        writing.set()
        assert may_go_on.wait(20)
        sync(handle)

    monkeypatch.setattr(atomic_files.os, "fsync", slow)
    rig.command(Promote(RepairCandidate("head", head(rig)), {}), "promoting")
    assert writing.wait(10)
    done = threading.Event()
    rig.command(RunJob("other", SimpleNamespace(step=lambda budget_ns: done.set() or True)), "promoting")
    assert done.wait(10), "background work goes on beside the disk"
    assert rig.label_of_red() == ("fp32", "red")
    may_go_on.set()
    rig.told("promoted")


def test_a_variant_keeps_the_class_mix_that_it_was_made_for(rig):
    mix = np.array([0.7, 0.2, 0.1])
    rig.command(Promote(RepairCandidate("prior", head(rig), prior=mix), {}), "promoting")
    _, name = rig.told("promoted")
    variant = rig.repository.variant("paint", name)
    assert variant.made_by["prior"] == mix.tolist()
    assert incumbent(rig.repository, variant, rig.script.incumbent.head).prior == pytest.approx(mix)


def sample_of(colour, number):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., LABELS.index(colour)] = 255
    return Sample(number, "gate", 0, pixels, np.ones(3) / 3, np.ones(3))


def test_a_teacher_labels_as_background_work(rig):
    asked = tuple(sample_of(colour, number) for number, colour in enumerate(LABELS))
    rig.command(Ask(asked, "audit"))
    assert within(lambda: len(rig.script.told) == 3)
    assert rig.script.told == [("labelled", number, number, 1.0) for number in range(3)]
    assert rig.daemon.stop()["time_share"]["labelling"] > 0


def test_a_teacher_for_whom_there_is_no_room_answers_nothing(box):
    repository = Repository(box / "repository")
    stages = repository.stages(repository.variant("paint", "fp32"), "cpu")
    room = sum({digest: size for stage in stages for digest, size in stage.blobs.items()}.values())
    devices = {"cpu0": {"use": "tests.edge.daemon_builder:TightCpu", "room": room}}
    with Rig(box, devices=devices) as rig:
        assert rig.label_of_red() == ("fp32", "red")
        rig.command(Ask((sample_of("red", 5),), "audit"))
        assert rig.told("labelled") == ("labelled", 5, None, 0.0)
        assert rig.label_of_red() == ("fp32", "red")


def test_notes_are_written_down(rig):
    rig.command(Note("alarm", {"stream": "gate", "excess": np.float32(1.5), "window": np.arange(2)}))
    assert within(lambda: rig.journal())
    (line,) = rig.journal()
    assert line.pop("time") > 1.6e9
    assert line == {"kind": "alarm", "model": "paint", "stream": "gate", "excess": 1.5, "window": [0, 1]}


def test_a_stranger_moves_the_pointer_and_the_adaptation_hears_of_it(rig):
    rig.repository.serve("paint", swapped(rig.repository))
    assert rig.told("served") == ("served", "swapped")
    assert rig.script.incumbent.head.answers(np.array([[1.0, 0, 0]])).argmax() == LABELS.index("blue")
    assert within(lambda: rig.label_of_red() == ("swapped", "blue"))
    assert rig.journal()[-1]["kind"] == "served"


def test_a_variant_that_cannot_be_repaired_is_served_all_the_same(rig, tmp_path):
    from devices.cpu import Cpu
    from porting.pipeline import port

    path = tmp_path / "whole.onnx"
    path.write_bytes(colour_classifier().SerializeToString())
    port(path, "paint", rig.repository, Cpu(), labels=LABELS, cut=False, variant="whole", budget_ns=1_000_000)
    assert within(lambda: rig.watched.broken)
    assert within(lambda: rig.label_of_red() == ("whole", "red"))
    assert "has no head of its own" in rig.journal()[-1]["reason"]
    rig.repository.rollback("paint")
    assert within(lambda: rig.watched.broken is None)
    assert rig.told("served") == ("served", "fp32")


def test_a_damaged_variant_is_not_taken_for_what_serves(rig):
    name = swapped(rig.repository)
    blob = rig.repository.blob_path(rig.repository.stages(rig.repository.variant("paint", name), "")[1].head)
    blob.write_bytes(b"?" + blob.read_bytes()[1:])
    rig.repository._verified.clear()
    write_json(rig.box / "repository/paint/serving.json", {**rig.repository.pointer("paint"), "variant": name})
    assert within(lambda: any(line["kind"] == "trouble" for line in rig.journal()))
    assert rig.script.incumbent.name == "fp32"
    assert rig.watched.broken is None
    assert rig.label_of_red() == ("fp32", "red")


@pytest.mark.broker
def test_people_are_asked_over_mqtt_and_their_answers_count(box, mosquitto):
    mqtt = {"port": mosquitto.port, "node": "box"}
    with Rig(box, mqtt=mqtt, drift={"models": ["paint"]}) as rig, Client(mosquitto.port) as client:
        assert rig.daemon.mqtt.wait_connected(10)
        rig.command(Ask((sample_of("red", 5), sample_of("blue", 6)), "audit"))
        assert within(lambda: len(client.under("label/request")) == 2)
        asked = [m for m in client.heard if m.topic.endswith("label/request")]
        said = [dict(m.properties.UserProperty) for m in asked]
        assert [(one["id"], one["model"]) for one in said] == [("paint-5", "paint"), ("paint-6", "paint")]
        assert bytes(asked[0].payload)[:3] == b"\xff\xd8\xff"
        for answer in (
            {"id": "paint-6", "label": "blue"},
            {"id": "paint-5", "label": None},
            {"id": "x", "label": "red"},
        ):
            client.client.publish("leeway/box/label/answer", json.dumps(answer))
        assert within(lambda: len(rig.script.told) == 2)
        assert set(rig.script.told) == {("labelled", 6, 2, 1.0), ("labelled", 5, None, 1.0)}
        assert rig.label_of_red() == ("fp32", "red")
