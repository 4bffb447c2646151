"""Writes the page docs/measurements/schedulers.md from what `leeway bench schedulers --json FILE` wrote."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs/measurements/schedulers.md"
OURS = "leeway"
Row = dict[str, Any]


def share(row: Row) -> str:
    """Returns the attainment, and that of the model served worst, in percent."""
    return f"{100 * row['attainment']:.1f} ({100 * row['attainment_min']:.1f})"


def best_other(rows: dict[str, Row]) -> Row:
    return max((row for name, row in rows.items() if not name.startswith(OURS)), key=lambda row: row["goodput"])


def seeds_of(table: dict[str, Any]) -> int:
    seeds = table["rows"][0]["seeds"]
    return seeds if isinstance(seeds, int) else len(seeds)


def page(table: dict[str, Any], command: str) -> str:
    """Returns the page in Markdown."""
    groups: dict[tuple[str, float], dict[str, Row]] = defaultdict(dict)
    for row in table["rows"]:
        groups[row["arrivals"], row["load"]][row["system"]] = row
    lines = [
        "# Schedulers on the same requests",
        "",
        f"Written by `python -m benchmarks.schedulers` from what `{command}` measured.",
        "",
        "Shares of all requests answered in time, in percent; in brackets those of the model served worst. Means over "
        f"{seeds_of(table)} traces each. *Bound*: what no scheduler can exceed, even one that knows the future.",
        "",
        "| arrivals | load | bound | leeway | best of the others | clockwork | leeway_fair | leeway_goodput |",
        "|---|---:|---:|---:|---|---:|---:|---:|",
    ]
    for (arrivals, load), rows in sorted(groups.items()):
        ours, other = rows[OURS], best_other(rows)
        bound = 100 * ours["bound"] / ours["offered_rps"]
        cells = [arrivals, f"{load:g}", f"{bound:.1f}", share(ours), f"{other['system']} {share(other)}"]
        cells += [share(rows[name]) for name in ("clockwork", "leeway_fair", "leeway_goodput")]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Every system", ""]
    columns = sorted(groups)
    lines.append(f"| system | {' | '.join(f'{arrivals} {load:g}' for arrivals, load in columns)} |")
    lines.append("|---|" + "---:|" * len(columns))
    names = {name for rows in groups.values() for name in rows}
    middle = groups[columns[len(columns) // 2]]
    for name in sorted(names, key=lambda name: -middle[name]["goodput"]):
        lines.append(f"| {name} | {' | '.join(share(groups[column][name]) for column in columns)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    source, *command = sys.argv[1:]
    PAGE.write_text(page(json.loads(Path(source).read_text()), " ".join(command) or "leeway bench schedulers"))
    print(PAGE)
