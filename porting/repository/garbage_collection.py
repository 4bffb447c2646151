"""Deletes from a repository what no model can serve any more, and never what serves.

A variant is deleted before its parent and before its blobs. A run that is killed therefore leaves a consistent
repository, and a later run finishes the work.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from porting.errors import UserError
from porting.repository.atomic_files import lock
from porting.repository.repository import Repository

KEEP = 10
YOUNG_S = 3600.0  # a port stores its blobs before the variant that names them; an hour is ample for one


@dataclass(frozen=True, slots=True)
class Pruned:
    """Describes what was deleted, or what would be deleted in a dry run."""

    variants: list[str]  # "model/name"
    blobs: list[str]  # digests
    leftovers: list[str]  # temporary files of writers that were killed
    bytes: int  # of all of these


def prune(repository: Repository, keep: int = KEEP, dry_run: bool = False, young_s: float = YOUNG_S) -> Pruned:
    """Deletes old variants, the blobs that no remaining variant needs, and leftovers of writers that were killed.

    A variant stays if it serves, is in the last `keep` entries of its model's history, or is an ancestor of a variant
    that stays. A model that serves nothing keeps all its variants. A file younger than `young_s` seconds stays, since
    another process may be about to use it.

    Args:
        repository: where to delete.
        keep: entries of each model's history whose variants stay, at least 1.
        dry_run: report only; nothing is deleted.
        young_s: age in seconds below which a file stays.

    Raises:
        UserError: `keep` is below 1; a table cannot be read, so that its needs are unknown (nothing has been deleted
            then); or a file cannot be deleted.
    """
    if keep < 1:
        raise UserError(f"keep {keep}: at least 1, the variant that serves")
    before = time.time() - young_s
    doomed = {model: old_variants(repository, model, keep, before) for model in repository.models()}
    needed_blobs(repository, doomed)  # raises while nothing has been deleted
    size = 0
    for model in doomed:
        with lock(repository.root / model):
            doomed[model] = old_variants(repository, model, keep, before)  # again: the pointer may have moved
            size += delete((path for name in doomed[model] for path in files_of(repository, model, name)), dry_run)
    needed = needed_blobs(repository, doomed)
    stored = (path for path in sorted(repository.root.glob("blobs/sha256/??/*")) if not path.name.startswith("."))
    blobs = [path for path in stored if path.name not in needed and old(path, before)]
    leftovers = [path for path in sorted(repository.root.rglob(".*.tmp")) if old(path, before)]
    size += delete([*blobs, *leftovers], dry_run)
    variants = [f"{model}/{name}" for model, names in doomed.items() for name in names]
    return Pruned(variants, [path.name for path in blobs], [str(path) for path in leftovers], size)


def old_variants(repository: Repository, model: str, keep: int, before: float) -> list[str]:
    """Returns the names of a model's variants that may be deleted, each before its parent.

    Args:
        repository: where the model is stored.
        model: its name.
        keep: entries of its history whose variants stay.
        before: Unix time in seconds; a variant written later stays.
    """
    serving = repository.serving(model)
    if serving is None:
        return []
    found = {name: repository.variant(model, name) for name in repository.variants(model)}
    wanted = {serving, *(entry["variant"] for entry in repository.history(model)[-keep:])}
    wanted |= {name for name in found if not old(repository.variant_path(model, name), before)}
    depths: dict[str, int] = {}
    for name in found:
        lineage = [ancestor.name for ancestor in repository.lineage(found[name])]
        depths[name] = len(lineage)
        if name in wanted:
            wanted.update(lineage)
    return sorted(set(found) - wanted, key=lambda name: (-depths[name], name))


def needed_blobs(repository: Repository, doomed: dict[str, list[str]]) -> set[str]:
    """Returns the digests that all variants need, except those named in `doomed` (model -> variant names)."""
    return {
        digest
        for model in repository.models()
        for name in repository.variants(model)
        if name not in doomed.get(model, ())
        for digest in repository.blobs(model, name)
    }


def files_of(repository: Repository, model: str, name: str) -> list[Path]:
    """Returns the files of a variant, its profiles first: without the variant's file they could not be found again."""
    return [*repository.profile_paths(model, name), repository.variant_path(model, name)]


def old(path: Path, before: float) -> bool:
    """Returns whether the file was last modified at or before `before` (Unix seconds); False when it is gone."""
    try:
        return path.stat().st_mtime <= before
    except OSError:  # another process deleted it first
        return False


def delete(paths: Iterable[Path], dry_run: bool) -> int:
    """Deletes files and returns the bytes that they took; in a dry run it only counts them."""
    return sum(freed(path, dry_run) for path in paths)


def freed(path: Path, dry_run: bool) -> int:
    """Deletes one file unless `dry_run`, and returns its size in bytes; 0 when it is gone already. Raises `UserError`
    when the system refuses.
    """
    try:
        size = path.stat().st_size
        if not dry_run:
            path.unlink()
        return size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise UserError(f"{path}: cannot be deleted ({error.strerror})") from None
