"""Builds parts that are named by the import path of their class, as in a YAML file: no registry to edit."""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from devices.interface import DeviceError
from porting.errors import UserError


class Strict(BaseModel):
    """A table whose every key is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PlugIn(BaseModel):
    """A class by import path, and its options: `{use: "edge.policies.edf:EarliestDeadlineFirst", batch_max: 8}`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    use: str = Field(pattern=r"^[\w.]+:\w+$", description="import path of the class, package.module:Class")

    def build(self, **more: Any) -> Any:
        return build({**self.model_dump(), **more})

    def kind(self) -> Any:
        """The class itself. Raises `UserError` where the path leads nowhere."""
        return found(self.use)


def build(table: dict[str, Any]) -> Any:
    """The plug-in that a table names, and the ones within it. Raises `UserError` where a path or an option is wrong."""
    options = {name: inner(option) for name, option in table.items()}
    use = options.pop("use")
    kind = found(use)
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{use}: {error}; see its docstring for the options it takes") from error
    except DeviceError as error:
        raise UserError(f"{use}: {error}") from error


def inner(option: Any) -> Any:
    """An option that names a class is built: a policy around another one."""
    return build(option) if isinstance(option, dict) and isinstance(option.get("use"), str) else option


def found(use: str) -> Any:
    try:
        return pkgutil.resolve_name(use)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"use: {use!r} cannot be imported ({error}); expected package.module:Class") from error


@dataclass(frozen=True, slots=True)
class About:
    """Tells where a plug-in comes from: its class attribute `about`."""

    paper: str  # authors, venue and year; or whose idea it is
    sources: Mapping[str, str] = field(default_factory=dict)  # option -> where its default comes from
    deviations: tuple[str, ...] = ()  # what is otherwise here than in the paper, and why
    needs: frozenset[str] = frozenset()  # of NEEDS: without it there is nothing for the plug-in to do


# What a plug-in may need of a box and its work; `evaluation.requirements` tells whether a scenario has it.
NEEDS = frozenset({"variants", "lanes", "remote", "labels", "ensemble", "preemption", "memory"})
