"""Builds the message that a frame's answer becomes, in Frigate's names, with times and the SLO verdict."""

from dataclasses import replace
from typing import Any

from edge.core.events import Combined, Reply, Time
from edge.data.job import InFlightRequest
from edge.data.votes import spoken
from porting.formats.format import DetectedObject


def objects(opened: InFlightRequest, reply: Reply) -> list[DetectedObject]:
    """Returns what the request's tasks found. An object that a classifier looked at has that one's label and score."""
    named = {
        (job.parent, job.item): job.outcome.found[0]
        for task in reply.tasks
        if (job := opened.jobs[task]).parent is not None and job.outcome.found
    }
    found = []
    for task in reply.tasks:
        job = opened.jobs[task]
        if job.parent is None:
            found += [refined(thing, named.get((task, item))) for item, thing in enumerate(job.outcome.found)]
    return found


def refined(thing: DetectedObject, said: DetectedObject | None) -> DetectedObject:
    """Returns the object with the label and score that a classifier gave it, if one did."""
    return thing if said is None else replace(thing, label=said.label, score=said.score)


def id_of(opened: InFlightRequest) -> str:
    """Returns the id under which a frame's result is published."""
    assert opened.frame is not None
    return f"{opened.frame.frame_time:.6f}-{opened.request.id}"


def message(
    opened: InFlightRequest,
    reply: Reply,
    now: Time,
    published_time: float,
    dropped_before: int,
    said: Combined | None = None,
) -> dict[str, Any]:
    """Returns the JSON-ready result of an answered frame. Times in milliseconds; `queue` is all that is not work.

    `said`: what an ensemble combined its members' answers to; it takes their place.
    """
    frame, request = opened.frame, opened.request
    assert frame is not None
    assert request.deadline_ns is not None
    jobs = [opened.jobs[task] for task in reply.tasks]
    decode_ns = opened.picture.decode_ns if opened.picture else 0
    infer_ns, post_ns = sum(job.infer_ns for job in jobs), sum(job.post_ns for job in jobs)
    total_ns = now - request.arrived_ns
    spans = {"decode": decode_ns, "infer": infer_ns, "post": post_ns, "total": total_ns}
    return {
        "id": id_of(opened),
        "camera": request.stream,
        "app": request.app,
        "models": {job.model: job.variant.name for job in jobs},
        "frame_time": frame.frame_time,
        "received_time": frame.received_time,
        "published_time": published_time,
        "seq": frame.seq,
        "objects": [thing.as_json() for thing in (spoken(opened, said) if said else objects(opened, reply))],
        **({"votes": dict(said.votes)} if said else {}),
        "timings_ms": {
            "queue": round(max(0, total_ns - decode_ns - infer_ns - post_ns) / 1e6, 3),
            **{name: round(span / 1e6, 3) for name, span in spans.items()},
        },
        "slo": {"deadline_ms": (request.deadline_ns - request.arrived_ns) / 1e6, "met": now <= request.deadline_ns},
        "dropped_before": dropped_before,
    }
