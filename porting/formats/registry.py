"""Finds formats: by the name that a variant stores, or by what a graph looks like. Names are looked at nowhere else."""

import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

import porting.formats
from porting.errors import UserError
from porting.formats.format import Format, ModelGraph
from porting.import_path import resolve
from porting.variant import OutputSpec

MAIN_METHOD = "matches"


def format_of(output: OutputSpec) -> Format:
    """Returns the format of a variant's output; the same object for the same name. Raises `UserError`."""
    return format_named(output.kind)


@lru_cache(maxsize=64)
def format_named(name: str) -> Format:
    """Returns the format of that short name or import path. Raises `UserError` where there is none."""
    if ":" in name:
        return _imported(name)
    if name not in known():
        raise UserError(f"output format {name!r} is not known; expected {', '.join(known())} or package.module:Class")
    return known()[name]


def format_for(graph: ModelGraph) -> Format:
    """Returns the known format that is most certain to read a graph's output. Raises `UserError` where none is."""
    best = max(known().values(), key=lambda each: each.matches(graph))
    if best.matches(graph) > 0:
        return best
    shape = graph.output_shape
    expected = " nor ".join(f"{each.shape} ({each.name})" for each in known().values())
    shown = "none" if shape is None else list(shape)
    raise UserError(f"{graph.path}: output shape {shown} is neither {expected}; name its format: --format")


@lru_cache(maxsize=1)
def known() -> Mapping[str, Format]:
    """Returns the formats in `porting/formats`, one of each class, by name in alphabetical order."""
    made = [kind() for kind in _classes()]
    return {each.name: each for each in sorted(made, key=lambda each: str(each.name))}


def _classes() -> Iterator[Any]:
    for module in pkgutil.iter_modules(porting.formats.__path__, porting.formats.__name__ + "."):
        for _, kind in inspect.getmembers(import_module(module.name), inspect.isclass):
            ours = kind.__module__ == module.name and not getattr(kind, "_is_protocol", False)
            if ours and callable(getattr(kind, MAIN_METHOD, None)):
                yield kind


def _imported(path: str) -> Format:
    try:
        made = resolve(path, "output format")()
    except (ValueError, TypeError) as error:
        raise UserError(f"output format {path!r} cannot be used: {error}; expected package.module:Class") from error
    if not isinstance(made, Format):
        raise UserError(f"output format {path!r} is no format; porting/formats/format.py says what one can do")
    return made
