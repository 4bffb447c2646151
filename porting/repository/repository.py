"""Keeps models on disk: immutable blobs named by their SHA-256, variants that name blobs, and one pointer per model
that says which variant serves.

Every file is written beside its final path, synced, and renamed into it, so that a reader sees the old or the new
content and never a part of one. `sha256sum` verifies blobs and `cat` shows tables. A writer that is killed leaves what
served in place.
"""

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from porting.errors import CorruptBlob as CorruptBlob
from porting.errors import UserError
from porting.repository.atomic_files import (
    arrays_in,
    check_blob,
    digest_of_file,
    lock,
    npz_bytes,
    read_json,
    understood,
    write_durably,
    write_json,
)
from porting.variant import Stage, Variant, is_step, stage_from_json, variant_from_json

Arrays = Mapping[str, NDArray[Any]]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_CHAIN_MAX = 1000  # parents that are followed at most


@dataclass(frozen=True, slots=True)
class Problem:
    """Describes one fault on disk that `Repository.verify` found."""

    path: str
    what: str


class Repository:
    """Stores and reads models in a folder. Many processes may read while one writes; writers of
    one model wait for each other.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self._verified: set[str] = set()  # blobs whose content this process has checked

    # ---- blobs

    def add_blob(self, content: Path | bytes) -> str:
        """Stores a file or bytes and returns the SHA-256 of the content. Storing the same
        content again costs a check only.
        """
        data = content if isinstance(content, bytes) else Path(content).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        path = self.blob_path(digest)
        if path.exists() and digest_of_file(path) == digest:  # a damaged blob is healed by storing it again
            with suppress(OSError):
                os.utime(path)  # wanted again: `prune` spares what is young
        else:
            write_durably(path, data)
        self._verified.add(digest)
        return digest

    def add_arrays(self, arrays: Arrays) -> str:
        """Stores arrays as an `.npz` blob and returns its digest; equal arrays give an equal digest."""
        return self.add_blob(npz_bytes(arrays))

    def blob_path(self, digest: str) -> Path:
        """Returns the path that a blob has or would have; nothing is checked."""
        return self.root / "blobs" / "sha256" / digest[:2] / digest

    def blob(self, digest: str) -> Path:
        """Returns the path of a blob. The content is checked once per process; raises
        `CorruptBlob` when it is missing or damaged.
        """
        path = self.blob_path(digest)
        if digest not in self._verified:
            check_blob(path, digest)
            self._verified.add(digest)
        return path

    def blob_bytes(self, digest: str) -> bytes:
        """Returns the content of a blob, checked as in `blob`. Raises `CorruptBlob`."""
        return self.blob(digest).read_bytes()

    def arrays(self, digest: str) -> dict[str, NDArray[Any]]:
        """Returns the arrays of an `.npz` blob by name, e.g. a head's `head.weight` and
        `head.bias`. Raises `CorruptBlob`.
        """
        return arrays_in(self.blob_bytes(digest), self.blob_path(digest))

    # ---- variants

    def add_variant(self, variant: Variant, stages: Sequence[Stage]) -> None:
        """Stores the description of a variant whose blobs are stored already.

        Idempotent for equal content; raises `UserError` when a variant of that name exists with other content.

        Args:
            variant: what to describe.
            stages: its stages, in the order of `variant.stages`.
        """
        assert tuple(s.digest for s in stages) == variant.stages, "stages do not fit the variant's chain"
        path = self.variant_path(variant.model, variant.name)
        content = {**asdict(variant), "stages": [_stage_table(stage) for stage in stages]}
        with lock(self._folder(variant.model)):
            if path.exists() and read_json(path) != json.loads(json.dumps(content)):
                raise UserError(f"{path}: variant {variant.name!r} of {variant.model!r} exists with other content")
            write_json(path, content)

    def variant(self, model: str, name: str) -> Variant:
        """Returns a variant by name. Raises `UserError` that lists the existing names when there
        is none of that name.
        """
        with understood(self.variant_path(model, name)):
            return variant_from_json(self._described(model, name))

    def free_name(self, model: str, kind: str) -> str:
        """Returns an unused name `<kind>-<n>`, where n exceeds the number of every variant that
        the model has or had in its history.
        """
        names = {*self.variants(model), *(entry["variant"] for entry in self.history(model))}
        numbers = [int(end) for name in names if (end := name.rpartition("-")[2]).isdecimal()]
        return f"{kind}-{max([*numbers, len(names) - 1]) + 1}"

    def variants(self, model: str) -> list[str]:
        """Returns the names of a model's variants, oldest first; empty for an unknown model."""
        files = sorted(self._folder(model).glob("variants/*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name))
        return [path.stem for path in files]

    def stages(self, variant: Variant, device_kind: str) -> tuple[Stage, ...]:
        """Returns the stages of a variant with the durations measured on a device (its kind or name).

        A variant without a profile takes the durations of its nearest ancestor that has one: those of the same graph
        where there is one, else those of the stage in the same position. Without any measurement the durations are
        empty.
        """
        with understood(self.variant_path(variant.model, variant.name)):
            stages = [stage_from_json(table) for table in self._described(variant.model, variant.name)["stages"]]
        by_graph, by_place = self._durations(variant, device_kind)
        return tuple(
            replace(stage, durations_ns=by_graph.get(stage.graph) or (by_place[i] if i < len(by_place) else {}))
            for i, stage in enumerate(stages)
        )

    def _durations(self, variant: Variant, device: str) -> tuple[dict[str, dict[int, int]], list[dict[int, int]]]:
        for ancestor in self.lineage(variant):
            profile = self.profile(variant.model, ancestor.name, device)
            if profile is not None:
                by_graph = {graph: _p99_by_batch(table) for graph, table in profile["graphs"].items()}
                chain = self._described(variant.model, ancestor.name)["stages"]
                return by_graph, [by_graph.get(table["graph"], {}) for table in chain]
        return {}, []

    def lineage(self, variant: Variant) -> Iterator[Variant]:
        """Yields the variant, its parent, its parent's parent, and so on."""
        for _ in range(_CHAIN_MAX):
            yield variant
            if variant.parent is None:
                return
            variant = self.variant(variant.model, variant.parent)

    # ---- profiles

    def add_profile(self, model: str, variant: str, device_name: str, profile: Mapping[str, Any]) -> None:
        """Stores what was measured on a device: `{"graphs": {blob digest: {"batches": {"1":
        {"p99_ns": …}, …}}}, …}`.
        """
        assert "graphs" in profile, "a profile says what each graph took"
        with lock(self._folder(model)):
            write_json(self._profile_path(model, variant, device_name), profile)

    def profile(self, model: str, variant: str, device_name: str) -> dict[str, Any] | None:
        """Returns what was measured of a variant on a device, or None when nothing was."""
        path = self._profile_path(model, variant, device_name)
        return read_json(path) if path.exists() else None

    def profiles(self, model: str, variant: str) -> dict[str, dict[str, Any]]:
        """Returns all that was measured of a variant, by device name."""
        return {path.stem.partition("@")[2]: read_json(path) for path in self.profile_paths(model, variant)}

    def profile_paths(self, model: str, variant: str) -> list[Path]:
        return sorted(self._folder(model).glob(f"profiles/{glob.escape(variant)}@*.json"))

    # ---- what serves

    def serve(self, model: str, name: str, why: Mapping[str, Any] | None = None) -> None:
        """Makes a variant the one that serves, atomically, after reading and checking each of its blobs.

        Args:
            model: name of the model.
            name: name of the variant.
            why: evidence to keep in the history.

        Raises:
            UserError: no such variant. CorruptBlob: a damaged blob. RepositoryFull: no space. The old variant goes on
                serving in each case.
        """
        self._point(model, name, "serve", why)

    def rollback(self, model: str, to: str | None = None, why: Mapping[str, Any] | None = None) -> str:
        """Makes the variant that served before serve again, or the one named `to`, and returns its name.

        A second call goes back to the variant before that one. Raises `UserError` when there is none, and what `serve`
        raises.
        """
        name = to if to is not None else self._previous(model)
        self._point(model, name, "rollback", why)
        return name

    def serving(self, model: str) -> str | None:
        """Returns the name of the variant that serves, or None."""
        pointer = self.pointer(model)
        return None if pointer is None else str(pointer["variant"])

    def pointer(self, model: str) -> dict[str, Any] | None:
        """Returns the content of `serving.json` (variant, since, number, action, why), or None.
        Raises `UserError` when it is damaged.
        """
        path = self._folder(model) / "serving.json"
        if not path.exists():
            return None
        pointer = read_json(path)
        if not (isinstance(pointer.get("variant"), str) and isinstance(pointer.get("number"), int)):
            raise UserError(f"{path}: says no variant and number; copy the newest file of history/ over it")
        return pointer

    def history(self, model: str) -> list[dict[str, Any]]:
        """Returns every pointer that the model had, oldest first; the last one serves."""
        last = (self.pointer(model) or {"number": 0})["number"]
        # An entry beyond the pointer was left by a writer that died before the pointer moved: it never served.
        return [read_json(path) for n in range(1, last + 1) if (path := self._history_path(model, n)).exists()]

    def _point(self, model: str, name: str, action: str, why: Mapping[str, Any] | None) -> None:
        self.check(model, name)
        with lock(self._folder(model)):
            number = (self.pointer(model) or {"number": 0})["number"] + 1
            since = datetime.now(UTC).isoformat(timespec="milliseconds")
            entry = {"variant": name, "since": since, "number": number, "action": action, "why": dict(why or {})}
            write_json(self._history_path(model, number), entry)
            write_json(self._folder(model) / "serving.json", entry)

    def _previous(self, model: str) -> str:
        before: list[str] = []  # what a chain of rollbacks would walk back through
        for entry in self.history(model):
            name = entry["variant"]
            if not self.variant_path(model, name).exists():
                continue  # pruned
            if entry["action"] == "rollback" and name in before:
                while before.pop() != name:
                    pass  # what served since it last did
            if not before or before[-1] != name:
                before.append(name)
        if len(before) < 2:
            raise UserError(f"{model}: nothing served before {before[0] if before else 'now'!r}; there is no way back")
        return before[-2]

    # ---- the whole

    def models(self) -> list[str]:
        """Returns the names of the models that have at least one variant, sorted."""
        return sorted(p.parent.name for p in self.root.glob("*/variants") if any(p.glob("*.json")))

    def check(self, model: str, name: str) -> None:
        """Reads every blob of a variant. Raises `UserError` or `CorruptBlob` at the first one that is wrong."""
        for digest in self.blobs(model, name):
            check_blob(self.blob_path(digest), digest)

    def verify(self) -> list[Problem]:
        """Reads the whole repository and returns the problems found, by file; an empty list when there are none."""
        return [*self._wrong_blobs(), *(p for model in self.models() for p in self._wrong_tables(model))]

    def _wrong_blobs(self) -> Iterator[Problem]:
        for path in sorted(self.root.glob("blobs/sha256/??/*")):
            if not path.name.startswith(".") and digest_of_file(path) != path.name:
                yield Problem(str(path), "content does not fit its name (SHA-256)")

    def _wrong_tables(self, model: str) -> Iterator[Problem]:
        for name in self.variants(model):
            try:
                missing = [d for d in self.blobs(model, name) if not self.blob_path(d).exists()]
                yield from (Problem(str(self.blob_path(d)), f"missing; {model}/{name} needs it") for d in missing)
            except UserError as error:
                yield Problem(str(self.variant_path(model, name)), str(error))
        try:
            serving = self.serving(model)
            if serving is not None and serving not in self.variants(model):
                yield Problem(
                    str(self._folder(model) / "serving.json"), f"names variant {serving!r}, which is not there"
                )
        except UserError as error:
            yield Problem(str(self._folder(model) / "serving.json"), str(error))
        for path in sorted((self._folder(model) / "history").glob("*.json")):
            try:
                read_json(path)
            except UserError as error:
                yield Problem(str(path), str(error))

    # ---- the drift reference

    def save_reference(self, model: str, arrays: Arrays) -> None:
        """Stores the labelled samples against which drift is measured: images, labels, probs,
        features, stream, block.
        """
        with lock(self._folder(model)):
            write_durably(self._folder(model) / "reference.npz", npz_bytes(arrays))

    def reference(self, model: str) -> dict[str, NDArray[Any]] | None:
        """Returns the arrays stored by `save_reference`, or None. Raises `UserError` when the file is damaged."""
        path = self._folder(model) / "reference.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except Exception as error:  # zipfile, zlib, ValueError, EOFError: numpy promises none of them
            raise UserError(f"{path}: damaged ({error}); port the model again with its samples") from None

    # ---- where things lie

    def _folder(self, model: str) -> Path:
        if not _NAME.fullmatch(model) or model == "blobs":
            raise UserError(f"{model!r} is no name for a model: letters, digits and . _ + - only, and not 'blobs'")
        return self.root / model

    def variant_path(self, model: str, name: str) -> Path:
        """Returns the path of a variant's description. Raises `UserError` when a name is not allowed."""
        if not _NAME.fullmatch(name):
            raise UserError(f"{name!r} is no name for a variant: letters, digits and . _ + - only")
        return self._folder(model) / "variants" / f"{name}.json"

    def _profile_path(self, model: str, variant: str, device: str) -> Path:
        return self._folder(model) / "profiles" / f"{variant}@{device}.json"

    def _history_path(self, model: str, number: int) -> Path:
        return self._folder(model) / "history" / f"{number:04}.json"

    def blobs(self, model: str, name: str) -> list[str]:
        """Returns the digests of the graphs and heads that a variant needs, each once. Raises `UserError`."""
        with understood(self.variant_path(model, name)):
            return blobs_of(self._described(model, name))

    def _described(self, model: str, name: str) -> dict[str, Any]:
        path = self.variant_path(model, name)
        if path.exists():
            return read_json(path)
        if model not in self.models():
            raise UserError(f"{self.root}: no model {model!r}; there is {', '.join(self.models()) or 'none yet'}")
        raise UserError(f"{model}: no variant {name!r}; there is {', '.join(self.variants(model))}")


def blobs_of(described: Mapping[str, Any]) -> list[str]:
    """Returns the digests of the graphs and heads that a stored variant needs, each once, in the
    order of its stages.
    """
    wanted = [stage[part] for stage in described["stages"] for part in ("graph", "head") if not is_step(stage["kind"])]
    return list(dict.fromkeys(digest for digest in wanted if digest))


def _stage_table(stage: Stage) -> dict[str, Any]:
    table = asdict(stage)
    del table["durations_ns"]  # belongs to a device: it is in the profiles
    return table


def _p99_by_batch(table: Mapping[str, Any]) -> dict[int, int]:
    return {int(batch): int(row["p99_ns"]) for batch, row in table["batches"].items()}
