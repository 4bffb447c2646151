"""Compares what `leeway plan` predicts for this box with what its daemon then does, with
Mosquitto and cameras over MQTT.

The cameras send pictures that were drawn before, from a process of their own on the same machine.
"""

import argparse
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic_ns, process_time, sleep, time
from typing import Any

import yaml

from benchmarks.rig import LOOPBACK, NODE, PATH, Asked, daemon_process, mosquitto, thread_seconds, words
from cli.planning.run import BEYOND, pictures
from edge.config import load
from evaluation.arrivals.registry import process, streams
from evaluation.capacity.dry_run import dry_run
from evaluation.capacity.headroom import most
from evaluation.capacity.search import CapacityQuestion, cope, quantile

SECOND_NS = 1_000_000_000
JUNCTION = Path(__file__).parent.parent / "examples" / "junction"
FPS, ARRIVALS = 5.0, "periodic0.1"
WARM_S = 4.0  # before anything counts: durations are learnt
END_S = 0.5  # for the last answers


# ---- cameras and a daemon ------------------------------------------------------------------------------------------


def cameras_process(pipe: Connection, port: int, shots: Sequence[bytes]) -> None:
    """Publishes frames on request (cameras, seed, seconds); answers with frames, largest
    lateness in ms, and CPU seconds.
    """
    import paho.mqtt.client as paho
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "bench-cameras", protocol=paho.MQTTv5)
    client.connect(LOOPBACK, port)
    client.loop_start()

    def play(cameras: int, seed: int, seconds: float) -> tuple[int, float, float]:
        rates = {f"camera-{number}": FPS for number in range(cameras)}
        times = streams(process(ARRIVALS), "cameras", rates, seed, round(seconds * SECOND_NS))
        frames = sorted((at, name, seq) for name in rates for seq, at in enumerate(times[name].tolist()))
        begin_ns, late_ns, began_s = monotonic_ns() + SECOND_NS // 10, 0, process_time()
        for number, (at_ns, name, seq) in enumerate(frames):
            wait_ns = begin_ns + at_ns - monotonic_ns()
            late_ns = max(late_ns, -wait_ns)
            sleep(max(0.0, wait_ns / 1e9))
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [("frame_time", f"{time():.6f}"), ("seq", str(seq))]
            client.publish(f"leeway/{NODE}/{name}/frame", shots[number % len(shots)], properties=properties)
        return len(frames), late_ns / 1e6, process_time() - began_s

    for word in words(pipe):
        pipe.send(play(*word))


def books(parts: Any) -> dict[str, Any]:
    """Returns frames in, answered in time, and dropped by camera and reason; lanes' time; CPU seconds by thread."""
    metrics = parts.metrics
    counted = {name: (count.arrived, count.met, dict(count.dropped)) for name, count in [*metrics.streams.items()]}
    return {"cameras": counted, "spent_ns": dict(metrics.spent_ns), "cpu_s": thread_seconds(), "at_ns": monotonic_ns()}


def served(table: Mapping[str, Any], cameras: Asked, count: int, seed: int, seconds: float) -> dict[str, Any]:
    """Returns what the daemon does for so many cameras."""
    daemon = Asked(daemon_process, table)
    try:
        cameras(count, seed + 1_000, WARM_S)
        sleep(END_S)
        before = daemon("call", books)
        daemon("latencies", True)
        sent, late_ms, cameras_cpu_s = cameras(count, seed, seconds)
        sleep(END_S)
        after = daemon("call", books)
        rows = daemon("latencies", False)
    finally:
        daemon.close()
    return summed(before, after, [row[0] / 1e6 for row in rows]) | {
        "sent": sent, "sent_late_ms": late_ms, "cameras_cpu_s": cameras_cpu_s,
    }  # fmt: skip


