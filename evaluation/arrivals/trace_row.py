"""Holds an arrival with its place in a file, and parses numbers with errors that name the place."""

from dataclasses import dataclass

from evaluation.arrivals.request import Arrival
from porting.errors import UserError


@dataclass(frozen=True, slots=True)
class TraceRow:
    """Holds one arrival and where it was read: `where` is "file:line"."""

    where: str
    arrival: Arrival


def number(value: object, where: str, what: str, least: float = 0.0) -> float:
    """Returns a value as a float, at least `least`. Raises `UserError`."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = float("nan")
    if isinstance(value, bool) or not least <= found < 1e18:  # catches NaN as well
        raise UserError(f"{where}: {what} is {value!r}; expected a number, {least:g} or more")
    return found


def whole(value: object, where: str, what: str, least: int = 0) -> int:
    """Returns a value as an integer, at least `least`, without passing through a float: nanoseconds of a year have more
    digits than one holds. Raises `UserError`.
    """
    try:
        found = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except ValueError:
        found = None
    if found is None or not least <= found < 2**62:
        raise UserError(f"{where}: {what} is {value!r}; expected a whole number, {least} or more")
    return found
