"""Implements `leeway demo`, which shows the whole system on one screen."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import AsJson, emit

RUNS = Path("runs")


def demo(
    duration: Annotated[float, typer.Option(min=10, help="Seconds that the cameras run.")] = 90.0,
    seed: Annotated[int, typer.Option(help="Another seed: other roads, other traffic.")] = 7,
    cameras: Annotated[int, typer.Option(min=1, max=64, help="How many cameras.")] = 4,
    fps: Annotated[float, typer.Option(min=0.5, max=60, help="Frames per second of each camera.")] = 5.0,
    drift: Annotated[
        str | None, typer.Option(help="Conditions to drift to, e.g. night,fog: evenly over the rest of the run.")
    ] = None,
    drift_at: Annotated[float, typer.Option(min=0.05, max=0.95, help="Share of the run before the drift.")] = 1 / 3,
    frozen: Annotated[bool, typer.Option("--frozen", help="Serve only: the same run without adaptation.")] = False,
    images: Annotated[
        Path | None, typer.Option(help="Your own pictures: class folders, in a directory or a zip.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Your own classifier for them (ONNX).")] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="A bigger model that labels (ONNX); else the folders' names do.")
    ] = None,
    input_size: Annotated[str, typer.Option(metavar="WxH", help="For models that leave their size open.")] = "",
    color: Annotated[str, typer.Option(help="rgb, bgr or gray (default: rgb, gray for one channel).")] = "",
    scale: Annotated[str, typer.Option(help="(x * scale - mean) / std, x in 0..255 (default: tried out).")] = "",
    mean: Annotated[str, typer.Option(metavar="M[,M,M]", help="One number, or one a channel.")] = "",
    std: Annotated[str, typer.Option(metavar="S[,S,S]", help="One number, or one a channel.")] = "",
    layout: Annotated[str, typer.Option(help="NCHW or NHWC (default: by the input's shape).")] = "",
    label_delay: Annotated[float, typer.Option(help="Without a teacher: seconds until a label comes.")] = 1.0,
    label_errors: Annotated[float, typer.Option(min=0, max=1, help="Without a teacher: share of wrong labels.")] = 0.05,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<date and time>.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start a broker, cameras and the daemon, let the scene drift, watch it being repaired, and write a report.

    Everything is real and runs here: frames travel as JPEG over MQTT, the models are ported to this machine first, and
    the ground truth goes to the report alone.

    [bold]Examples[/bold]

      leeway demo --duration 60

      leeway demo --frozen                     the same without repair, to compare

      leeway demo --images photos.zip --model mine.onnx --drift night,blur
    """
    from rich.console import Console

    from cli.demonstration.live_view import LiveView, viewer
    from cli.demonstration.show import Settings, Show
    from cli.port import input_options
    from cli.run_report import write_report
    from cli.run_report.terminal import report_table
    from examples.conditions import Schedule

    spec = input_options(input_size, color, layout, scale, mean, std)
    scene = scene_of(images, model, teacher, spec, label_delay, label_errors)
    settings = Settings(
        folder=(out or RUNS / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")).resolve(),
        duration_s=duration,
        seed=seed,
        drift=drift or scene.drift,
        drift_at=drift_at,
        frozen=frozen,
        cameras=cameras,
        fps=fps,
    )
    Schedule.parse(settings.schedule())  # so that a mistake is reported before anything starts
    said = Console(stderr=as_json, highlight=False, soft_wrap=True)
    view = LiveView(duration)
    shown = viewer(view, said, quiet=as_json)
    folder = Show(scene, settings, shown, said.print).run()
    report = write_report(folder)
    emit(report, report_table(report), as_json)
    said.print(f"report: {folder / 'report.html'}")


def scene_of(
    images: Path | None,
    model: Path | None,
    teacher: Path | None,
    spec: dict[str, Any],
    label_delay_s: float,
    label_errors: float,
) -> Any:
    """Returns the junction, or a scene of the user's own pictures. Raises `UserError` when only
    one of `images` and `model` is given.
    """
    from cli.demonstration.images import Images
    from cli.demonstration.junction import Junction
    from porting.errors import UserError

    if (images is None) != (model is None):
        raise UserError("--images and --model go together: pictures in class folders, and the classifier for them")
    if images is None or model is None:
        return Junction()
    return Images(images, model, teacher, spec, label_delay_s, label_errors)
