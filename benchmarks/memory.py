"""Measures the daemon's memory under twice the load that it can serve: RSS at the end against RSS after one minute."""

import os
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

from benchmarks.daemon import MODELS
from benchmarks.rig import NODE, Placement, mobile_net, rig

OVERLOAD = 2.0  # frames offered, in frames that the daemon answers when flooded
GROWTH_MAX = 0.10
EVERY_S, AROUND_S = 2.0, 10.0
ANYWHERE = Placement("nothing pinned", None, None, None)


def measure(minutes: float, nice: int = 5, model: str = "small") -> dict[str, Any]:
    """Measures for `minutes` and returns the figures. `nice`: of camera and daemon, which keep a
    core busy all the time.
    """
    os.nice(max(0, nice - os.nice(0)))  # what is started inherits it
    with TemporaryDirectory() as name:
        path = mobile_net(Path(name) / f"{model}.onnx", *MODELS[model])
        with rig(Path(name), path, ANYWHERE) as stage:
            offered = OVERLOAD / median(stage.bare(1.0)[0])  # no daemon answers more than the bare loop does
            samples: list[tuple[float, int]] = []
            stage.camera(offered, NODE)
            began = monotonic()
            first = stage.daemon("count")
            while (at_s := monotonic() - began) < minutes * 60:
                samples.append((round(at_s, 1), stage.daemon("count")[4]))
                sleep(EVERY_S)
            last = stage.daemon("count")
    arrived, answered = last[1] - first[1], last[0] - first[0]
    after_1 = near(samples, 60.0 if minutes > 1.5 else minutes * 30)
    end = near(samples, minutes * 60)
    return {
        "minutes": minutes,
        "offered_fps": round(offered, 1),
        "arrived": arrived,
        "answered": answered,
        "load": round(arrived / max(1, answered), 2),
        "rss_mib_after_1_min": mib(after_1),
        "rss_mib_at_the_end": mib(end),
        "rss_mib_max": mib(max(size for _, size in samples)),
        "growth": round(end / after_1 - 1, 4),
        "samples": samples,
    }


def near(samples: list[tuple[float, int]], at_s: float) -> float:
    return median(size for when, size in samples if abs(when - at_s) <= AROUND_S)


def mib(size: float) -> float:
    return round(size / 2**20, 1)


def lines(table: dict[str, Any]) -> list[str]:
    """Returns a Markdown table."""
    return [
        "| minutes | arrived / answered | RSS after 1 min, MiB | at the end | growth | aim |",
        "|---:|---:|---:|---:|---:|---|",
        f"| {table['minutes']:g} | {table['arrived']} / {table['answered']} | {table['rss_mib_after_1_min']} "
        f"| {table['rss_mib_at_the_end']} | {table['growth']:+.1%} | within {GROWTH_MAX:.0%} |",
    ]
