"""Defines the report's colours by role, and turns a picture drawn in the light ones into part of
a page of either kind.
"""

LIGHT = {
    "ink": "#1c2733",
    "muted": "#5f6b76",
    "grid": "#dde3e8",
    "line": "#2a5db0",
    "second": "#8fa3b8",
    "drift": "#f3e6c8",
    "alarm": "#c46a00",
    "audit": "#6d4cc2",
    "promotion": "#1a8245",
    "rollback": "#c02f2f",
    "inference": "#3b7fc4",
    "training": "#2c9c6c",
    "labelling": "#b26fd0",
    "loading": "#caa42a",
    "idle": "#e9edf1",
    "paper": "#fefefe",
}
DARK = {
    "ink": "#e4eaf0",
    "muted": "#9aa8b5",
    "grid": "#2f3a45",
    "line": "#7db0ff",
    "second": "#71869b",
    "drift": "#3a3220",
    "alarm": "#ffa94d",
    "audit": "#b79bff",
    "promotion": "#58d08c",
    "rollback": "#ff7b72",
    "inference": "#4f94da",
    "training": "#3db585",
    "labelling": "#c58be0",
    "loading": "#d9b846",
    "idle": "#27313b",
    "paper": "#161d25",
}


def themed(svg: str) -> str:
    """Returns the picture with every colour of the palette as `var(--role)`."""
    for role, value in LIGHT.items():
        svg = svg.replace(value, f"var(--{role})")
    return svg


def inline(document: str) -> str:
    """Returns an SVG document without its prologue, scaled by the page: only the view box gives its size."""
    body = document[document.index("<svg") :]
    head, rest = body.split(">", 1)
    kept = [part for part in head.split('"') if part]
    pairs = dict(zip((k.strip().rstrip("=") for k in kept[0::2]), kept[1::2], strict=False))
    box = pairs.get("viewBox", "0 0 1 1")
    return f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}" role="img">{rest}'


def css(colours: dict[str, str]) -> str:
    return "".join(f"--{role}:{value};" for role, value in colours.items())
