"""Builds a page as one self-contained file, light or dark, from tiles, tables and pictures."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from cli.drawing.palette import DARK, LIGHT, css
from cli.drawing.tile import Tile


def document(title: str, body: str) -> str:
    """Returns the whole page."""
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>:root{{{css(LIGHT)}}}@media(prefers-color-scheme:dark){{:root{{{css(DARK)}}}}}\n{style}"
        f"</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


def tiled(shown: Iterable[Tile]) -> str:
    """Returns the tiles in a row."""
    marks = {"good": ' <span class="mark">✓</span>', "bad": ' <span class="mark">✗</span>', "plain": ""}
    cells = "".join(
        f'<div class="tile {t.verdict}"><div class="name">{escape(t.name)}</div>'
        f'<div class="value">{escape(t.value)}{marks[t.verdict]}</div>'
        f'<div class="detail">{escape(t.detail)}</div></div>'
        for t in shown
    )
    return f'<div class="tiles">{cells}</div>'


def notes(said: Sequence[str]) -> str:
    return "".join(f'<p class="note">Note: {escape(note)}</p>' for note in said)


def illustrated(title: str, hint: str, wide: str, narrow: str) -> str:
    """Returns a picture under its title, drawn for laptops and for phones."""
    return f'<h2>{title}</h2><p class="hint">{hint}</p><div class="wide">{wide}</div><div class="narrow">{narrow}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str]) -> str:
    """Returns a table of cells that are HTML already. A column's kind is its class: `n`umbers, a
    `name`, `words` that may wrap.
    """
    top = "".join(f'<th class="{kind}">{name}</th>' for kind, name in zip(kinds, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'
