"""Builds parts that are named by the import path of their class, as in a YAML file: no registry to edit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devices.interface import DeviceError
from porting.errors import UserError
from porting.import_path import resolve

Table = TypeVar("Table", bound=BaseModel)


class Strict(BaseModel):
    """Refuses keys that it does not know; frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PlugIn(BaseModel):
    """Names a class by import path, with options: `{use: "edge.policies.edf:EarliestDeadlineFirst", batch_max: 8}`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    use: str = Field(pattern=r"^[\w.]+:\w+$", description="import path of the class, package.module:Class")

    def build(self, **more: Any) -> Any:
        """Builds the plug-in. `more` are options that replace those of the table."""
        return build({**self.model_dump(), **more})

    def kind(self) -> Any:
        """Returns the class itself. Raises `UserError` where the path leads nowhere."""
        return resolve(self.use, "use")


def build(table: dict[str, Any]) -> Any:
    """Builds the plug-in that a table names, and those within it. Raises `UserError` for a wrong path or option."""
    options = {name: inner(option) for name, option in table.items()}
    use = options.pop("use")
    kind = resolve(use, "use")
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{use}: {error}; see its docstring for the options it takes") from error
    except DeviceError as error:
        raise UserError(f"{use}: {error}") from error


def inner(option: Any) -> Any:
    """Builds an option that names a class, such as the policy that another one wraps; returns others as they are."""
    return build(option) if isinstance(option, dict) and isinstance(option.get("use"), str) else option


def checked(model: type[Table], options: Mapping[str, Any]) -> Table:
    """Returns the options of a plug-in as a `model`. Raises `ValueError` with the first thing wrong, in one line."""
    try:
        return model.model_validate(options)
    except ValidationError as error:
        raise ValueError(first_problem(error, model)) from None


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Returns the first problem of a validation, as one line: place, what is wrong, what is known there."""
    problems = error.errors()
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        said = f"{where}: unknown key{suggestion(model, first['loc'])}"
    elif first["type"] == "missing":
        said = f"{where}: missing"
    else:
        said = f"{where}: {first['msg']}, got {first.get('input')!r}"
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{said}{more}"


def suggestion(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """Returns the known keys beside an unknown one, found by walking the models along its place."""
    kind: Any = model
    for part in place[:-1]:
        kind = inner_model(kind, part)
    known = sorted(getattr(kind, "model_fields", {}))
    return f"; known here: {', '.join(known)}" if known else ""


def inner_model(kind: Any, part: int | str) -> Any:
    """Returns the model that the key `part` of a model holds, or None."""
    fields = getattr(kind, "model_fields", {})
    if part not in fields:
        return kind  # a key of a mapping: its values are of the model that the mapping holds
    options = [fields[part].annotation, *getattr(fields[part].annotation, "__args__", ())]
    return next((option for option in options if isinstance(option, type) and issubclass(option, BaseModel)), None)


@dataclass(frozen=True, slots=True)
class About:
    """Tells where a plug-in comes from: its class attribute `about`."""

    paper: str  # authors, venue and year; or whose idea it is
    sources: Mapping[str, str] = field(default_factory=dict)  # option -> where its default comes from
    deviations: tuple[str, ...] = ()  # what is otherwise here than in the paper, and why
    needs: frozenset[str] = frozenset()  # of NEEDS: without it there is nothing for the plug-in to do


# What a plug-in may need of a box and its work; `evaluation.requirements` tells whether a scenario has it.
NEEDS = frozenset({"variants", "lanes", "remote", "labels", "ensemble", "preemption", "memory"})
