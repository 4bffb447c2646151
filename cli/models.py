"""Lists and checks the models of the repository, and sets what serves."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import AsJson, console, emit, table

if TYPE_CHECKING:
    from porting.repository.repository import Repository

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", help=__doc__)

Folder = Annotated[Path, typer.Option("--repository", "-r", help="The repository's folder.")]
Model = Annotated[str, typer.Argument(help="A model of the repository.")]
HERE = Path("repository")


def opened(folder: Path) -> "Repository":
    """Opens a repository. Raises `UserError` where there is none: a mistyped path is not an empty repository."""
    from porting.errors import UserError
    from porting.repository.repository import Repository

    if not (folder / "blobs").is_dir():
        raise UserError(f"{folder}: no repository here; `leeway port MODEL.onnx --repository {folder}` makes one")
    return Repository(folder)


@app.command("list")
def list_models(repository: Folder = HERE, as_json: AsJson = False) -> None:
    """List every model, what serves, and how accurate and how large it is.

    [bold]Example[/bold]

      leeway models list --repository repository
    """
    store = opened(repository)
    found = [summary(store, model) for model in store.models()]
    columns = ("model", "serves", ">accuracy", ">variants", "kind", ">labels", ">KiB", "since")
    emit(found, table(columns, [listed(row) for row in found]), as_json)


def summary(store: "Repository", model: str) -> dict[str, Any]:
    """Returns the row of one model: what serves since when, its accuracy, size and output."""
    pointer = store.pointer(model)
    variants = store.variants(model)
    row: dict[str, Any] = {"model": model, "serving": None, "since": None, "variants": variants}
    if pointer is not None:
        variant = store.variant(model, pointer["variant"])
        blobs = {d: size for stage in store.stages(variant, "") for d, size in stage.blobs.items()}
        row |= {"serving": variant.name, "since": pointer["since"], "accuracy": variant.accuracy}
        row |= {"bytes": sum(blobs.values()), "output": variant.output}
    return row


def listed(row: dict[str, Any]) -> tuple[object, ...]:
    """Returns the cells of a model's row."""
    output, size = row.get("output"), row.get("bytes")
    return (
        row["model"],
        row["serving"] or "nothing",
        share(row.get("accuracy")),
        len(row["variants"]),
        output.kind if output else "",
        len(output.labels) if output else "",
        f"{size / 1024:.0f}" if size else "",
        (row["since"] or "")[:19],
    )


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


