"""Reads `edge.yaml` into frozen, strict values: an unknown key is an error.

The environment is read only where a value asks for a variable."""

import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from drift.settings import DriftSettings
from edge.core.state import Transition
from edge.plugins import PlugIn, Strict, build, first_problem
from edge.sources.http.settings import HttpSettings
from edge.sources.mqtt.settings import MqttSettings
from edge.sources.mqtt.topics import valid_level
from edge.systems import system
from porting.errors import UserError

SECRET = re.compile(r"\{(LEEWAY_[A-Z0-9_]+)\}")  # "{LEEWAY_MQTT_PASSWORD}" in a value
SHORT_FORMS = {"mqtt": "edge.sources.mqtt.source:MqttSource", "http": "edge.sources.http.server:HttpSource"}

Table = TypeVar("Table", bound=BaseModel)


class AppSettings(PlugIn):
    """Says what a frame asks for: an answer plug-in, its options, and the time it may take."""

    slo_ms: float = Field(gt=0, description="deadline of a frame, counted from its arrival at the daemon, ms")
    priority: int = Field(0, description="larger goes first among equals")

    def build(self, **more: Any) -> Any:
        """Builds the answer. `more` are options that replace those of the file."""
        return build({**self.model_dump(exclude={"slo_ms", "priority"}), **more})


class StreamSettings(Strict):
    """Describes one camera; the entry `*` is for every camera that has none of its own."""

    apps: tuple[str, ...] = Field(min_length=1, description="names of `apps` that each frame goes through")
    waiting_max: int = Field(
        1, ge=1, le=32, description="frames of this stream that may wait; a newer one takes the oldest's place"
    )
    enabled: bool = True


class BackgroundSettings(Strict):
    """Limits the time for work without a deadline: audits, labelling, retraining."""

    share: float = Field(0.5, ge=0, le=1, description="largest share of each lane's time")
    step_ms: float = Field(10.0, gt=0, description="longest single step")


class Config(Strict):
    """Holds the whole of `edge.yaml`."""

    models: Path = Field(description="the model repository; relative to this file")
    mqtt: MqttSettings | None = Field(
        None,
        description="frames in and results out over MQTT; short for an entry of `sources` and served beside them; with "
        "these defaults where the file has neither `mqtt` nor `sources`",
    )
    http: HttpSettings | None = Field(
        None,
        description="answer tensors as well, by the Open Inference Protocol v2; short for an entry of `sources` and "
        "served beside them; `{}`: with these defaults",
    )
    sources: tuple[PlugIn, ...] = Field(
        (),
        description="where frames come from and results go to; a path in their options is relative to this file where "
        "it begins with `./` or `../`",
    )
    devices: dict[str, PlugIn] = Field(
        default_factory=lambda: {"cpu0": PlugIn(use="devices.cpu:Cpu")}, min_length=1, description="lanes by name"
    )
    system: str | None = Field(
        None,
        description="policy, planners, estimator and answer at once: a name that `leeway bench schedulers --list` "
        "shows, or a YAML file; keys of those names in this file go before it",
    )
    policy: PlugIn = PlugIn(use="edge.policies.least_harm:LeastHarm")
    planners: tuple[PlugIn, ...] = Field((), description="slow loops that set limits for the fast one, in this order")
    estimator: PlugIn = PlugIn(use="edge.estimators.rolling:Rolling")
    answer: PlugIn | None = Field(
        None,
        description="takes the place of every app that asks one model (`edge.answers.single:Single`); gets `model`",
    )
    apps: dict[str, AppSettings] = Field(min_length=1)
    variants: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="model -> names of its variants in the repository that may be asked beside the one that serves, "
        "by answers and policies that choose between them or ask several; loaded like it",
    )
    streams: dict[str, StreamSettings] = Field(min_length=1)
    background: BackgroundSettings = Field(default_factory=lambda: BackgroundSettings.model_validate({}))
    transition: Transition = Field(
        "auto",
        description="how a version gives way to the next: availability (the old one serves until the new one is "
        "loaded), resource (the old one leaves memory first), auto (the first where both fit, else the second)",
    )
    cache_mb: float = Field(
        0, ge=0, description="memory for answers to frames that come again byte by byte; 0: every frame is looked at"
    )
    drift: DriftSettings | None = Field(None, description="leave out to serve frozen models")
    trace: Path | None = Field(None, description="write every event and action as JSON lines to this file")
    journal: Path | None = Field(None, description="write alarms, audits, promotions as JSON lines to this file")
    stats_period_s: float = Field(1.0, gt=0, description="how often statistics are published")

    @model_validator(mode="before")
    @classmethod
    def _mqtt_by_default(cls, table: Any) -> Any:
        """Adds `mqtt` with its defaults to a file that names no source at all."""
        if isinstance(table, dict) and table.get("mqtt") is None and not table.get("sources"):
            return {**table, "mqtt": {}}
        return table

    def all_sources(self) -> list[PlugIn]:
        """Returns every source to serve: those of the short forms, `mqtt` before `http`, then those of `sources`."""
        short = {use: getattr(self, key) for key, use in SHORT_FORMS.items()}
        named = [PlugIn(use=use, **dict(settings)) for use, settings in short.items() if settings is not None]
        return [*named, *self.sources]

    def stream(self, name: str) -> StreamSettings | None:
        """Returns the entry of a camera, or that of `*`; None where the file has neither."""
        return self.streams.get(name) or self.streams.get("*")


