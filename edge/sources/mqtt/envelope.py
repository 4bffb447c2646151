"""Reads frame messages: raw JPEG with metadata in MQTT 5 user properties, or a JSON envelope where there are none.

Raw JPEG is what camera software publishes. The envelope `{"frame_time", "seq", "encoding": "jpeg", "data": base64}`
costs a third more bytes and is meant for MQTT 3.1.1, which has no user properties. The functions are pure.
"""

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLOCK_TOLERANCE_S = 86_400.0  # a capture time further off than a day is a broken clock, not a slow network
ENCODINGS = ("jpeg", "jpg", "image/jpeg")


class BadEnvelope(ValueError):
    """Tells that a payload looks like an envelope and is not one."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Holds one frame taken out of its message. `frame_time` is in Unix seconds; `bad_clock`
    says that it was absurd and was replaced.
    """

    payload: bytes
    frame_time: float
    seq: int | None
    properties: Mapping[str, str]
    bad_clock: bool = False


@dataclass(frozen=True, slots=True)
class LabelAnswer:
    """Holds an operator's answer to a question for a label; `label` None means that it cannot be told."""

    id: str
    label: str | None


def opened(payload: bytes, properties: Mapping[str, str], received_time: float) -> Envelope:
    """Returns the frame in `payload` with its metadata.

    Args:
        payload: JPEG or an envelope; other bytes are passed on, since the decoder judges them.
        properties: user properties of the message.
        received_time: Unix seconds; replaces a capture time that is missing or absurd.

    Raises:
        BadEnvelope: JSON that is not an envelope.
    """
    if payload[:1] == b"{":
        payload, said = _unwrapped(payload)
        properties = {**properties, **said}
    stated = _number(properties.get("frame_time"))
    absent = "frame_time" not in properties
    sane = stated is not None and stated >= 0 and abs(stated - received_time) <= CLOCK_TOLERANCE_S
    frame_time = stated if sane and stated is not None else received_time
    return Envelope(payload, frame_time, _sequence(properties.get("seq")), properties, bad_clock=not (sane or absent))


def sealed(payload: bytes, properties: Mapping[str, str]) -> bytes:
    """Returns `payload` in an envelope, which `opened` reads."""
    said: dict[str, Any] = dict(properties)
    if (frame_time := _number(said.get("frame_time"))) is not None:
        said["frame_time"] = frame_time
    if (seq := _sequence(said.get("seq"))) is not None:
        said["seq"] = seq
    return json.dumps({**said, "encoding": "jpeg", "data": base64.b64encode(payload).decode()}).encode()


def answered(payload: bytes) -> LabelAnswer | None:
    """Returns the answer in `payload` (`{"id", "label"}`), or None when it holds none."""
    try:
        table = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(table, dict) or not isinstance(table.get("id"), str | int):
        return None
    label = table.get("label")
    return LabelAnswer(str(table["id"]), label) if label is None or isinstance(label, str) else None


def _unwrapped(payload: bytes) -> tuple[bytes, dict[str, str]]:
    try:
        table = json.loads(payload)
        data = base64.b64decode(table["data"], validate=True)
    except (ValueError, RecursionError, KeyError, TypeError, binascii.Error) as error:
        raise BadEnvelope(str(error)) from error
    encoding = table.get("encoding", "jpeg")
    if encoding not in ENCODINGS:
        raise BadEnvelope(f"encoding {encoding!r} is not jpeg")
    plain = {k: v for k, v in table.items() if k not in ("data", "encoding")}
    return data, {k: str(v) for k, v in plain.items() if isinstance(v, str | int | float)}


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _sequence(text: Any) -> int | None:
    try:
        value = int(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if 0 <= value < 2**63 else None
