"""Compares live and virtual time: the same frames to the daemon's own parts, and to the same box in virtual time.

Run `python -m benchmarks.live_virtual simulated`, or `cpu`; frames come from within, so that no network is measured.
"""

import argparse
import json
import shlex
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from statistics import fmean, median
from tempfile import TemporaryDirectory
from time import monotonic_ns, sleep
from typing import Any

from benchmarks import live_boxes
from benchmarks.live_boxes import Box
from edge.core.events import Event, Reply, Time
from edge.core.interfaces import Moment
from edge.data.job import InFlightRequest
from edge.sources.source import frame_now
from evaluation.arrivals.measured_durations import RecordedDurations
from evaluation.arrivals.recording import Recording, recording_of, scenario_from
from evaluation.arrivals.request import Arrival
from evaluation.capacity import recorded_daemon
from evaluation.capacity.dry_run import telling_of
from evaluation.capacity.search import quantile, system_of
from evaluation.scenario import Scenario, play
from porting.variant import Stage

HEAD_START_NS = 50_000_000  # until the first frame
ARRIVALS, LOADS = ("poisson", "gamma4"), (0.6, 0.9, 1.2)
POINTS_MAX, P99_MAX = 2.0, 0.10  # aims: points of attainment; share of the p99


# ---- live ----------------------------------------------------------------------------------------------------------


@dataclass
class Player(recorded_daemon.NoLabels):
    """Sends each frame at its time, whatever becomes of the ones before, and waits for all answers."""

    arrivals: Sequence[Arrival]
    shots: Sequence[bytes]
    told: list[tuple[Reply, Time, Time]] = field(default_factory=list)  # and its latency, and how late it was; ns
    answered_ns: dict[int, Time] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)  # why

    def drive(self, receive: recorded_daemon.Receive) -> None:
        begin_ns = monotonic_ns() + HEAD_START_NS
        for number, arrival in enumerate(self.arrivals):
            sleep(max(0.0, (begin_ns + arrival.arrived_ns - monotonic_ns()) / 1e9))
            receive(frame_now(arrival.stream, self.shots[number % len(self.shots)]))
        while len(self.told) + len(self.lost) < len(self.arrivals):
            sleep(0.01)

    def dropped(self, camera: str, app: str, reason: str) -> None:
        self.lost.append(reason)

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        request = opened.request
        assert request.deadline_ns is not None
        self.told.append((reply, now - request.arrived_ns, now - request.deadline_ns))
        if reply.outcome == "ok":
            self.answered_ns[request.id] = now


@dataclass(frozen=True)
class Got:
    """Holds the result of one run. `p50_ms`, `p99_ms`: of answered frames."""

    attainment: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, told: Sequence[tuple[Reply, Time, Time]]) -> "Got":
        answered = [(latency_ns / 1e6, late_ns) for reply, latency_ns, late_ns in told if reply.outcome == "ok"]
        latencies_ms = [latency_ms for latency_ms, _ in answered]
        met = sum(late_ns <= 0 for _, late_ns in answered)
        return cls(met / len(told), quantile(latencies_ms, 0.5) or 0.0, quantile(latencies_ms, 0.99) or 0.0)


def live(box: Box, arrivals: Sequence[Arrival]) -> tuple[Got, Recording, Time]:
    """Runs in real time; returns the result, the recording, and the median time to deliver an answer."""
    player = Player(arrivals, box.shots)
    recorded = recorded_daemon.serve(box.config, player)
    assert not player.lost, f"frames that never became requests: {player.lost[:3]}"
    recording = recording_of(recorded.lines(), "live", by_events=True)
    return Got.of(player.told), recording, telling_of(recorded, player.answered_ns)


# ---- virtual -------------------------------------------------------------------------------------------------------


@dataclass
class AsThen(RecordedDurations):
    """Gives a run the duration of the recorded run that ended nearest in time, so that the machine's other load repeats
    itself. It is an observer in order to know the time.
    """

    ended_ns: Mapping[tuple[str, int, str], Sequence[Time]] = field(default_factory=dict)
    now: Time = 0

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        self.now = moment.now
        return ()

    def draw_ns(self, stage: Stage, batch: int, lane: str, random: Random) -> int:
        """Returns the duration of the recorded run that ended nearest to now."""
        key = (stage.graph, batch, lane)
        if key not in self.ended_ns:
            return super().draw_ns(stage, batch, lane, random)
        times = self.ended_ns[key]
        after = min(bisect_left(times, self.now), len(times) - 1)
        nearest = min((max(0, after - 1), after), key=lambda at: abs(times[at] - self.now))
        return self.durations_ns[key][nearest]


