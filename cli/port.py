"""Implements `leeway port`, which turns an ONNX file into a model of the repository, measured on this machine."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import AsJson, emit

if TYPE_CHECKING:
    from devices.interface import Device
    from porting.samples import Samples

# short name -> where the class is; any other "module:Class" works as well
DEVICES = {"cpu": "devices.cpu:Cpu", "simulated": "devices.simulated:Simulated"}


def port(
    path: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="External weights lie beside it.")],
    name: Annotated[str, typer.Option(help="Name in the repository (default: the file's).")] = "",
    repository: Annotated[Path, typer.Option("--repository", "-r", help="Made when it is not there.")] = Path(
        "repository"
    ),
    samples: Annotated[
        Path | None,
        typer.Option(help="Labelled pictures: zip or folder of class folders. Accuracy and drift need them."),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            metavar="A,B,…|FILE",
            help="In the model's order (default: the file's own, else the samples' folders, sorted).",
        ),
    ] = "",
    format: Annotated[
        str,
        typer.Option(
            "--format",
            "--kind",
            metavar="NAME|MODULE:CLASS",
            help="What the outputs mean: classification, detection, or a format of yours (default: by their shape).",
            show_default=False,
        ),
    ] = "",
    input_size: Annotated[str, typer.Option(metavar="WxH", help="For models that leave their size open.")] = "",
    color: Annotated[str, typer.Option(help="rgb, bgr or gray (default: rgb, gray for one channel).")] = "",
    layout: Annotated[str, typer.Option(help="NCHW or NHWC (default: by the input's shape).")] = "",
    scale: Annotated[str, typer.Option(help="(x * scale - mean) / std, x in 0..255; 1/255 may be written so.")] = "",
    mean: Annotated[str, typer.Option(metavar="M[,M,M]", help="One number, or one a channel.")] = "",
    std: Annotated[str, typer.Option(metavar="S[,S,S]", help="One number, or one a channel.")] = "",
    score_min: Annotated[float | None, typer.Option(help="Detectors: boxes below are not reported, 0..1.")] = None,
    overlap_max: Annotated[float | None, typer.Option(help="Detectors: of two boxes of a label, 0..1.")] = None,
    device: Annotated[str, typer.Option(help="cpu, simulated, or module:Class.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Of one run on the CPU.")] = 1,
    cut: Annotated[bool, typer.Option(help="Keep a classifier's head apart, so that it can be retrained.")] = True,
    passes: Annotated[
        list[str] | None,
        typer.Option("--pass", metavar="MODULE:CLASS", help="Transform the model first; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Samples read at most, evenly over the classes.")] = 2000,
    accuracy_min: Annotated[float | None, typer.Option(help="Gate: top-1 on the samples, 0..1.")] = None,
    accuracy_drop_max: Annotated[float, typer.Option(help="Gate: top-1 below the original's, 0..1.")] = 0.01,
    p99_ms_max: Annotated[float | None, typer.Option(help="Gate: the whole chain at batch 1.")] = None,
    serve: Annotated[bool, typer.Option(help="Let it serve when every gate says yes.")] = True,
    as_json: AsJson = False,
) -> None:
    """Bring an ONNX model into the repository: repair, cut, compare, measure, judge, serve.

    Whatever was repaired or guessed is listed. Exit code 2: the model is refused, in one line; 3: a gate says no, and
    what served before serves on.

    [bold]Examples[/bold]

      leeway port vehicles.onnx --samples vehicles.zip

      leeway port mobilenet.onnx --labels labels.txt --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225

      leeway port yolov8n.onnx --name detector --labels person,car --score-min 0.4 --p99-ms-max 50
    """
    from porting.checks.gates import Gates
    from porting.errors import GateFailed
    from porting.pipeline import port as port_model
    from porting.repository.repository import Repository

    given = input_options(input_size, color, layout, scale, mean, std)
    thresholds = {"score_min": score_min, "overlap_max": overlap_max}
    known = labels_of(labels)
    with Steps(shown=not as_json) as steps:
        steps("reading samples", 0.0)
        pictures = read(samples, known, limit)
        report = port_model(
            path,
            name or path.stem,
            Repository(repository),
            device_of(device, threads),
            input=given,
            output={key: value for key, value in thresholds.items() if value is not None},
            labels=known,
            samples=pictures,
            kind=format or None,
            cut=cut,
            passes=[pass_of(name) for name in passes or ()],
            gates=Gates(accuracy_drop_max, accuracy_min, p99_ms_max),
            serve=serve,
            progress=steps,
        )
    emit(report.as_json(), report.table(), as_json)
    if report.gates:
        raise GateFailed(f"{report.model}/{report.variant} is stored but does not serve: {'; '.join(report.gates)}")


class Steps:
    """Shows a progress bar on stderr for the current step, if `shown` and stderr is a terminal."""

    def __init__(self, shown: bool):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        self.bar = Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal))
        self.task = self.bar.add_task("", total=1.0)

    def __enter__(self) -> "Steps":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, step: str, share: float) -> None:
        self.bar.update(self.task, description=step, completed=share)


def input_options(size: str, color: str, layout: str, scale: str, mean: str, std: str) -> dict[str, Any]:
    """Returns what was given about the model's input, as fields of `InputSpec`; None where nothing was given."""
    return {
        **size_of(size),
        "color": chosen("--color", color, ("rgb", "bgr", "gray")),
        "layout": chosen("--layout", layout, ("NCHW", "NHWC")),
        "scale": number("--scale", scale),
        "mean": numbers("--mean", mean),
        "std": numbers("--std", std),
    }


