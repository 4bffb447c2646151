"""Cameras that keep a box busy: so many frames at once, then as many a second as it can do."""

import threading
from collections import Counter
from queue import SimpleQueue

import pytest

from evaluation.capacity.load_generator import FREE, IN_FLIGHT, LoadGenerator

JPEGS = [b"a", b"b", b"c"]


class Box:
    """Answers on a thread of its own, one frame after the other."""

    def __init__(self, apps: int = 1) -> None:
        self.queue: SimpleQueue[str | None] = SimpleQueue()
        self.apps, self.open, self.most, self.seen = apps, Counter[str](), 0, list[tuple[str, bytes]]()
        self.generator = LoadGenerator(JPEGS, apps, 0.5, self.take)

    def take(self, camera: str, jpeg: bytes) -> None:
        self.seen.append((camera, jpeg))
        self.open[camera] += 1
        if not camera.startswith(FREE):
            assert self.open[camera] == 1, "the next frame came before all answers to the last one"
            self.most = max(self.most, sum(n for name, n in self.open.items() if n and not name.startswith(FREE)))
        self.queue.put(camera)

    def run(self) -> "Box":
        worker = threading.Thread(target=self._serve)
        worker.start()
        self.generator.run()
        self.queue.put(None)
        worker.join()
        return self

    def _serve(self) -> None:
        while (camera := self.queue.get()) is not None:
            threading.Event().wait(0.001)
            self.open[camera] -= 1
            for _ in range(self.apps):
                self.generator.answered(camera)


@pytest.mark.parametrize("apps", [1, 3])
def test_frames_in_the_box_grow_to_the_most_and_not_beyond(apps: int) -> None:
    box = Box(apps).run()
    closed = {camera for camera, _ in box.seen if not camera.startswith(FREE)}
    assert closed == {f"camera-{n}" for n in range(IN_FLIGHT[-1])}
    assert 1 < box.most <= IN_FLIGHT[-1]
    assert len(box.seen) == box.generator.sent


def test_then_frames_come_whatever_becomes_of_them() -> None:
    box = Box().run()
    free = [camera for camera, _ in box.seen if camera.startswith(FREE)]
    assert len(free) > 20
    first = next(at for at, (camera, _) in enumerate(box.seen) if camera.startswith(FREE))
    assert all(camera.startswith(FREE) for camera, _ in box.seen[first:])


def test_pictures_are_taken_in_turn() -> None:
    pictures = [jpeg for _, jpeg in Box().run().seen]
    assert pictures[:6] == [b"b", b"c", b"a", b"b", b"c", b"a"]


def test_a_box_that_never_answers_gets_one_frame_of_each_camera() -> None:
    sent, shares = list[str](), list[float]()
    LoadGenerator(JPEGS, 1, 0.2, lambda camera, jpeg: sent.append(camera), shares.append).run()
    assert sorted(sent) == sorted(f"camera-{n}" for n in range(IN_FLIGHT[-1]))
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 1.0])
