"""Runs the command `leeway`: imports the one verb that was called, and reports a user's mistake in one line."""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cli.output import complain

# name -> what `leeway --help` says; the module is cli/<name>.py, and it holds `app` (several verbs) or `<name>` (one).
VERBS = {
    "demo": "See it work: cameras, a broker, a drift and its repair, then a report.",
    "run": "Serve the models of an edge.yaml over MQTT until told to stop.",
    "bench": "Which scheduler should this box run: all of them on the same requests.",
    "plan": "Can this box cope: how many cameras hold their SLOs, and what would help.",
    "camera": "Publish pictures as a camera: a folder, zip, video, URL or the drawn junction.",
    "port": "Bring an ONNX file into the repository: repair, cut, measure, serve.",
    "models": "Look at the repository: list, show, verify, serve, rollback.",
    "broker": "A small MQTT broker for this machine alone, to try things out.",
    "doctor": "What this machine has, what it lacks, and how to get it.",
    "config": "Check an edge.yaml, or print its schema.",
}

HELP = """[bold]Leeway[/bold] serves vision models on one small box within their deadlines, and spends
the time left over on keeping them accurate when the world drifts.

[bold]See it work[/bold]

  leeway doctor                      is this machine ready?

  leeway demo --duration 60          cameras, a drift, a report

[bold]Then use your own[/bold]

  leeway port mine.onnx              a model, measured here

  leeway config check edge.yaml      is the file right?

  leeway run --config edge.yaml      serve

Every verb explains itself with --help, and prints for programs with --json."""

# Parts that not every box needs; an extra brings each of them.
OPTIONAL = {"onnxruntime", "amqtt", "matplotlib", "torch"}

INTERRUPTED = 130  # 128 + SIGINT, as shells count
PIPE_CLOSED = 141  # 128 + SIGPIPE


class Verbs(TyperGroup):
    """Lists verbs by the table above and imports one only when it is called, so that help and completion stay quick."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands = {name: TyperCommand(name, help=said) for name, said in VERBS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the verbs in the order of the table."""
        return list(VERBS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, imported(name) if name in VERBS else listed, rest


def imported(verb: str) -> Any:
    """Returns the command of `cli/<verb>.py`."""
    module = import_module(f"cli.{verb}")
    app = getattr(module, "app", None)
    if not isinstance(app, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode="rich")
        app.command(verb)(getattr(module, verb))
    return get_command(app)


app = typer.Typer(cls=Verbs, help=HELP, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


def print_version(wanted: bool) -> None:
    """Prints the version and exits, if wanted."""
    if not wanted:
        return
    try:
        print(f"leeway {version('leeway')}")
    except PackageNotFoundError:
        print("leeway, run from its folder without being installed")
    raise typer.Exit


@app.callback()
def leeway(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Show HELP by Typer; the verbs do the work."""


def main(args: list[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 found wanting, 2 a user's mistake, 3 refused by a gate, 130 interrupted."""
    try:
        app(args, prog_name="leeway")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `leeway models list | head`: the reader has closed the pipe
        sys.stderr.close()
        sys.exit(PIPE_CLOSED)
    except Exception as error:
        sys.exit(exit_code_of(error))


def exit_code_of(error: Exception) -> int:
    """Reports a user's mistake and returns its exit code. Any other error is a bug and is raised again."""
    from porting.errors import GateFailed, UserError

    if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL:
        complain(f"this needs {error.name}, which is not installed here: pip install {error.name}; see `leeway doctor`")
        return 2
    if not isinstance(error, UserError):
        raise error
    complain(error)
    return 3 if isinstance(error, GateFailed) else 2


if __name__ == "__main__":
    main()
