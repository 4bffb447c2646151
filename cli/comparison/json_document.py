"""Writes a comparison as JSON: each row with seeds, intervals and differences, and what is needed to run it again."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cli.comparison.options import Comparison
from cli.comparison.system_cards import cards
from cli.output import plain
from evaluation.comparison import digest
from evaluation.metrics.outcome import RunOutcome
from evaluation.metrics.summary import SummaryRow
from evaluation.scenario import Scenario
from porting.errors import UserError

Json = dict[str, Any]


def document(asked: Comparison, rows: Sequence[SummaryRow], outcomes: Sequence[RunOutcome], complete: bool) -> Json:
    """Returns the document that `--json` writes.

    `complete`: whether all runs ended; else the rows are over the seeds for which all did.
    """
    estimator = asked.estimator.model_dump() if asked.estimator else "own"
    return {
        "complete": complete,  # False: interrupted; rows are over the seeds that had ended
        "baseline": asked.baseline,
        "estimator": estimator,
        "notes": list(asked.notes),
        "trouble": [
            {"system": one.system, "facts": one.facts, "trouble": one.trouble} for one in outcomes if one.trouble
        ],
        "rows": [flat(row) for row in rows],
        "scenarios": [facts(scenario) for scenario in asked.scenarios],
        "systems": cards(asked.systems),
        "versions": versions(),
    }


def flat(row: SummaryRow) -> Json:
    """Returns a row with its means at the top, so that `jq '.rows[] | .goodput'` finds them."""
    return {
        "system": row.system,
        **row.facts,
        **{metric: row[metric] for metric in row.numbers},
        "bound_method": row.bound_method,
        "attainment_of": dict(row.attainment_of),
        "interval": {metric: [found.low, found.high] for metric, found in row.numbers.items() if found},
        "versus": {metric: asdict(difference) for metric, difference in row.versus.items()},
        "seeds": list(row.seeds),
        "by_seed": dict(row.by_seed),
    }


def facts(scenario: Scenario) -> Json:
    """Returns what a scenario is; equal `digest` means that two comparisons were of the same requests."""
    return {
        "name": scenario.name,
        **scenario.facts,
        "requests": len(scenario.requests),
        "digest": digest(scenario),
        "models": sorted({served.variant.model for served in scenario.served}),
        "lanes": {lane.lane: lane.kind for lane in scenario.lanes},
        "slowdown": scenario.slowdown,
    }


def versions() -> Mapping[str, str]:
    """Returns the machine's architecture and the versions of Python, Leeway, NumPy and SciPy."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("leeway", "numpy", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "from its folder"
    return found


def write(path: Path, text: str) -> None:
    """Writes a text file. Raises `UserError` where that is not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def as_text(value: Json) -> str:
    return json.dumps(value, default=plain, indent=1, ensure_ascii=False) + "\n"
