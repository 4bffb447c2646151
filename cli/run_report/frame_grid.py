"""Draws sample frames side by side as one picture, for pages that cannot hold the report's own:
before, drifted, after.
"""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from cli.drawing.palette import LIGHT
from cli.run_report.pictures import PictureData
from cli.run_report.recording.matching import Pair, box_of, classifiers
from cli.run_report.recording.phases import PHASES
from cli.run_report.samples import FrameSample, samples, verdict
from cli.run_report.summary import summarize
from porting.images import decode

COLOURS = {"right": "#1a7f37", "wrong": "#cf222e", "missed": "#bf8700", "false": "#6f42c1"}
ROWS = 2


def frame_grid(scene: PictureData, width_in: float) -> Any:
    """Draws one column per phase, at most two frames each; boxes as the daemon answered, coloured by the truth."""
    kept = samples(scene.run, summarize(scene.run, scene.score))
    labelled = set(classifiers(scene.run.settings))
    figure, axes = plt.subplots(ROWS, len(PHASES), figsize=(width_in, width_in * 0.5), squeeze=False)
    for column, phase in enumerate(PHASES):
        mine = [sample for sample in kept if sample.phase == phase][:ROWS]
        for row in range(ROWS):
            axes[row, column].set_axis_off()
            if row < len(mine):
                draw(axes[row, column], mine[row], labelled)
        axes[0, column].set_title(phase, loc="left", fontsize=11, color=LIGHT["ink"])
    figure.subplots_adjust(0, 0, 1, 0.94, 0.02, 0.02)
    return figure


def draw(axes: Any, sample: FrameSample, labelled: set[str]) -> None:
    axes.imshow(decode(sample.jpeg))
    for pair in sample.pairs:
        mark(axes, pair, verdict(pair, labelled))


def mark(axes: Any, pair: Pair, what: str) -> None:
    """Draws one box with its label; nothing for an object without a box."""
    place = box_of(pair.said or pair.true or {})
    if place is None:
        return
    x1, y1, x2, y2 = place
    colour = COLOURS[what]
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.4))
    word = "missed" if pair.said is None else str(pair.said.get("label"))
    axes.text(
        x1,
        y1 - 2,
        word,
        fontsize=6.5,
        color="white",
        clip_on=True,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
    )
