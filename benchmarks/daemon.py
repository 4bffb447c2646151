"""Compares the daemon with a bare loop of decode, prepare and `session.run` on the same core,
and measures its added latency.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any

import numpy as np

from benchmarks.rig import NOBODY, NODE, Placement, Rig, mobile_net, rig

PLACEMENTS = (
    Placement("lane alone on core 1, the rest of the daemon on core 0", lane=1, rest=0, outside=0),
    Placement("whole daemon on core 1", lane=1, rest=1, outside=0),
    Placement("nothing pinned", lane=None, rest=None, outside=None),
)
MODELS = {"mobile": (224, 64, 8), "lighter": (224, 40, 8), "small": (160, 24, 8)}  # side, first width, blocks
OVERLOAD = 2.0  # frames offered, in frames that the bare loop could do
RATIO_MIN, ADDED_MS_MAX = 0.90, 1.5
LIGHT_FPS = 20.0
WARM_S = 1.0
Table = dict[str, Any]


def throughput(stage: Rig, turns: int, seconds: float) -> dict[str, Any]:
    """Returns the frame rates of both, measured in turns, and the CPU time per answered frame of
    each thread of the daemon.
    """
    offered = OVERLOAD / median(stage.bare(WARM_S)[0])
    per_frame, rates, ratios, medians, threads = [], [], [], [], []
    for _ in range(turns):
        stage.camera(offered, NOBODY)  # the same work next door, which on shared cores costs the bare loop as well
        sleep(0.3)
        walls, cpus = stage.bare(seconds)
        stage.camera(offered, NODE)
        sleep(0.5)
        stage.daemon("latencies", True)
        before = stage.daemon("count")
        sleep(seconds)
        after = stage.daemon("count")
        answered_ns = [row[4] for row in stage.daemon("latencies", False)]
        stage.camera(0.0, NODE)
        sleep(0.3)
        answered = after[0] - before[0]
        rate = answered / (after[2] - before[2])
        rates.append(rate)
        per_frame.append((median(walls) * 1e3, median(cpus) * 1e3, len(walls) / sum(walls)))
        medians.append(median(walls) * 1e9 / median(np.diff(answered_ns)))
        ratios.append(rate / (len(walls) / sum(walls)))
        threads.append({name: (after[3][name] - before[3].get(name, 0)) / max(1, answered) * 1e3 for name in after[3]})
    names = sorted({name for row in threads for name in row})
    cpu = {name: round(median(row.get(name, 0.0) for row in threads), 3) for name in names}
    bare_cpu = median(row[1] for row in per_frame)
    return {
        "bare_ms": round(median(row[0] for row in per_frame), 3),
        "bare_cpu_ms": round(bare_cpu, 3),
        "bare_fps": round(median(row[2] for row in per_frame), 1),
        "daemon_fps": round(median(rates), 1),
        "ratio": round(median(ratios), 3),
        "ratio_of_medians": round(float(median(medians)), 3),
        "ratio_low_high": [round(min(ratios), 3), round(max(ratios), 3)],
        "cpu_ms_per_frame": {name: ms for name, ms in cpu.items() if ms >= 0.005},
        "lane_cpu_ratio": round(bare_cpu / cpu["cpu0/run"], 3) if cpu.get("cpu0/run") else None,
    }


def latency(stage: Rig, turns: int, seconds: float) -> dict[str, Any]:
    """Returns the time from a frame received until its result was handed to MQTT, less its
    decode and inference; ms, at light load.
    """
    rows: list[tuple[int, int, int, int, int]] = []
    bare: list[float] = []
    for _ in range(turns):
        bare += stage.bare(seconds / 4)[0]
        stage.camera(LIGHT_FPS, NODE)
        sleep(0.5)
        stage.daemon("latencies", True)
        sleep(seconds)
        rows += stage.daemon("latencies", False)
        stage.camera(0.0, NODE)
        sleep(0.2)
    told, handed, decode, infer, _ = np.array(rows).T / 1e6
    return {
        "frames": len(rows),
        "added_ms": quantiles(handed - decode - infer),
        "added_by_the_message_ms": quantiles(told - decode - infer),
        "whole_ms": quantiles(handed),
        "bare_ms": quantiles([wall * 1e3 for wall in bare]),
        "beyond_the_bare_median_ms": quantiles(handed - median(bare) * 1e3),
    }


def quantiles(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 90, 99)}


def measure(quick: bool = True, models: Sequence[str] = tuple(MODELS), places: Sequence[int] = (0, 1, 2)) -> Table:
    """Returns one row for each model and placement."""
    turns, seconds = (2, 1.5) if quick else (5, 1.5)
    table: Table = {}
    with TemporaryDirectory() as name:
        for model in models:
            path = mobile_net(Path(name) / f"{model}.onnx", *MODELS[model])
            for place in (PLACEMENTS[i] for i in places):
                with rig(Path(name), path, place) as stage:
                    table[f"{model}, {place.name}"] = {
                        "throughput": throughput(stage, turns, seconds),
                        "latency": latency(stage, turns, seconds),
                    }
    return table


def lines(table: Table) -> list[str]:
    """Returns two Markdown tables: throughput, latency."""
    speed = [
        "| model, placement | bare loop, ms | bare, fps | daemon, fps | ratio | low to high | ratio of medians |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    late = [
        "| model, placement | frames | added ms, p50 | p90 | p99 | beyond the bare loop's median ms, p50 | p99 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in table.items():
        fast, slow = row["throughput"], row["latency"]
        low, high = fast["ratio_low_high"]
        speed.append(
            f"| {name} | {fast['bare_ms']} | {fast['bare_fps']} | {fast['daemon_fps']} | **{fast['ratio']}** "
            f"| {low} to {high} | {fast['ratio_of_medians']} |"
        )
        added, beyond = slow["added_ms"], slow["beyond_the_bare_median_ms"]
        late.append(
            f"| {name} | {slow['frames']} | **{added['p50']}** | {added['p90']} | {added['p99']} "
            f"| {beyond['p50']} | {beyond['p99']} |"
        )
    return [*speed, "", *late]