def load(path: Path) -> Config:
    """Reads and checks a config file. Raises `UserError` with the first thing wrong, where, and what is expected."""
    try:
        table = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give the path of an edge.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(table, dict):
        raise UserError(f"{path}: expected a mapping of keys at the top; see `leeway config schema`")
    table = with_system(substitute(table, path), path)
    try:
        config = Config.model_validate(table)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error, Config)}; see `leeway config schema`") from error
    check_names(config, path)
    return anchored(config, path.resolve().parent)


def with_system(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Returns the file's keys, and those of the system that it names where it has no such key itself.

    Raises `UserError` for a system that does not exist or cannot be read.
    """
    named = table.get("system")
    if not isinstance(named, str):
        return table
    try:
        return {**system(named, beside=path.resolve().parent).table(), **table}
    except UserError as error:
        raise UserError(f"{path}: system: {error}") from error


def substitute(value: Any, path: Path) -> Any:
    """Replaces `{LEEWAY_NAME}` in every string by that environment variable, so that passwords stay out of the file.

    Raises `UserError` for a variable that is not set.
    """
    if isinstance(value, dict):
        return {key: substitute(inner, path) for key, inner in value.items()}
    if isinstance(value, list):
        return [substitute(inner, path) for inner in value]
    return SECRET.sub(lambda match: secret(match[1], path), value) if isinstance(value, str) else value


def secret(name: str, path: Path) -> str:
    if name not in os.environ:
        raise UserError(f"{path}: asks for the environment variable {name}, which is not set")
    return os.environ[name]


def check_names(config: Config, path: Path) -> None:
    """Raises `UserError` for an app whose name cannot be part of a topic, or a stream whose app does not exist."""
    for name in config.apps:
        try:
            valid_level(name)
        except ValueError as error:
            raise UserError(f"{path}: apps: {error}; results are published under the app's name") from None
    for name, stream in config.streams.items():
        for app in stream.apps:
            if app not in config.apps:
                known = ", ".join(config.apps)
                raise UserError(f"{path}: streams.{name}.apps: no app is called {app!r}; apps here: {known}")


def anchored(config: Config, folder: Path) -> Config:
    """Returns the config with its relative paths resolved against the file's folder, not the current one."""
    if config.mqtt is not None and config.mqtt.tls is not None:
        mqtt = config.mqtt.model_copy(update={"tls": _anchored(config.mqtt.tls, folder)})
        config = config.model_copy(update={"mqtt": mqtt})
    sources = tuple(PlugIn(**_anchored_options(source.model_dump(), folder)) for source in config.sources)
    return _anchored(config.model_copy(update={"sources": sources}), folder)


def _anchored_options(value: Any, folder: Path) -> Any:
    """Resolves the paths in a plug-in's options, which have no types here: a path is known by how it begins."""
    if isinstance(value, dict):
        return {key: _anchored_options(inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_anchored_options(inner, folder) for inner in value]
    return str(folder / value) if isinstance(value, str) and value.startswith(("./", "../")) else value


def _anchored(table: Table, folder: Path) -> Table:
    return table.model_copy(update={key: folder / value for key, value in table if isinstance(value, Path)})


def schema() -> dict[str, Any]:
    """Returns the JSON schema of `edge.yaml`, for editors."""
    return Config.model_json_schema()
