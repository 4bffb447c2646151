"""Defines what a line of a run folder must look like. It is checked once, on reading, so that no later code has to."""

from collections.abc import Mapping
from typing import Any

NUMBER_MAX = 1e15  # anything larger, and NaN, is treated as damaged
NUMBER = "number"

# A shape: a type, NUMBER, a list (each element), a dict (each field there is; "*": any other one), a tuple (any of).
Shape = Any
COUNTS = {"*": NUMBER}
DROPS = (COUNTS, NUMBER)
TIMES = {"at": NUMBER, "time": NUMBER, "frame_time": NUMBER, "received_time": NUMBER}
THING = {"kind": str, "label": str, "box": [NUMBER]}
FRAME = {**TIMES, "camera": str, "seq": NUMBER, "objects": [THING]}
STREAM = {"in": NUMBER, "answered": NUMBER, "dropped": DROPS}
EVENTS = {"alarms": NUMBER, "audits": NUMBER, "promotions": NUMBER, "rollbacks": NUMBER}

SHAPES: Mapping[str, Shape] = {
    "results": {
        **FRAME,
        "app": str,
        "models": {"*": (str, dict)},
        "timings_ms": {"total": NUMBER},
        "slo": {"met": bool, "deadline_ms": NUMBER},
    },
    "truth": {**FRAME, "condition": str},
    "events": {**TIMES, "kind": str, "model": str},
    "stats": {
        **TIMES,
        "uptime_s": NUMBER,
        "frames": {**STREAM, "waiting": NUMBER},
        "slo": {"attainment": NUMBER},
        "streams": {"*": STREAM},
        "models": {"*": EVENTS},
        "time_share": COUNTS,
        "time_share_recent": COUNTS,
    },
}
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "results": ("camera", "seq"),
    "truth": ("camera", "seq"),
    "events": ("kind",),
}
SETTINGS: Mapping[str, Shape] = {
    "start_time": NUMBER,
    "drift_time": NUMBER,
    "duration": NUMBER,
    "slo_ms": NUMBER,
    "frozen": bool,
    "detector": str,
    "classify": {"*": str},
    "versions": {"*": str},
}


def fits(value: object, shape: Shape) -> bool:
    """Returns whether the value has that shape. A field that is missing or null fits."""
    match shape:
        case "number":
            return is_number(value)
        case type():
            return isinstance(value, shape)
        case tuple():
            return any(fits(value, one) for one in shape)
        case list():
            return isinstance(value, list) and all(fits(part, shape[0]) for part in value)
    other = shape.get("*")
    return isinstance(value, Mapping) and all(
        part is None or (wanted := shape.get(key, other)) is None or fits(part, wanted) for key, part in value.items()
    )


def is_number(value: object) -> bool:
    """Returns whether a value is a finite int or float and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < NUMBER_MAX


def is_message(stream: str, value: object) -> bool:
    """Returns whether a line of that file has the required fields in the right shape."""
    if not isinstance(value, Mapping) or not fits(value, SHAPES[stream]):
        return False
    return all(value.get(key) is not None for key in REQUIRED.get(stream, ()))
