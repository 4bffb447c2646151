"""A made-up run folder with known truth: four cameras, a drift at one third, one classifier hit hard and repaired."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

START = 1_700_000_000.0
VEHICLES = ("bicycle", "bus", "car", "motorbike", "truck", "van")
PERSONS = ("crossing", "running", "standing", "walking")
CLASSIFY = {"vehicle": "vehicles", "person": "persons"}
WIDTH, HEIGHT = 320, 240

# Right labels in a hundred: before, drifted, after the repair.
CHANCES = {"vehicles": (0.93, 0.55, 0.86), "persons": (0.90, 0.82, 0.88)}


def write_run(
    path: Path,
    *,
    seed: int = 7,
    duration_s: float = 90.0,
    fps: float = 5.0,
    cameras: int = 4,
    frozen: bool = False,
    drift: str | None = "night",
    promoted_s: Sequence[float] = (46.0,),
    pictures: bool = True,
    **settings: Any,
) -> Path:
    """Writes all the files of a run and returns `path`; repeatable by the seed."""
    path.mkdir(parents=True, exist_ok=True)
    dice = random.Random(seed)
    drift_s = duration_s / 3 if drift else None
    promotions = () if frozen or drift_s is None else tuple(promoted_s)
    results, truth = [], []
    dropped = {f"gate-{c}": 0 for c in range(cameras)}
    for seq in range(int(duration_s * fps)):
        for camera in dropped:
            at_s = seq / fps + 0.01 * int(camera[-1])
            objects = scene(camera, seq, fps)
            condition = drift if drift_s is not None and at_s >= drift_s else "day"
            truth.append(truth_of(camera, seq, at_s, condition, objects))
            if dice.random() < 0.01:
                dropped[camera] += 1
                continue
            said = [answer(thing, phase(at_s, drift_s, promotions), dice) for thing in objects if dice.random() < 0.96]
            results.append(result_of(camera, seq, at_s, said, total_ms=22 + dice.expovariate(1 / 14)))
    events = [] if frozen else journal(drift_s, promotions)
    write_lines(path / "results.jsonl", results)
    write_lines(path / "truth.jsonl", truth)
    write_lines(path / "events.jsonl", events)
    write_lines(path / "stats.jsonl", stats_of(duration_s, results, dropped, events))
    demo = {
        "start_time": START,
        "drift_time": None if drift_s is None else START + drift_s,
        "duration": duration_s,
        "seed": seed,
        "drift": drift,
        "frozen": frozen,
        "slo_ms": 100,
        "models": ["detector", "vehicles", "persons", "teacher"],
        "streams": list(dropped),
        "classify": CLASSIFY,
        "detector": "detector",
        "labels": "the teacher model",
    }
    (path / "demo.json").write_text(json.dumps({**demo, **settings}))
    if pictures:
        write_pictures(path, truth, every=int(fps * 3))
    return path


def phase(at_s: float, drift_s: float | None, promotions: Sequence[float]) -> int:
    if drift_s is None or at_s < drift_s:
        return 0
    return 2 if promotions and at_s >= promotions[-1] else 1


def scene(camera: str, seq: int, fps: float) -> list[dict[str, Any]]:
    """Three vehicles and a person on straight tracks."""
    lane = int(camera[-1])
    objects = []
    for track in range(4):
        kind, labels = ("person", PERSONS) if track == 3 else ("vehicle", VEHICLES)
        lap = int((seq / fps + 3 * track) // 12)
        x = ((seq / fps + 3 * track) % 12) / 12 * (WIDTH - 60)
        y = 70 + 40 * track
        size = (14, 30) if kind == "person" else (46, 26)
        label = labels[(lap + track + lane) % len(labels)]
        objects.append(
            {"kind": kind, "label": label, "box": [x, y, x + size[0], y + size[1]], "track": track + 4 * lap}
        )
    return objects


def answer(thing: dict[str, Any], when: int, dice: random.Random) -> dict[str, Any]:
    labels = VEHICLES if thing["kind"] == "vehicle" else PERSONS
    right = dice.random() < CHANCES[CLASSIFY[thing["kind"]]][when]
    label = thing["label"] if right else dice.choice([other for other in labels if other != thing["label"]])
    box = [round(x + dice.uniform(-1.5, 1.5), 1) for x in thing["box"]]
    return {"kind": thing["kind"], "label": label, "score": round(dice.uniform(0.4, 0.99), 3), "box": box}


def truth_of(camera: str, seq: int, at_s: float, condition: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    at = START + at_s
    head = {"camera": camera, "seq": seq, "frame_time": at, "at": at + 0.002, "topic": f"leeway/box/{camera}/truth"}
    return {**head, "condition": condition, "objects": objects}


def result_of(
    camera: str, seq: int, at_s: float, objects: list[dict[str, Any]], total_ms: float = 25.0, slo_ms: float = 100.0
) -> dict[str, Any]:
    at = START + at_s
    done = at + total_ms / 1000
    return {
        "id": f"{camera}-{seq}",
        "camera": camera,
        "app": "junction",
        "models": {"detector": "fp32", "vehicles": "fp32", "persons": "fp32"},
        "frame_time": at,
        "received_time": at,
        "published_time": done,
        "at": done,
        "topic": f"leeway/box/{camera}/junction/result",
        "seq": seq,
        "objects": objects,
        "timings_ms": {"queue": 3.0, "decode": 1.0, "infer": total_ms - 5, "post": 1.0, "total": round(total_ms, 3)},
        "slo": {"deadline_ms": slo_ms, "met": total_ms <= slo_ms},
        "dropped_before": 0,
    }


def journal(drift_s: float | None, promotions: Sequence[float]) -> list[dict[str, Any]]:
    def event(at_s: float, kind: str, model: str, **evidence: Any) -> dict[str, Any]:
        at = START + at_s
        return {"kind": kind, "model": model, "time": at, "at": at + 0.001, "topic": "leeway/box/events", **evidence}

    if drift_s is None:
        return []
    events = [
        event(drift_s + 3.2, "alarm", "vehicles", detector="BBSDs", statistic=0.41, threshold=0.22, stream="gate-1"),
        event(drift_s + 4.5, "alarm", "persons", detector="mean-confidence", statistic=0.12, threshold=0.10),
        event(drift_s + 7.9, "audit", "vehicles", labelled=60, accuracy=0.57, reference=0.93, harm=True, p=0.0004),
        event(drift_s + 9.0, "audit", "persons", labelled=60, accuracy=0.85, reference=0.90, harm=False, p=0.21),
    ]
    for number, at_s in enumerate(promotions, start=1):
        variant = f"statistics-{number}"
        events.append(event(at_s, "promotion", "vehicles", variant=variant, old=0.91, new=0.86, p=0.003))
    return events


def stats_of(
    duration_s: float, results: list[dict[str, Any]], dropped: dict[str, int], events: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Once a second, cumulative, as the daemon tells it."""
    messages = []
    training = labelling = 0.0
    for second in range(1, int(duration_s) + 1):
        started = [e["time"] - START for e in events if e["kind"] == "alarm"]
        ended = [e["time"] - START for e in events if e["kind"] == "promotion"] or [duration_s]
        busy = bool(started) and started[0] <= second <= ended[-1]
        training += 0.25 if busy else 0.0
        labelling += 0.12 if busy else 0.0
        share = {"inference": 0.42, "training": training / second, "labelling": labelling / second, "loading": 0.004}
        part = second / duration_s
        streams = {c: stream_stats(c, n, part, results) for c, n in dropped.items()}
        answered = sum(s["answered"] for s in streams.values())
        lost = sum(s["dropped"]["superseded"] for s in streams.values())
        at = START + second
        messages.append(
            {
                "time": at,
                "at": at + 0.001,
                "topic": "leeway/box/stats",
                "uptime_s": float(second),
                "frames": {"in": answered + lost, "answered": answered, "dropped": {"superseded": lost}, "waiting": 0},
                "slo": {"attainment": 0.991},
                "latency_ms": {"p50": 31.0, "p99": 84.0},
                "streams": streams,
                "models": model_stats(events, at),
                "time_share": {**share, "idle": 1 - sum(share.values())},
                "queues": {"detector": 1, "vehicles": 2, "persons": 0},
                "memory_bytes": 212_000_000,
            }
        )
    return messages


