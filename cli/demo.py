"""`leeway demo`: the whole of it on one screen."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import AsJson, complain, console

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
    input_size: Annotated[str | None, typer.Option(help="Pictures are resized to WxH; guessed from the model.")] = None,
    color: Annotated[str, typer.Option(help="rgb, bgr or gray.")] = "rgb",
    scale: Annotated[float, typer.Option(help="Factor on 0..255 pixels.")] = 1 / 255,
    mean: Annotated[str, typer.Option(help="Subtracted after scaling: one number, or one per channel.")] = "0",
    std: Annotated[str, typer.Option(help="Divided by after that.")] = "1",
    layout: Annotated[str | None, typer.Option(help="NCHW or NHWC; guessed from the model.")] = None,
    label_delay: Annotated[float, typer.Option(help="Without a teacher: seconds until a label comes.")] = 1.0,
    label_errors: Annotated[float, typer.Option(min=0, max=1, help="Without a teacher: share of wrong labels.")] = 0.05,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<date and time>.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start a broker, cameras and the daemon, let the scene drift, watch it being repaired, and write a report.

    Everything is real and runs here: frames travel as JPEG over MQTT, the models are ported to this machine first, and the
    ground truth goes to the report alone.

    [bold]Examples[/bold]

      leeway demo --duration 60

      leeway demo --frozen                     the same without repair, to compare

      leeway demo --images photos.zip --model mine.onnx --drift night,blur
    """
    from cli.demonstration.show import Settings, Show
    from cli.report import write_report
    from cli.report.terminal import report_table

    settings = Settings(
        folder=(out or RUNS / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")).resolve(),
        duration_s=duration,
        seed=seed,
        drift=drift or "",
        drift_at=drift_at,
        frozen=frozen,
        cameras=cameras,
        fps=fps,
    )
    scene = _scene(images, model, teacher, locals())
    say = complain if as_json else console().print
    view = _view(settings, as_json)
    with view:
        folder = Show(scene, settings, view, say).run()
    report = write_report(folder)
    if as_json:
        print((folder / "report.json").read_text())
    else:
        console().print(report_table(report))
        console().print(f"report: {folder / 'report.html'}")
