"""Checks an edge.yaml without starting anything, or prints its schema for an editor."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import AsJson, emit, table
from porting.errors import UserError
from porting.import_path import resolve

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", help=__doc__)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The file to check.")] = Path("edge.yaml"), as_json: AsJson = False
) -> None:
    """Read the file as the daemon would and find every class it names. Exit code 2 tells the first thing wrong.

    [bold]Example[/bold]

      leeway config check examples/junction/edge.yaml
    """
    from edge.config import load

    config = load(path)
    find_classes(path, config)
    build_plug_ins(path, config)
    found = {"path": path, "ok": True, **summary(config)}
    emit(found, table(["key", "value"], ((key, value) for key, value in rows(found))), as_json)


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page for people: docs/configuration.md.")] = False,
) -> None:
    """Print the JSON schema of edge.yaml: every key, its meaning, its limits.

    [bold]Example[/bold]  (then name it in the first line of the file for an editor to complete and check keys)

      leeway config schema > edge.schema.json

      # yaml-language-server: $schema=edge.schema.json
    """
    from cli.drawing.config_reference import page
    from edge.config import schema as of_config

    print(page(of_config()), end="") if markdown else print(json.dumps(of_config(), indent=2, ensure_ascii=False))


def find_classes(path: Path, config: Any) -> None:
    """Raises `UserError` for the first `use:` that names nothing."""
    named = {"policy": config.policy, "estimator": config.estimator}
    named |= {f"devices.{name}": device for name, device in config.devices.items()}
    named |= {f"apps.{name}": app for name, app in config.apps.items()}
    named |= {f"planners.{place}": planner for place, planner in enumerate(config.planners)}
    named |= {f"sources.{place}": source for place, source in enumerate(config.sources)}
    for place, plug_in in named.items():
        resolve(plug_in.use, f"{path}: {place}.use")


def build_plug_ins(path: Path, config: Any) -> None:
    """Checks options by building the parts that need no hardware, and models by asking the repository, if it exists.

    Raises `UserError` for the first option or model that is wrong.
    """
    from edge.daemon import made_sources
    from edge.systems import replaced
    from porting.repository.repository import Repository

    for plug_in in (config.policy, config.estimator, *config.planners):
        plug_in.build()
    made_sources(config)
    if config.drift is not None:
        config.drift.tests(), config.drift.ladder()
    answers = replaced(config.answer, {name: app.build() for name, app in config.apps.items()}).values()
    if not config.models.is_dir():
        return
    asked = [model for answer in answers for model in answer.models()]
    if config.drift is not None:
        asked += [*config.drift.models, *filter(None, map(config.drift.teacher_of, config.drift.models))]
    repository = Repository(config.models)
    for model in dict.fromkeys(asked):
        if repository.serving(model) is None:
            raise UserError(
                f"{path}: model {model!r} serves nothing in {config.models}; port it: leeway port FILE.onnx"
            )


def summary(config: Any) -> dict[str, Any]:
    """Returns what a reader wants confirmed: the parts by name, and the plug-ins in use."""
    return {
        **({"node": config.mqtt.node} if config.mqtt else {}),
        "models": config.models,
        "sources": [source.use for source in config.all_sources()],
        "devices": {name: device.use for name, device in config.devices.items()},
        "system": config.system or "",
        "policy": config.policy.use,
        "estimator": config.estimator.use,
        "apps": {name: f"{app.use}, within {app.slo_ms:g} ms" for name, app in config.apps.items()},
        "streams": {name: list(stream.apps) for name, stream in config.streams.items()},
        "drift": config.drift is not None,
    }


def rows(found: dict[str, Any]) -> list[tuple[str, object]]:
    """Returns one line for each key; a mapping becomes one line for each of its entries."""
    lines: list[tuple[str, object]] = []
    for key, value in found.items():
        if isinstance(value, dict):
            lines += [
                (f"{key}.{name}", inner if isinstance(inner, str) else ", ".join(inner))
                for name, inner in value.items()
            ]
        elif isinstance(value, list):
            lines.append((key, ", ".join(value)))
        else:
            lines.append((key, {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value))
    return lines
