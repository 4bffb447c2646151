"""Runs benchmarks: prints tables, writes runs/bench/*.json and, when asked, the page of measurements."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import core, daemon, memory
from benchmarks.rig import PATH, machine

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "runs" / "bench"
PAGE = ROOT / "docs" / "measurements" / "speed.md"


def main(arguments: list[str]) -> None:
    """Runs the benchmarks that the command line names."""
    options = parsed(arguments)
    run: Mapping[str, Callable[[], dict[str, Any]]] = {
        "core": core.measure,
        "daemon": lambda: daemon.measure(not options.thorough),
        "memory": lambda: memory.measure(options.minutes),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in options.names or run:
        print(f"{name} ...", flush=True)
        about = {**machine(), "command": f"python -m benchmarks {shlex.join(arguments)}"}
        record = {"about": about, "figures": run[name]()}
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        print("\n".join(SECTIONS[name](record["figures"])), "\n", flush=True)
    if options.write:
        PAGE.write_text(page())
        print(f"wrote {PAGE.relative_to(ROOT)}")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Returns the options; exits with a message for an unknown benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(SECTIONS)}; all of them if left out")
    parser.add_argument("--thorough", action="store_true", help="daemon: more and longer turns (some minutes)")
    parser.add_argument("--minutes", type=float, default=2.0, help="memory: how long to keep it overloaded")
    parser.add_argument("--write", action="store_true", help="make docs/measurements/speed.md of runs/bench/*.json")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(SECTIONS):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return options


def core_lines(figures: Mapping[str, float]) -> list[str]:
    aims = {"event_us": f"< {core.EVENT_US_MAX:.0f}", "virtual_events_per_s": f">= {core.VIRTUAL_PER_S_MIN:,.0f}"}
    rows = [f"| `{name}` | {value:,} | {aims.get(name, '')} |" for name, value in figures.items()]
    return ["| figure, median over repeats | measured | aim |", "|---|---:|---|", *rows]


SECTIONS: Mapping[str, Callable[[Any], list[str]]] = {
    "core": core_lines,
    "daemon": daemon.lines,
    "memory": memory.lines,
}
SAYS = {
    "core": """\
`event_us`: one event handled by the scheduler while 100 tasks wait. Virtual world: seeded cameras, a simulated
device, no threads.""",
    "daemon": f"""\
Frames of 320x240 (JPEG, some 15 kB) come from a process of its own over a real Mosquitto, {daemon.OVERLOAD:g} times
as many as the bare loop could do. Bare loop: decode, prepare, `session.run` on one thread, alone in its process, on
the core that is the lane's afterwards; camera and broker work beside it just as hard. Both in turns. Ratio: median
over the turns of the daemon's answered frames per second over the bare loop's (aim: at least {daemon.RATIO_MIN}, in
the first placement). Ratio of medians: the bare loop's median time of a frame over the median time from one answer to
the next; it leaves out the moments when somebody else had the core.

Added latency: from the frame received to its result handed to MQTT, less decode and inference, at
{daemon.LIGHT_FPS:g} frames/s (aim: median under {daemon.ADDED_MS_MAX} ms). Inference counts as the daemon saw it;
the last two columns subtract the bare loop's median instead.""",
    "memory": f"""\
RSS of the daemon under {memory.OVERLOAD:g} times the load that the bare loop could serve; smallest model, nothing
pinned, niced.""",
}


def page() -> str:
    """Returns the page of what was measured last, each part with the machine and the command that it came from."""
    out = [
        "# Speed and memory",
        "",
        "Made by `python -m benchmarks --write` of what it measured; nothing here is typed in.",
        "On a machine that does other things as well, compare ratios, not milliseconds.",
    ]
    for name, lines in SECTIONS.items():
        file = RESULTS / f"{name}.json"
        if file.exists():
            record = json.loads(file.read_text())
            out += ["", f"## {name.capitalize()}", "", SAYS[name], "", *lines(record["figures"])]
            out += ["", said(record["about"])]
    return "\n".join(out) + "\n"


def said(about: Mapping[str, Any]) -> str:
    """Returns the line about machine and command."""
    versions = ", ".join(
        f"{name} {about[name.lower().replace(' ', '')]}" for name in ("Python", "ONNX Runtime", "NumPy")
    )
    load = ", ".join(map(str, about["load_average"]))
    return (
        f"*{about['date']}: {about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}, "
        f"{versions}; {about['priority']}; load average at the begin {load}; `{about['command']}`*"
    )


if __name__ == "__main__":
    os.environ.update(PATH=PATH, OMP_NUM_THREADS="1")
    main(sys.argv[1:])
