"""Sets up all pictures alike: matplotlib's settings, two widths, and SVG whose colours follow the page."""

import io
from collections.abc import Callable
from typing import Any

from cli.drawing.palette import LIGHT, inline, themed
from porting.errors import UserError

WIDE_IN, NARROW_IN = 9.2, 4.1  # a laptop's column and a phone's
STYLE = {
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "none",  # text stays text: small files, and the page's own fonts
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LIGHT["grid"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.titlecolor": LIGHT["ink"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["grid"],
    "grid.linewidth": 0.8,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def styled(**more: Any) -> Any:
    """Returns a context in which figures are drawn. Raises `UserError` where matplotlib is missing."""
    try:
        from matplotlib import rc_context
    except ImportError:
        raise UserError("pictures need matplotlib (extra `demo`); pip install matplotlib") from None
    wanted: Any = {**STYLE, **more}  # matplotlib types its keys as literals
    return rc_context(wanted)


def svg(draw: Callable[[], Any], salt: str) -> str:
    """Returns the figure that `draw` makes as inline SVG with CSS variables for colours; equal
    figures give equal bytes.
    """
    with styled(**{"svg.hashsalt": salt}):
        out = io.StringIO()
        draw().savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return themed(inline(out.getvalue()))
