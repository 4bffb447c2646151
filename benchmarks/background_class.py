"""Measures how late a timer wakes beside background work of each scheduling class, while other
processes want the cores.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from benchmarks.rig import machine
from devices.cpu import Cpu

CLASSES = ("none", "batch", "normal", "nice 10", "idle")  # none: no background work at all
SECONDS = 2.2  # of each measurement
PERIOD_S, STEP_S = 0.005, 0.010  # of the timer; of a step of background work, which rests as long again
HOG = "import sys, time; until = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < until: pass"


def enter(kind: str) -> None:
    """Puts the calling thread into the class, as a lane's background thread does."""
    if kind == "nice 10":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    else:
        Cpu(background=kind).enter(background=True)


def background(kind: str, until: float, spent: list[float]) -> None:
    """Runs steps of Python and NumPy until `until`, as training a head does, and appends the CPU
    seconds that they took.
    """
    enter(kind)
    matrix = np.ones((64, 64), np.float32)
    while time.monotonic() < until:
        step_until = time.monotonic() + STEP_S
        while time.monotonic() < step_until:
            matrix = np.tanh(matrix @ matrix)
            sum(range(200))
        time.sleep(STEP_S)
    spent.append(time.thread_time())


def measured(kind: str, seconds: float) -> dict[str, float]:
    """Measures in this process, with the main thread as the timer; returns lateness in ms and
    the steps' share of one core.
    """
    spent: list[float] = []
    began = time.monotonic()
    thread = threading.Thread(target=background, args=(kind, began + seconds, spent))
    if kind != "none":
        thread.start()
    late = [*lateness_ms(began, began + seconds)]
    if kind != "none":
        thread.join()
    p50, p99, worst = np.quantile(late, (0.5, 0.99, 1.0))
    return {"p50_ms": p50, "p99_ms": p99, "worst_ms": worst, "share": sum(spent) / seconds}


def lateness_ms(due: float, until: float) -> Iterator[float]:
    """Yields how late each tick was, in ms. Ticks that are past when the timer wakes are skipped."""
    while (due := max(due + PERIOD_S, time.monotonic())) < until:
        time.sleep(max(0.0, due - time.monotonic()))
        yield 1e3 * (time.monotonic() - due)


@contextmanager
def hogs(count: int, seconds: float) -> Iterator[None]:
    """Runs processes that want a core each."""
    running = [subprocess.Popen([sys.executable, "-c", HOG, str(seconds)]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def in_a_process(kind: str) -> dict[str, float]:
    """Measures in a process of its own, since a thread cannot leave SCHED_IDLE on every kernel."""
    command = [sys.executable, "-m", "benchmarks.background_class", "--one", kind]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def lines(counts: Sequence[int], ask: Callable[[str], dict[str, float]] = in_a_process) -> Iterator[str]:
    """Yields the table, in Markdown."""
    yield "| other processes that want a core | background work | p50 ms | p99 ms | worst ms | share of a core |"
    yield "|---:|---|---:|---:|---:|---:|"
    for count in counts:
        for kind in CLASSES:
            with hogs(count, 3 * SECONDS + 5):
                row = ask(kind)
            numbers = " | ".join(f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms", "worst_ms"))
            yield f"| {count} | {kind} | {numbers} | {row['share']:.2f} |"


def main(arguments: Sequence[str]) -> None:
    """Measures all classes and prints the table, or one class as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.background_class", description=__doc__)
    parser.add_argument("--one", choices=CLASSES, help="measure this class alone, here and now; prints JSON")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measured(options.one, SECONDS)))
        return
    about = machine()
    for line in lines((0, len(os.sched_getaffinity(0)))):
        print(line, flush=True)
    print(f"\n{about['date']}: {about['cpu']}, {about['cores']} cores, {about['system']}, Python {about['python']}; "
          f"{about['priority']}; load average {about['load_average']}")  # fmt: skip


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main(sys.argv[1:])
