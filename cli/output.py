"""Prints what every verb returns: a table for people or JSON for programs, and one line on stderr for an error."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:  # Rich takes a tenth of a second to import: only who prints a table pays
    from rich.console import Console, RenderableType
    from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]


def emit(value: Any, shown: "RenderableType", as_json: bool) -> None:
    """Prints `value` as JSON, or `shown` for people. JSON takes dataclasses, paths, sets, tuples and NumPy values."""
    if as_json:
        print(json.dumps(value, default=plain, indent=2, ensure_ascii=False))
    else:
        console().print(shown)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> "Table":
    """Returns a plain table; a column named with a leading `>` is aligned to the right. Cells are text, not markup."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, box=None, pad_edge=False, header_style="bold", title_justify="left")
    for column in columns:
        drawn.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text("" if cell is None else str(cell)) for cell in row))
    return drawn


def console() -> "Console":
    """Returns a Rich console on stdout: colours on a terminal, none into a pipe or where
    `NO_COLOR` is set (Rich checks that).
    """
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def complain(message: object) -> None:
    """Prints one line on stderr; line breaks in the message become spaces."""
    print(f"leeway: {' '.join(str(message).split())}", file=sys.stderr)


def plain(value: Any) -> Any:
    """Returns a JSON value for a value that JSON does not know. Raises `TypeError` where there is none."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays, without importing NumPy
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
