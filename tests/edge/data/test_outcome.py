"""Bytes to pixels, tensors to words: decoded once, every crop inside its frame, items keep their numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Reply, Request
from edge.data.frame import Frame
from edge.data.job import InFlightRequest, TaskJob
from edge.data.outcome import TaskOutcome, numbered, read
from edge.data.picture import Picture, crop
from edge.data.result import message
from porting.errors import BadImage
from porting.formats.format import DetectedObject
from porting.variant import InputSpec, OutputSpec, Variant
from tests.edge.daemon_builder import jpeg, picture

SPEC = InputSpec("image", 32, 32)
CLASSES = OutputSpec("classification", ("car", "bus", "van"), "logits", "features")
BOXES = OutputSpec("detection", ("vehicle", "person"), "out", score_min=0.5)
MS = 1_000_000


def test_a_picture_is_decoded_once_and_lets_go_of_its_bytes():
    seen = Picture(jpeg("red"))
    assert seen.decode_ns == 0
    first = seen.pixels()
    took_ns = seen.decode_ns
    assert seen.pixels() is first
    assert seen.decode_ns == took_ns > 0
    assert seen._payload is None
    assert np.abs(first.astype(int) - picture("red")).max() < 8


def test_two_lanes_may_decode_one_frame_at_once(monkeypatch):
    """The slower one has looked already when the quicker one lets go of the bytes."""
    seen, quicker = Picture(jpeg("red")), []

    def clock():
        if not quicker:  # the slower lane is between its look and its decoding
            quicker.append(None)
            quicker.append(seen.pixels())
        return 0

    monkeypatch.setattr("edge.data.picture.perf_counter_ns", clock)
    np.testing.assert_array_equal(seen.pixels(), quicker[1])


@pytest.mark.parametrize("payload", [b"", b"no picture", jpeg("red")[:-30]])
def test_what_is_no_picture_is_said_every_time(payload):
    bad = Picture(payload)
    for _ in range(2):
        with pytest.raises(BadImage):
            bad.pixels()


edges = st.floats(-1e6, 1e6) | st.floats(-200, 300)


@given(box=st.tuples(edges, edges, edges, edges), height=st.integers(1, 90), width=st.integers(1, 120))
def test_every_crop_has_pixels_and_lies_in_its_frame(box, height, width):
    pixels = np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3)
    part = crop(pixels, box)
    assert part.shape[0] >= 1
    assert part.shape[1] >= 1
    assert np.shares_memory(part, pixels)


def test_a_crop_holds_its_box_and_a_tenth_around_it():
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[40:60, 20:60] = 255
    part = crop(pixels, (20, 40, 60, 60))
    assert part.shape == (25, 49, 3)
    assert (part == 255).sum() == 20 * 40 * 3


def test_a_classifiers_row_becomes_its_best_label():
    tensors = {"logits": np.array([0.0, 2.0, 1.0], np.float32), "features": np.ones(4, np.float32)}
    result, outcome = read(CLASSES, SPEC, "vehicles", tensors, picture("red"))
    assert [(thing.kind, thing.label) for thing in outcome.found] == [("vehicles", "bus")]
    assert result.confidence == outcome.found[0].score == pytest.approx(0.665, abs=1e-3)
    assert outcome.signals.answer.sum() == pytest.approx(1)
    assert outcome.signals.features is tensors["features"]
    assert not result.children
    assert outcome.found[0].as_json() == {"kind": "vehicles", "label": "bus", "score": 0.6652}


def test_a_model_without_features_gives_none():
    tensors = {"logits": np.array([0.0, 2.0, 1.0], np.float32)}
    _, outcome = read(replace(CLASSES, features=None), SPEC, "vehicles", tensors, picture("red"))
    assert outcome.signals.features is None


def columns(*things):
    """Detector output [4 + 2, M] of (cx, cy, w, h, vehicle, person)."""
    return np.array(things, np.float32).T


def test_boxes_are_numbered_kind_by_kind_and_cropped_in_that_order():
    out = columns((8, 8, 4, 4, 0, 0.9), (24, 8, 4, 4, 0.6, 0), (8, 24, 4, 4, 0.8, 0), (24, 24, 4, 4, 0.4, 0))
    pixels = picture("blue", "red", "green", "black")
    result, outcome = read(BOXES, SPEC, "cells", {"out": out}, pixels)
    assert [(thing.kind, round(thing.score, 1)) for thing in outcome.found] == [
        ("vehicle", 0.8),
        ("vehicle", 0.6),
        ("person", 0.9),
    ]
    assert list(result.children.items()) == [("vehicle", 2), ("person", 1)]
    assert outcome.found[0].box == (18, 66, 30, 78)  # frame pixels: three for each of the input
    shown = [tuple(int(v) for v in part.reshape(-1, 3).mean(axis=0)) for part in outcome.crops]
    assert shown == [(0, 255, 0), (255, 0, 0), (0, 0, 255)]


def test_an_empty_frame_has_no_children():
    result, outcome = read(BOXES, SPEC, "cells", {"out": columns((8, 8, 4, 4, 0, 0))}, picture("black"))
    assert (outcome.found, outcome.crops, dict(result.children)) == ([], [], {})


def test_things_without_a_box_come_last_and_kinds_together():
    """A format may read them in any order: child tasks refer to a crop by its number within all crops."""
    box = (0.0, 0.0, 1.0, 1.0)
    found = [DetectedObject(kind, kind, 1.0, at) for kind, at in [("x", None), ("b", box), ("a", box), ("b", box)]]
    assert [(thing.kind, thing.box) for thing in numbered(found)] == [("b", box), ("b", box), ("a", box), ("x", None)]


places, sizes, scores = st.floats(-50, 80), st.floats(0, 60), st.floats(0, 1)


@given(st.lists(st.tuples(places, places, sizes, sizes, scores, scores), max_size=12))
def test_children_always_count_the_crops(things):
    out = columns(*things) if things else np.zeros((6, 0), np.float32)
    result, outcome = read(BOXES, SPEC, "cells", {"out": out}, picture("red"))
    kinds = [kind for kind, number in result.children.items() for _ in range(number)]
    assert kinds == [thing.kind for thing in outcome.found]
    assert len(outcome.crops) == len(kinds)
    assert all(part.size for part in outcome.crops)


def asked(jobs, reply_tasks, now_ns=60 * MS):
    opened = InFlightRequest(
        Request(7, "junction", "gate", 10 * MS, 110 * MS), Frame("gate", b"", 10 * MS, 101.0, 100.5, 3), Picture(b"x")
    )
    opened.jobs.update(jobs)
    return message(opened, Reply(7, "ok", reply_tasks), now_ns, 102.0, 4)


def job(model, variant="fp32", found=(), parent=None, item=0, infer_ns=0):
    made = TaskJob(model, Variant(model, variant, ()), parent=parent, item=item, outcome=TaskOutcome(list(found)))
    made.infer_ns = infer_ns
    return made


def test_a_classifiers_word_goes_to_the_object_it_looked_at():
    boxes = [
        DetectedObject("vehicle", "vehicle", 0.9, (0, 0, 1, 1)),
        DetectedObject("vehicle", "vehicle", 0.8, (2, 2, 3, 3)),
    ]
    jobs = {
        1: job("cells", found=[*boxes, DetectedObject("person", "person", 0.7, (4, 4, 5, 5))]),
        2: job("vehicles", "head-2", [DetectedObject("vehicles", "bus", 0.95)], parent=1, item=1),
        3: job("persons", found=[DetectedObject("persons", "sitting", 0.6)], parent=1, item=2),
    }
    table = asked(jobs, (1, 2, 3))
    assert [(thing["kind"], thing["label"], thing["score"]) for thing in table["objects"]] == [
        ("vehicle", "vehicle", 0.9),
        ("vehicle", "bus", 0.95),
        ("person", "sitting", 0.6),
    ]
    assert table["models"] == {"cells": "fp32", "vehicles": "head-2", "persons": "fp32"}


def test_a_crop_in_which_the_second_model_finds_nothing_keeps_the_first_ones_word():
    jobs = {
        1: job("cells", found=[DetectedObject("vehicle", "vehicle", 0.9, (0, 0, 1, 1))]),
        2: job("wheels", parent=1),
    }
    (thing,) = asked(jobs, (1, 2))["objects"]
    assert (thing["kind"], thing["label"]) == ("vehicle", "vehicle")


@pytest.mark.parametrize(("now_ns", "met"), [(110 * MS, True), (110 * MS + 1, False)])
def test_the_verdict_counts_from_arrival(now_ns, met):
    table = asked({1: job("m", infer_ns=5 * MS)}, (1,), now_ns)
    assert table["slo"] == {"deadline_ms": 100.0, "met": met}
    assert table["timings_ms"]["infer"] == 5.0
    assert table["timings_ms"]["total"] == round((now_ns - 10 * MS) / MS, 3)
    assert (table["frame_time"], table["received_time"], table["published_time"]) == (100.5, 101.0, 102.0)
    assert table["dropped_before"] == 4