@app.command()
def show(
    model: Model,
    variant: Annotated[str, typer.Argument(help="One of its variants (default: what serves).")] = "",
    repository: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Show one variant in full: stages, what they take on each measured device, how it was made, the history.

    [bold]Examples[/bold]

      leeway models show vehicles

      leeway models show vehicles fp32 --json | jq '.variant.output.labels'
    """
    store = opened(repository)
    name = variant or store.serving(model) or newest(store, model)
    chosen = store.variant(model, name)
    profiles = store.profiles(model, name)
    found = {
        "variant": chosen,
        "serving": store.serving(model),
        "stages": store.stages(chosen, ""),
        "profiles": profiles,
        "history": store.history(model),
    }
    if as_json:
        emit(found, "", True)
        return
    for part in drawn(found):
        console().print(part)


def newest(store: "Repository", model: str) -> str:
    """Returns the variant stored last. Raises `UserError` when the model has none."""
    from porting.errors import UserError

    names = store.variants(model)
    if not names:
        raise UserError(f"{store.root}: no model {model!r}; there is {', '.join(store.models()) or 'none yet'}")
    return names[-1]


def drawn(found: dict[str, Any]) -> list[Any]:
    """Returns the parts of `show`: facts, stages, profiles, history."""
    variant, output = found["variant"], found["variant"].output
    serves = "serves now" if found["serving"] == variant.name else f"stored; {found['serving'] or 'nothing'} serves"
    facts: list[tuple[str, object]] = [("variant", f"{variant.model} / {variant.name}: {serves}")]
    facts.append(("accuracy", share(variant.accuracy) or "not measured"))
    facts.append(("parent", variant.parent or "none: ported from a file"))
    if output is not None:
        facts.append(
            ("output", f"{output.kind}: {', '.join(output.labels[:12])}{' …' if len(output.labels) > 12 else ''}")
        )
    facts += [(key, value) for key, value in variant.made_by.items() if isinstance(value, str | int | float)]
    facts += [(key, line) for key in ("repairs", "notes") for line in variant.made_by.get(key, [])]
    parts: list[Any] = [table(("", ""), facts), "", stages_table(found["stages"]), ""]
    if found["profiles"]:
        parts += [profiles_table(found), ""]
    return [*parts, history_table(found["history"])]


def stages_table(stages: Any) -> Any:
    """Returns the table of a variant's stages."""
    columns = ("stage", "digest", "graph", "head", "input", ">KiB", "batches")
    rows = [
        (
            at,
            stage.digest[:12],
            stage.graph[:12],
            (stage.head or "")[:12],
            f"{stage.input.width}x{stage.input.height} {stage.input.color}" if stage.input else "the stage before",
            f"{stage.memory_bytes / 1024:.0f}",
            ", ".join(map(str, stage.batches)),
        )
        for at, stage in enumerate(stages)
    ]
    return table(columns, rows, "stages")


def profiles_table(found: dict[str, Any]) -> Any:
    """Returns the table of a variant's measured times, by device, stage and batch."""
    order = {stage.graph: at for at, stage in enumerate(found["stages"])}
    rows = [
        (
            device,
            order.get(graph, ""),
            batch,
            *(f"{t[key] / 1e6:.3f}" for key in ("p50_ns", "p99_ns", "mean_ns")),
            t["runs"],
        )
        for device, profile in found["profiles"].items()
        for graph, measured in sorted(profile["graphs"].items(), key=lambda item: order.get(item[0], 0))
        for batch, t in measured["batches"].items()
    ]
    return table(("device", "stage", ">batch", ">p50 ms", ">p99 ms", ">mean ms", ">runs"), rows, "measured")


def history_table(entries: list[dict[str, Any]]) -> Any:
    rows = [(e["number"], e["since"][:19], e["action"], e["variant"], said(e["why"])) for e in entries]
    return table((">", "since", "", "variant", "why"), rows, "history")


def said(why: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in why.items() if isinstance(value, str | int | float))


@app.command()
def verify(repository: Folder = HERE, as_json: AsJson = False) -> None:
    """Read everything and compare it with its SHA-256. Exit code 1 when something is wrong, with the files' names.

    [bold]Example[/bold]

      leeway models verify && echo all well
    """
    problems = opened(repository).verify()
    rows = [(problem.path, problem.what) for problem in problems]
    emit({"ok": not problems, "problems": problems}, table(("file", "what"), rows) if rows else "all well", as_json)
    raise typer.Exit(1 if problems else 0)


@app.command()
def prune(
    keep: Annotated[int, typer.Option(min=1, help="Entries of each model's history whose variants stay.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    repository: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Make room: delete variants that served long ago or never, and what only they needed. What serves stays.

    So do the variants of the last entries of the history, all their ancestors, and whatever is younger than an hour.

    [bold]Examples[/bold]

      leeway models prune --dry-run

      leeway models prune --keep 3
    """
    from porting.repository.garbage_collection import prune as delete_unused

    done = delete_unused(opened(repository), keep, dry_run)
    would = "would be " if dry_run else ""
    rows = [
        *(("variant", name) for name in done.variants),
        *(("blob", digest[:12]) for digest in done.blobs),
        *(("leftover", path) for path in done.leftovers),
    ]
    summary = f"{len(rows)} {would}deleted, {done.bytes / 1024:.0f} KiB"
    emit({"dry_run": dry_run, **asdict(done)}, table(("", summary), rows) if rows else "nothing to delete", as_json)


@app.command()
def serve(
    model: Model,
    variant: Annotated[str, typer.Argument(help="One of its variants.")],
    repository: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Let a variant serve, atomically; every blob of it is checked first. A running daemon takes it up by itself.

    [bold]Example[/bold]

      leeway models serve vehicles fp32-2
    """
    store = opened(repository)
    store.serve(model, variant, {"by": "command"})
    emit({"model": model, "serving": variant}, f"{model}: {variant} serves", as_json)


@app.command()
def rollback(
    model: Model,
    to: Annotated[str, typer.Option(help="A variant (default: the one that served before).")] = "",
    repository: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Go back to what served before. Repeated, it goes back one more.

    [bold]Example[/bold]

      leeway models rollback vehicles
    """
    name = opened(repository).rollback(model, to or None, {"by": "command"})
    emit({"model": model, "serving": name}, f"{model}: {name} serves again", as_json)