def virtual(box: Box, scenario: Scenario, telling_ns: Time) -> Got:
    """Runs in virtual time."""
    system = system_of(box.config)
    observers = (scenario.profile,) if isinstance(scenario.profile, AsThen) else ()
    made = replace(scenario, answers=system.make_answers(scenario.answers))
    world = play(made, system.make_policy(), system.make_estimator(), (*observers, *system.make_planners()))
    due = {each.id: each for each in world.requests}
    replies = [(reply, due[reply.request_id], at + telling_ns) for at, reply in world.replies]
    return Got.of([(reply, at - asked.arrived_ns, at - (asked.deadline_ns or 0)) for reply, asked, at in replies])


# ---- both ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Holds both results. `explained`: in virtual time with what this run's works took;
    `predicted`: with what a dry run's took.
    """

    live: Got
    explained: Got
    predicted: Got
    frames: int


def run(box: Box, kind: str, load: float, seed: int, seconds: float) -> Run:
    """Runs live, then virtually with the durations of that run and with those of the dry run."""
    config = box.config
    arrivals = box.arrivals(kind, load, seed, seconds)
    got, recording, telling_ns = live(box, arrivals)
    waiting = {each.stream: entry.waiting_max for each in arrivals if (entry := config.stream(each.stream))}
    answers = {name: app.build() for name, app in config.apps.items()}
    scenario = scenario_from(recording, Path(box.name), answers, seed, waiting_max=waiting)
    own = AsThen({key: tuple(took) for key, took in recording.took_ns.items()}, ended_ns=recording.ended_ns)
    explained = virtual(box, replace(scenario, profile=own), telling_ns)
    dry_run = box.dry_run
    predicted = virtual(box, replace(scenario, profile=dry_run.profile()), dry_run.telling_ns)
    return Run(got, explained, predicted, len(arrivals))


def measure(kind: str, system: str, seconds: float, seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Returns the runs by seed for each arrival process and load."""
    make = {"simulated": live_boxes.simulated, "cpu": live_boxes.cpu}[kind]
    with TemporaryDirectory() as folder:
        box = make(Path(folder), system)
        found = []
        for arrivals in ARRIVALS:
            for load in LOADS:
                say(f"{arrivals}, load {load:g}")
                box = box.tried_again()
                runs = [run(box, arrivals, load, seed, seconds) for seed in range(seeds)]
                found.append({"arrivals": arrivals, "load": load, "runs": [asdict(each) for each in runs]})
    return {"box": kind, "system": system, "seconds": seconds, "capacity_rps": sum(box.rates.values()), "found": found}


def lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yields the table in Markdown. Attainments are means over the seeds, latencies and their differences medians."""
    yield "| arrivals | load | frames | live: in time | p99 ms | explained: points | p99 | predicted: points | p99 |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for row in figures["found"]:
        runs = row["runs"]
        attainment = fmean(each["live"]["attainment"] for each in runs)
        p99_ms = median(each["live"]["p99_ms"] for each in runs)
        cells = [row["arrivals"], f"{row['load']:g}", f"{sum(each['frames'] for each in runs):,}",
                 f"{attainment:.1%}", f"{p99_ms:.1f}"]  # fmt: skip
        for kind in ("explained", "predicted"):
            points, share = differences(runs, kind)
            cells += [f"{points:+.2f}{mark(points, POINTS_MAX)}", f"{share:+.1%}{mark(share, P99_MAX)}"]
        yield f"| {' | '.join(cells)} |"


def differences(runs: Sequence[Mapping[str, Any]], kind: str) -> tuple[float, float]:
    """Returns virtual less live: points of attainment, and the p99 as a share."""
    points = 100 * fmean(each[kind]["attainment"] - each["live"]["attainment"] for each in runs)
    return points, median(each[kind]["p99_ms"] / each["live"]["p99_ms"] - 1 for each in runs)


def mark(value: float, most: float) -> str:
    """Returns a mark for a difference larger than it should be."""
    return "" if abs(value) <= most else " !"


def main() -> None:
    """Measures one box, writes JSON and prints the table."""
    from benchmarks.__main__ import RESULTS
    from benchmarks.rig import machine

    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_virtual", description=__doc__)
    parser.add_argument("box", choices=("simulated", "cpu"))
    parser.add_argument("--system", default="leeway", help="of edge/systems")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    about = {**machine(), "command": shlex.join(["python", "-m", "benchmarks.live_virtual", *sys.argv[1:]])}
    figures = measure(
        options.box, options.system, options.seconds, options.seeds, lambda words: print(words, flush=True)
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = f"live_virtual-{options.box}-{options.system}.json"
    (RESULTS / name).write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")
    print("\n".join(lines(figures)))


if __name__ == "__main__":
    main()
