"""Writes the report of a run folder: report.json first, then report.html beside it, each atomically."""

import json
import os
from pathlib import Path

from cli.run_report.recording.folder import RunFolder, read_run
from cli.run_report.recording.matching import Score, score
from cli.run_report.summary import Json, summarize
from porting.errors import UserError


def report_of(folder: Path) -> Json:
    """Returns what report.json of this folder holds, without writing it. Raises `UserError` for
    a folder without a run.
    """
    run = read_run(folder)
    return summarize(run, score(run))


def write_report(folder: Path, beside: Path | None = None) -> Json:
    """Writes `report.json` and `report.html` into the folder; returns the former. `beside`: the same run, frozen.

    Raises `UserError` for a folder without a run, for a full disk, and, after report.json, where matplotlib is missing.
    """
    from cli.run_report.page import page
    from cli.run_report.pictures import PictureData

    judged = _judged(folder)
    report = summarize(*judged)
    _write(folder / "report.json", json.dumps(report, indent=2) + "\n")
    _write(folder / "report.html", page(PictureData(*judged, beside=_judged(beside) if beside else None), report))
    return report


def write_images(folder: Path, images: Path, beside: Path | None = None) -> list[Path]:
    """Writes PNGs of a run's accuracy, latency and frames, for a README; returns their paths.
    Raises `UserError` as above.
    """
    from cli.run_report import frame_grid, pictures

    scene = pictures.PictureData(*_judged(folder), beside=_judged(beside) if beside else None)
    return pictures.write_images(scene, images, {**pictures.PICTURES, "frames": frame_grid.frame_grid})


def _judged(folder: Path) -> tuple[RunFolder, Score]:
    run = read_run(folder)
    return run, score(run)


def _write(file: Path, text: str) -> None:
    draft = file.with_name(file.name + ".new")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, file)
    except OSError as trouble:
        draft.unlink(missing_ok=True)
        raise UserError(
            f"{file}: cannot be written ({trouble.strerror}); free some space or choose another folder"
        ) from None