def summed(before: Mapping[str, Any], after: Mapping[str, Any], latencies_ms: Sequence[float]) -> dict[str, Any]:
    """Returns what happened between two results of `books`."""
    shares, arrived, met, dropped = {}, 0, 0, Counter[str]()
    for name, (now_in, now_met, now_dropped) in after["cameras"].items():
        was_in, was_met, was_dropped = before["cameras"].get(name, (0, 0, {}))
        shares[name] = (now_met - was_met) / max(1, now_in - was_in)
        arrived, met = arrived + now_in - was_in, met + now_met - was_met
        dropped.update(Counter(now_dropped) - Counter(was_dropped))
    span_ns = after["at_ns"] - before["at_ns"]
    spent = {kind: (ns - before["spent_ns"].get(kind, 0)) / span_ns for kind, ns in after["spent_ns"].items()}
    cpu_s = sum(after["cpu_s"].values()) - sum(before["cpu_s"].values())
    return {
        "arrived": arrived, "attainment": met / max(1, arrived), "worst_attainment": min(shares.values()),
        "p50_ms": quantile(latencies_ms, 0.5), "p99_ms": quantile(latencies_ms, 0.99), "dropped": dict(dropped),
        "spent": spent, "daemon_cpus": cpu_s / (span_ns / 1e9),
    }  # fmt: skip


# ---- both ----------------------------------------------------------------------------------------------------------


def measure(
    numbers: Sequence[int], seconds: float, repeats: int, drift: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Returns predictions beside measurements. `numbers`: of cameras; none: what the first plan says holds, and
    `BEYOND` times as many.
    """
    shots = pictures("junction")
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        port = stack.enter_context(mosquitto(folder, None))
        path = written(folder, port, drift)
        cameras = Asked(cameras_process, port, shots)
        stack.callback(cameras.close)
        table, rows = load(path).model_dump(mode="json"), []
        for repeat in range(repeats):
            say(f"repeat {repeat + 1}: trying the box, looking ahead")
            question = CapacityQuestion(path, dry_run(load(path), shots), fps=FPS, arrivals=ARRIVALS)
            best, held = most(question, 1, 128)
            numbers = numbers or (best, round(BEYOND * best))
            for count in numbers:
                say(f"repeat {repeat + 1}: {count} cameras")
                predicted = asdict(held.get(count) or cope(question, count))
                got = served(table, cameras, count, repeat, seconds)
                rows.append({"repeat": repeat + 1, "holds": best, "predicted": predicted, "measured": got})
    return {"fps": FPS, "arrivals": ARRIVALS, "seconds": seconds, "drift": drift, "rows": rows}


def written(folder: Path, port: int, drift: bool) -> Path:
    """Writes the junction's edge.yaml for this broker."""
    table = yaml.safe_load((JUNCTION / "edge.yaml").read_text())
    table |= {"models": str(JUNCTION / "repository"), "mqtt": {"port": port, "node": NODE}}
    if not drift:
        del table["drift"]
    path = folder / "edge.yaml"
    path.write_text(yaml.safe_dump(table))
    return path


def lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yields the table in Markdown; predicted / measured."""
    yield "| repeat | plan: hold | cameras | in time | worst camera | p50 ms | p99 ms | daemon's CPUs |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|"
    for row in figures["rows"]:
        says, got = row["predicted"], row["measured"]
        pairs = [
            *(f"{says[key]:.1%} / {got[key]:.1%}" for key in ("attainment", "worst_attainment")),
            *(f"{says[key]:.1f} / {got[key]:.1f}" for key in ("p50_ms", "p99_ms")),
        ]
        counts = f"{row['repeat']} | {row['holds']} | {says['cameras']}"
        yield f"| {counts} | {' | '.join(pairs)} | {got['daemon_cpus']:.2f} |"


def main() -> None:
    """Writes the measurements as JSON and prints the table."""
    from benchmarks.__main__ import RESULTS
    from benchmarks.rig import machine

    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__)
    parser.add_argument("--cameras", type=int, nargs="*", default=[], help="numbers; else what holds, and 1.3 times it")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--frozen", action="store_true", help="nothing watches for drift")
    options = parser.parse_args()
    os.environ.update(PATH=PATH, OMP_NUM_THREADS="1")
    about = {**machine(), "command": shlex.join(["python", "-m", "benchmarks.plan", *sys.argv[1:]])}
    figures = measure(
        options.cameras, options.seconds, options.repeats, not options.frozen, lambda words: print(words, flush=True)
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "plan.json").write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")
    print("\n".join(lines(figures)))


if __name__ == "__main__":
    main()
