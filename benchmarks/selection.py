"""Compares choosing one variant with combining several: accuracy and device time before and
after a drift. A table; `--quick` for a look.

One model in four variants on one simulated lane, requests at random, feedback on every third of them a second later.
Halfway the world changes, and the best variant becomes the worst.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from edge.answers.cocktail import Cocktail
from edge.answers.ensemble import Ensemble
from edge.answers.exp3 import Exp3
from edge.answers.exp4 import Exp4
from edge.answers.single import Single
from edge.core.interfaces import AnswerRule
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from edge.policies.wrappers.straggler_mitigation import StragglerMitigation
from evaluation.accuracy_model import Examiner, Mark, Truth
from evaluation.arrivals.registry import process
from evaluation.arrivals.request import Arrival, requests_of, stream_rng
from evaluation.metrics.lane_timeline import LaneTimeline
from evaluation.presets import MEMBERS, ensemble_of
from evaluation.scenario import Scenario, play

SECOND_NS = 1_000_000_000
BEFORE = {f"photo/{name}": accuracy for name, (_, _, accuracy) in MEMBERS.items()}
AFTER = {"photo/narrow": 0.66, "photo/medium": 0.62, "photo/dense": 0.68, "photo/wide": 0.50}
LABELLED = 1 / 3
SLO_NS = 100_000_000

ANSWERS: Mapping[str, Callable[[], AnswerRule]] = {
    **{f"{name} alone": lambda name=name: Single("photo", name) for name in MEMBERS},
    "Exp3": lambda: Exp3("photo"),
    "ensemble of all": lambda: Ensemble("photo"),
    "Exp4": lambda: Exp4("photo"),
    "Cocktail, target 0.80": lambda: Cocktail("photo", target=0.80),
    "Cocktail, target 0.70": lambda: Cocktail("photo", target=0.70),
}


@dataclass(frozen=True)
class Part:
    """Holds the results of one half of a run."""

    right: float  # of the answers
    good: float  # right and in time, of all requests
    members: float  # that an answer is made of, on average
    busy: float  # share of the lane's time


def measured(answer: AnswerRule, rate: float, alike: float, half_s: float, seed: int) -> tuple[Part, Part]:
    """Runs one rule and returns its results before and after the drift."""
    times_ns = process("poisson").times(stream_rng("selection", "photo", seed), rate, round(2 * half_s * SECOND_NS))
    requests = requests_of([Arrival(time_ns, "gate", "photo", SLO_NS) for time_ns in times_ns.tolist()])
    drift_ns = round(half_s * SECOND_NS)
    truth = Truth(seed, ((0, BEFORE), (drift_ns, AFTER)), alike=alike, skew=0.5)
    scenario = Scenario("selection", (ensemble_of("photo"),), requests, {"photo": answer}, seed=seed)
    examiner, recorder = Examiner(truth, scenario.answers, LABELLED, delay_ms=1000), LaneTimeline()
    play(scenario, complete(StragglerMitigation(EarliestDeadlineFirst(32))), Table(margin=1.06), (examiner, recorder))

    def part(begin_ns: int, end_ns: int) -> Part:
        marks = [mark for mark in examiner.marks if begin_ns <= mark.request.arrived_ns < end_ns]
        asked = sum(begin_ns <= request.arrived_ns < end_ns for request in requests)
        busy = sum(work.took_ns for work in recorder.works if begin_ns <= work.began_ns < end_ns)
        return part_of(marks, asked, busy / (end_ns - begin_ns))

    return part(0, drift_ns), part(drift_ns, 2 * drift_ns)


def part_of(marks: Sequence[Mark], asked: int, busy: float) -> Part:
    right = mean(mark.right for mark in marks)
    good = sum(mark.good for mark in marks) / asked
    return Part(right, good, mean(len(mark.members) for mark in marks), busy)


def averaged(parts: Sequence[Part]) -> Part:
    names = ("right", "good", "members", "busy")
    return replace(parts[0], **{name: mean(getattr(part, name) for part in parts) for name in names})


def lines(rate: float, alike: float, half_s: float, seeds: int) -> list[str]:
    """Returns the table in Markdown."""
    shown = [f"{rate:g} requests/s, mistakes alike by {alike:g}, {half_s:g} s before and after, {seeds} seeds"]
    shown += ["", "| answer | right | good | members | busy | right after | good after | members | busy |"]
    shown += ["|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name, make in ANSWERS.items():
        halves = [measured(make(), rate, alike, half_s, seed) for seed in range(seeds)]
        before, after = (averaged([half[at] for half in halves]) for at in (0, 1))
        cells = [f"{x.right:.3f} | {x.good:.3f} | {x.members:.2f} | {x.busy:.2f}" for x in (before, after)]
        shown.append(f"| {name} | {' | '.join(cells)} |")
    return [*shown, ""]


def main(quick: bool) -> None:
    half_s, seeds = (30.0, 2) if quick else (60.0, 5)
    for rate, alike in ((40.0, 0.3), (40.0, 0.7), (120.0, 0.3)):
        print("\n".join(lines(rate, alike, half_s, seeds)), flush=True)


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
