"""Makes room in a repository: deletes what nothing can serve any more, and never what serves.

Killed at any moment, what is left is whole: a variant goes before its parent and before its blobs, so a later run
finishes the work.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from porting.errors import UserError
from porting.repository.atomic_files import lock
from porting.repository.repository import Repository

KEEP = 10
YOUNG_S = 3600.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be."""

    variants: list[str]  # "model/name"
    blobs: list[str]  # digests
    leftovers: list[str]  # files that somebody who was killed left half-written
    bytes: int  # of all of these


def prune(repository: Repository, keep: int = KEEP, dry_run: bool = False, young_s: float = YOUNG_S) -> Pruned:
    """Delete old variants, the blobs that no variant needs, and leftovers of writers that were killed.

    A variant stays if it serves, is in the last `keep` entries of its model's history, or is an ancestor of such a one;
    a model that serves nothing stays whole. Nothing younger than `young_s` goes: somebody may be about to use it.

    Raises:
        UserError: a table cannot be read (so nobody knows what it needs; nothing was deleted), or a file not deleted.
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
    """Names of the variants that may go, each before its parent."""
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
    """Of all variants but the doomed."""
    return {
        digest
        for model in repository.models()
        for name in repository.variants(model)
        if name not in doomed.get(model, ())
        for digest in repository.blobs(model, name)
    }


def files_of(repository: Repository, model: str, name: str) -> list[Path]:
    """The profiles first: without its variant one would never be found again."""
    return [*repository.profile_paths(model, name), repository.variant_path(model, name)]


def old(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime <= before
    except OSError:  # somebody else was quicker
        return False


def delete(paths: Iterable[Path], dry_run: bool) -> int:
    """Returns the bytes that they took."""
    return sum(freed(path, dry_run) for path in paths)


def freed(path: Path, dry_run: bool) -> int:
    try:
        size = path.stat().st_size
        if not dry_run:
            path.unlink()
        return size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise UserError(f"{path}: cannot be deleted ({error.strerror})") from None
