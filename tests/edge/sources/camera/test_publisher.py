"""Pictures from every kind of source, published by a real link to the embedded broker."""

import json
import threading
import zipfile

import cv2
import numpy as np
import pytest
import simplejpeg

from edge.sources.camera.frames import End, encoded, opened
from edge.sources.camera.publisher import CameraPublisher, publish_all
from edge.sources.mqtt.broker import EmbeddedBroker
from edge.sources.mqtt.connection import Link
from edge.sources.mqtt.settings import MqttSettings
from edge.sources.mqtt.source import MqttSource
from porting.errors import UserError
from tests.edge.sources.inbox import KeepingInbox


def picture(shade=0, width=32, height=24):
    return np.full((height, width, 3), shade, np.uint8)


def shade_of(jpeg):
    return round(float(simplejpeg.decode_jpeg(jpeg, colorspace="GRAY").mean()) / 10)


class Scene:
    """A generator with ticks: the shade tells which tick was asked for."""

    def __init__(self, camera, fps, seed=0):
        self.camera, self.fps, self.seed = camera, fps, seed

    def frame(self, index):
        return picture(index * 10 % 250), [{"kind": "vehicle", "label": "bus", "box": [1, 2, 3, 4], "track": index}]


def endless(camera, fps, seed=0):
    return iter([(picture(k), {"objects": [], "condition": "night"}) for k in range(2)])


@pytest.fixture
def shots(tmp_path):
    """Two class folders; file names give the time."""
    folder = tmp_path / "shots"
    for k, label in enumerate(["bus", "car", "bus"]):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{k:03}.jpg").write_bytes(encoded(picture(k * 10)))
    (folder / "readme.txt").write_text("not a picture")
    return folder


@pytest.fixture
def zipped(shots, tmp_path):
    path = tmp_path / "shots.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(shots.rglob("*.*")):
            archive.write(file, file.relative_to(shots))
    return path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for k in range(6):
        writer.write(picture(k * 40, 64, 48))
    writer.release()
    return path


@pytest.mark.parametrize("kind", ["shots", "zipped"])
def test_class_folders_are_read_in_order_of_time_and_are_the_truth(kind, request):
    pictures = opened(str(request.getfixturevalue(kind)), loop=False)
    taken = [pictures.at(k) for k in range(3)]
    assert [shade_of(one.jpeg) for one in taken] == [0, 1, 2]
    assert [one.truth["objects"][0]["label"] for one in taken] == ["bus", "car", "bus"]
    with pytest.raises(End):
        pictures.at(3)
    assert shade_of(opened(str(request.getfixturevalue(kind)), loop=True).at(4).jpeg) == 1