def stream_stats(camera: str, dropped: int, part: float, results: list[dict[str, Any]]) -> dict[str, Any]:
    answered = round(part * sum(r["camera"] == camera for r in results))
    lost = round(part * dropped)
    return {"in": answered + lost, "answered": answered, "dropped": {"superseded": lost}, "fps": 5.0, "p99_ms": 84.2}


def model_stats(events: list[dict[str, Any]], at: float) -> dict[str, Any]:
    def count(model: str, kind: str) -> int:
        return sum(e["model"] == model and e["kind"] == kind and e["time"] <= at for e in events)

    table: dict[str, Any] = {}
    for model in ("detector", "vehicles", "persons"):
        counts = {f"{kind}s": count(model, kind) for kind in ("alarm", "audit", "promotion", "rollback")}
        state = "watching" if counts["alarms"] <= counts["promotions"] else "repairing"
        variant = "statistics-1" if counts["promotions"] else "fp32"
        table[model] = {"variant": variant, **counts, "state": state, "accuracy_estimate": 0.9}
    return table


def write_lines(file: Path, messages: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(message) + "\n" for message in messages))


def write_pictures(path: Path, truth: list[dict[str, Any]], every: int) -> None:
    (path / "frames").mkdir(exist_ok=True)
    for message in truth:
        if message["seq"] % every == 0:
            dark = 0.35 if message["condition"] == "night" else 1.0
            file = path / "frames" / f"{message['camera']}-{message['seq']}.jpg"
            cv2.imwrite(str(file), (draw(message["objects"]) * dark).astype(np.uint8))


def draw(objects: list[dict[str, Any]]) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3]: a road and a coloured box for each object."""
    picture = np.full((HEIGHT, WIDTH, 3), (120, 150, 120), np.uint8)
    cv2.rectangle(picture, (0, 60), (WIDTH, 230), (96, 96, 96), -1)
    for thing in objects:
        x1, y1, x2, y2 = (round(x) for x in thing["box"])
        cv2.rectangle(picture, (x1, y1), (x2, y2), (60, 80 + 25 * (thing["track"] % 6), 200), -1)
    return picture