def read(path: Path | None, labels: tuple[str, ...] | None, limit: int) -> "Samples | None":
    from porting.samples import read_samples

    return None if path is None else read_samples(path, labels, limit=limit)[0]


def device_of(name: str, threads: int) -> "Device":
    """Returns a device by its short name or its import path. Raises `UserError`."""
    from devices.interface import DeviceError
    from porting.errors import UserError
    from porting.import_path import resolve

    options: dict[str, Any] = {"threads": threads} if name == "cpu" else {}
    if name not in DEVICES and ":" not in name:
        raise UserError(f"--device {name}: unknown; expected {', '.join(DEVICES)} or package.module:Class")
    try:
        made: Device = resolve(DEVICES.get(name, name), f"--device {name}")(**options)
        return made
    except DeviceError as error:
        raise UserError(str(error)) from None
    except (ValueError, TypeError) as error:
        raise UserError(f"--device {name}: {error}; expected {', '.join(DEVICES)} or module:Class") from None


def pass_of(name: str) -> Any:
    """Returns an instance of the pass at an import path such as `porting.graph.no_ops:NoOps`. Raises `UserError`."""
    from porting.errors import UserError
    from porting.import_path import resolve

    try:
        return resolve(name, "--pass")()
    except (ValueError, TypeError) as error:
        raise UserError(f"--pass {name}: {error}; expected module:Class, e.g. porting.graph.no_ops:NoOps") from None


def labels_of(text: str) -> tuple[str, ...] | None:
    """Returns the labels in `a,b,c`, or in a file with one label per line; None: nothing was
    given. Raises `UserError`.
    """
    from porting.errors import UserError

    if not text:
        return None
    words = text.split(",")
    if len(words) == 1 and (file := Path(text)).suffix:
        try:
            words = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--labels {text}: cannot be read ({error}); one label a line is expected") from None
    found = tuple(word.strip() for word in words if word.strip())
    if twice := {label for label in found if found.count(label) > 1}:
        raise UserError(f"--labels: {sorted(twice)[0]!r} is there twice")
    return found


def size_of(text: str) -> dict[str, int]:
    """Returns `224x160` as width 224 and height 160; empty when nothing was given. Raises `UserError`."""
    from porting.errors import UserError

    if not text:
        return {}
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UserError(f"--input-size {text}: expected width x height in pixels, like 224x224")
    return {"width": int(width), "height": int(height)}


def numbers(option: str, text: str) -> tuple[float, ...] | None:
    """Returns the numbers in `0.5,1/255`; None: nothing was given. Raises `UserError` for other than one or three."""
    from porting.errors import UserError

    if not text:
        return None
    try:
        found = tuple(float(Fraction(part.strip())) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        raise UserError(f"{option} {text}: expected a number, or three with commas between") from None
    if len(found) not in (1, 3) or (option == "--std" and 0.0 in found):
        raise UserError(f"{option} {text}: expected one number or three{', none 0' if option == '--std' else ''}")
    return found


def number(option: str, text: str) -> float | None:
    """Returns `1/255` as 0.0039…; None: nothing was given. Raises `UserError`."""
    found = numbers(option, text)
    return None if found is None else found[0]


def chosen(option: str, value: str, choices: tuple[str, ...]) -> str | None:
    """Returns the choice as it is spelled in `choices`, whatever the case; None: nothing was
    given. Raises `UserError`.
    """
    from porting.errors import UserError

    if not value:
        return None
    for choice in choices:
        if value.lower() == choice.lower():
            return choice
    raise UserError(f"{option} {value}: expected {' or '.join(choices)}")