def test_jpeg_files_go_out_as_they_are_and_others_are_encoded(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 cut off")
    cv2.imwrite(str(tmp_path / "b.png"), picture(100)[:, :, ::-1])
    (tmp_path / "c.png").write_bytes(b"not a png")
    pictures = opened(str(tmp_path))
    assert pictures.at(0).jpeg == b"\xff\xd8 cut off"
    assert shade_of(pictures.at(1).jpeg) == 10
    assert pictures.at(2) is None
    assert pictures.at(0).truth is None


def test_several_cameras_begin_at_different_pictures(shots):
    assert [shade_of(opened(str(shots), camera=k, cameras=3).at(0).jpeg) for k in range(3)] == [0, 1, 2]


def test_a_video_keeps_up_with_its_ticks_and_loops(video):
    once = opened(str(video), loop=False)
    assert [shade_of(once.at(k).jpeg) for k in (0, 2, 5)] == [0, 8, 20]
    with pytest.raises(End):
        once.at(6)
    again = opened(str(video), loop=True)
    assert [shade_of(again.at(k).jpeg) for k in (5, 6, 7)] == [20, 0, 4]


def test_a_generator_is_named_by_its_import_path():
    drawn = opened(f"{__name__}:Scene", camera=2, fps=7.0, options={"seed": 3})
    assert shade_of(drawn.at(4).jpeg) == 4
    assert drawn.at(4).truth["objects"][0]["track"] == 4
    turns = opened(f"{__name__}:endless")
    assert turns.at(0).truth == {"objects": [], "condition": "night"}
    turns.at(1)
    with pytest.raises(End):
        turns.at(2)


def test_the_junction_is_a_generator():
    seen = opened("junction", options={"seed": 1}).at(10)
    assert simplejpeg.decode_jpeg_header(seen.jpeg)[:2] == (240, 320)
    assert "objects" in seen.truth


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere/at/all", "no such file"),
        ("{tmp}", "no pictures"),
        ("{tmp}/broken.zip", "zip"),
        ("{tmp}/notes.txt", "video"),
        ("http://127.0.0.1:9/cam", "video"),
        ("no.such.module:Scene", "cannot be imported"),
        ("edge.sources.camera.frames:Nothing", "cannot be imported"),
        ("edge.sources.camera.frames:End", "options"),
    ],
)
def test_a_slip_is_one_line(source, said, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK but not a zip")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=said) as slip:
        opened(source.format(tmp=tmp_path))
    assert "\n" not in str(slip.value)


@pytest.fixture(scope="module")
def port():
    with EmbeddedBroker() as broker:
        yield broker.port


@pytest.fixture
def link(port):
    link = Link(MqttSettings(port=port, client_id="cameras", protocol="3.1.1"))
    link.start()
    assert link.wait_connected(10)
    yield link
    link.stop()


def test_cameras_publish_numbered_frames_and_truth(port, link, eventually):
    inbox, truths = KeepingInbox(), []
    frames = inbox.frames
    source = MqttSource(port=port, protocol="3.1.1")
    witness = Link(
        MqttSettings(port=port, client_id="witness", protocol="3.1.1"),
        subscriptions=["leeway/box/+/truth"],
        on_message=lambda message: truths.append(json.loads(message.payload)),
    )
    source.start(inbox)
    witness.start()
    assert source.wait_connected(10)
    assert witness.wait_connected(10)
    topics = source.topics
    cameras = [
        CameraPublisher(
            link,
            name,
            opened(f"{__name__}:Scene"),
            topics.frame(name),
            topics.truth(name),
            fps=200.0,
            count_max=5,
        )
        for name in ("a", "b")
    ]
    publish_all(cameras, threading.Event(), duration_s=20.0)
    assert [one.published for one in cameras] == [5, 5]
    assert eventually(lambda: len(frames) == 10 and len(truths) == 10)
    for name in ("a", "b"):
        assert [f.seq for f in frames if f.camera == name] == list(range(5))
    stamps = {(f.camera, f.seq): f.frame_time for f in frames}
    assert all(abs(stamps[t["camera"], t["seq"]] - t["frame_time"]) < 1e-5 for t in truths)
    assert source.counters["missing"] == 0
    source.stop()
    witness.stop()


def test_a_slow_source_skips_ticks_and_says_how_many(link):
    class Slow(Scene):
        def frame(self, index):
            asked.append(index)
            threading.Event().wait(0.03)
            return super().frame(index)

    from edge.sources.camera.frames import GeneratedFrames

    asked = []
    camera = CameraPublisher(link, "slow", GeneratedFrames(Slow(0, 5)), "leeway/box/slow/frame", fps=100.0, count_max=5)
    camera.run(threading.Event())
    assert camera.published == 5
    assert camera.skipped >= 4
    assert asked[-1] == camera.skipped + 4  # the scene stayed in step with the clock


def test_without_a_broker_frames_fail_and_are_counted():
    link = Link(MqttSettings(port=1, client_id="lonely"), say=lambda line: None)
    link.start()
    camera = CameraPublisher(link, "a", opened(f"{__name__}:Scene"), "leeway/box/a/frame", fps=200.0)
    camera.run(threading.Event(), duration_s=0.1)
    link.stop()
    assert camera.published == 0
    assert camera.failed > 0
    assert link.counters["dropped_disconnected"] == camera.failed
