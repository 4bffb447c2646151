"""Reads any trace file of a known kind: detects the kind, and says in one line what is wrong with it.

Kinds: our own CSV; the Azure LLM traces; DISB's JSON; the intervals file of Triton's perf_analyzer.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.core.events import Request, Served, Time
from edge.core.interfaces import AnswerRule
from evaluation.arrivals import azure_trace, disb_trace, intervals, trace_table
from evaluation.arrivals.load_scaling import cost_of
from evaluation.arrivals.request import Arrival, Workload
from evaluation.arrivals.trace_row import TraceRow
from porting.errors import UserError

SECOND_NS = 1_000_000_000
BYTES_MAX = 1 << 30
KNOWN = "our CSV (arrival_ns,stream,model,slo_ms,size), an Azure LLM CSV, DISB JSON, gaps in µs one a line"


@dataclass(frozen=True)
class Limits:
    """Holds what the arrivals of a file are checked against.

    `models`: models and apps that may be asked for; None: any. An arrival without a model is not checked, since the
    caller assigns one. `fastest_ns`: by model or app: no deadline may be shorter. `hole_s`: silence in s that is worth
    a note.
    """

    models: Collection[str] | None = None
    fastest_ns: Mapping[str, Time] | None = None
    hole_s: float = 10.0


def read(
    path: Path,
    model: str = "model",
    slo_ms: float | None = None,
    seed: int = 0,
    limits: Limits | None = None,
) -> Workload:
    """Returns the workload of a file.

    Args:
        path: the file.
        model: for kinds of file that do not name one.
        slo_ms: for kinds of file that do not state one. When it is None, DISB's streams have their period for a
            deadline, and other arrivals are background work.
        seed: of DISB's random loads.
        limits: what to check; None: the defaults.

    Raises:
        UserError: names file and line.
    """
    lines = text_of(path).splitlines()
    slo_ns = None if slo_ms is None else round(slo_ms * 1e6)
    rows: Iterable[TraceRow]
    notes: tuple[str, ...] = ()
    match kind_of(path, lines):
        case "disb":
            rows, notes = disb_trace.rows(path, "\n".join(lines), slo_ns, seed)
        case "azure":
            rows, notes = (
                azure_trace.rows(path, lines, model, slo_ns),
                ("token counts are not used: every line is one request",),
            )
        case "csv":
            rows = trace_table.rows(path, lines)
        case _:
            rows = intervals.rows(path, lines, model, slo_ns)
    return checked(path, rows, limits or Limits(), notes)


def text_of(path: Path) -> str:
    """Returns the text of a file. Raises `UserError` when it is unreadable, too large or not UTF-8."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise UserError(f"{path}: larger than {BYTES_MAX >> 30} GiB; cut it")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give the path of a trace file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is no UTF-8; expected {KNOWN}") from None


def kind_of(path: Path, lines: list[str]) -> str:
    """Returns the kind of a file: "disb", "azure", "csv" or "intervals". Raises `UserError`."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if not first:
        raise UserError(f"{path}: empty; expected {KNOWN}")
    if first.startswith('{"now"'):
        raise UserError(f"{path}: a trace of the daemon, which is more than arrivals; replay it as a recording")
    if first[0] in "{[":
        return "disb"
    if first.upper().startswith("TIMESTAMP,"):
        return "azure"
    if "arrival_ns" in first.split(","):
        return "csv"
    if "," not in first:
        return "intervals"
    raise UserError(f"{path}:1: {first[:60]!r} begins no trace; expected {KNOWN}")


def checked(path: Path, rows: Iterable[TraceRow], limits: Limits, notes: tuple[str, ...]) -> Workload:
    """Returns the workload after checking each row and the order of time. Raises `UserError`."""
    arrivals: list[Arrival] = []
    holes: list[str] = []
    last_ns: Time = 0
    for row in rows:
        arrival = row.arrival
        check(row, last_ns, limits)
        if arrival.arrived_ns - last_ns > limits.hole_s * SECOND_NS:
            holes.append(f"{row.where}: nothing for {(arrival.arrived_ns - last_ns) / SECOND_NS:.1f} s before it")
        last_ns = arrival.arrived_ns
        arrivals.append(arrival)
    if not arrivals:
        raise UserError("; ".join([f"{path}: no arrivals in it", *notes]))
    return Workload(tuple(arrivals), (*notes, *few(holes)))


def few(notes: list[str], most: int = 3) -> list[str]:
    """Returns the first `most` notes, and one that counts the rest."""
    return notes if len(notes) <= most else [*notes[:most], f"and {len(notes) - most} more such holes"]


def check(row: TraceRow, last_ns: Time, limits: Limits) -> None:
    """Raises `UserError` for a row that is out of order, asks for an unknown model, or has a
    deadline no lane can keep.
    """
    arrival, where = row.arrival, row.where
    if arrival.arrived_ns < 0:
        raise UserError(f"{where}: arrival at {arrival.arrived_ns} ns; times count from 0")
    if arrival.arrived_ns < last_ns:
        raise UserError(f"{where}: arrival at {arrival.arrived_ns} ns after one at {last_ns} ns; sort the file by time")
    if limits.models is not None and arrival.model and arrival.model not in limits.models:
        known = ", ".join(sorted(limits.models)) or "none"
        raise UserError(f"{where}: no model is called {arrival.model!r}; there is {known}")
    fastest_ns = (limits.fastest_ns or {}).get(arrival.model, 0)
    if arrival.slo_ns is not None and arrival.slo_ns < max(1, fastest_ns):
        raise UserError(
            f"{where}: {arrival.model!r} within {arrival.slo_ns / 1e6:g} ms cannot be:"
            f" alone on an idle lane it takes {fastest_ns / 1e6:g} ms"
        )


def limits_of(
    served: Iterable[Served], answers: Mapping[str, AnswerRule] | None = None, hole_s: float = 10.0
) -> Limits:
    """Returns limits with the served models and apps and how fast each is alone (a cascade:
    where the detector finds nothing).
    """
    fastest_ns = {each.variant.model: min(cost_of(each).durations_ns.values()) for each in served}
    for app, answer in (answers or {}).items():
        first = answer.opened(Request(0, app, "", 0))
        fastest_ns[app] = max(fastest_ns.get(opening.model, 0) for opening in first)
    return Limits(frozenset(fastest_ns), fastest_ns, hole_s)
