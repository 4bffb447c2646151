"""Measures drift adaptation: false alarms against the stated rate, delays, accuracy regained.
JSON; `--quick` for a look.
"""

import json
import sys
from typing import Any

import numpy as np

from benchmarks.drift_alarms import Answers, alarms, guarded, world
from benchmarks.drift_world import Drive, clear, day, night
from drift.settings import DriftSettings

MIX = np.array([0.85, 0.15, 0.0, 0.0, 0.0])
KINDS: dict[str, dict[str, Any]] = {
    "margin - 2": {"shift": 2.0},
    "margin - 3": {"shift": 3.0},
    "class mix 85/15": {"mix": MIX},
}


def false_alarms(hours: float, sites: int, stated: float, reference_s: float) -> dict[str, float]:
    """Counts alarms without drift, 4 streams, defaults; each site has its own reference of `reference_s` seconds."""
    settings = DriftSettings(false_alarms_per_day=stated)
    found = [
        len(alarms(guarded(settings, world(reference_s, i)), settings, hours * 3600, 100 + i)) for i in range(sites)
    ]
    days = hours * sites / 24
    return {
        "reference_s": reference_s,
        "stated_per_day": stated,
        "days": days,
        "alarms": sum(found),
        "per_day": sum(found) / days,
    }


def delays(sites: int, reference_s: float, limit_s: float = 90) -> dict[str, dict[str, Any]]:
    """Returns the seconds from the drift to the alarm; the window is empty at the start, as
    after a change of variant.
    """
    settings, table = DriftSettings(), {}
    for name, options in KINDS.items():
        seen = []
        for i in range(sites):
            watch = guarded(settings, world(reference_s, 50 + i))
            found = alarms(
                watch, settings, limit_s, i, make=lambda rng, _, o=options: Answers(rng, **o), stop_at_first=True
            )
            seen += [found[0].at_ns / 1e9] if found else []
        table[name] = {"caught": f"{len(seen)}/{sites}", "median_s": float(np.median(seen)) if seen else None}
    return table


def repairs(seeds: int) -> list[dict[str, Any]]:
    """Returns alarm, promotion and accuracies for a drift at 30 s of a run of 90 s, one row per seed."""
    rows = []
    for seed in range(seeds):
        drive = Drive(
            DriftSettings(models=("vehicles",)), seed=seed, condition=lambda s: night if s >= 30 else day
        ).run(90)
        before, after = drive.accuracy(0, 30), drive.accuracy(65, 90)
        told = [s for s, _ in drive.told("alarm") if s >= 30], [s for s, _ in drive.told("promotion")]
        drifted = drive.accuracy(30, told[1][0] if told[1] else 90)
        rows.append({
            "seed": seed,
            "alarm_s": told[0][0] - 30 if told[0] else None,
            "promoted_s": told[1][0] - 30 if told[1] else None,
            "before": before, "drifted": drifted, "after": after, "regained": (after - drifted) / (before - drifted),
        })  # fmt: skip
    return rows


def harmless(seeds: int) -> dict[str, int]:
    """Counts alarms, responses and promotions under a drift that does no harm."""
    told = {"alarms": 0, "responses": 0, "promotions": 0}
    for seed in range(seeds):
        drive = Drive(
            DriftSettings(models=("vehicles",)), seed=seed, condition=lambda s: clear if s >= 30 else day
        ).run(90)
        for kind in told:
            told[kind] += len(drive.told(kind[:-1]))
    return told


def main(quick: bool) -> dict[str, Any]:
    """Returns all figures."""
    hours, sites, seeds = (0.25, 2, 3) if quick else (2.0, 12, 10)
    return {
        "false_alarms": [false_alarms(hours, sites, 1.0, reference_s) for reference_s in (60, 300)],
        "delays": delays(4 if quick else 12, 300),
        "repairs": repairs(seeds),
        "harmless": harmless(seeds),
    }


if __name__ == "__main__":
    print(json.dumps(main(quick="--quick" in sys.argv), indent=1))
