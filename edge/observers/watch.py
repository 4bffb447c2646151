"""Sees a model's serving pointer move, whoever moved it, and tells the core. The folder is the only interface."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from edge.events import Event, LoadFailed, Served, Time
from edge.protocols import Moment
from edge.state import State
from porting.errors import UserError
from porting.repository import Repository
from porting.variant import Variant

PERIOD_NS = 500_000_000


def served(repository: Repository, model: str, device_kind: str) -> Served:
    """The variant that serves now, with the durations measured on this kind of device. Raises `UserError`."""
    variant = serving(repository, model)
    stages = repository.stages(variant, device_kind)
    if variant.output is None or stages[0].input is None:
        raise UserError(
            f"{model}/{variant.name}: takes no pictures or gives no result; only such a variant can serve frames"
        )
    return Served(variant, stages)


def serving(repository: Repository, model: str) -> Variant:
    """The variant that the pointer names. Raises `UserError` where there is no pointer."""
    name = repository.serving(model)
    if name is None:
        raise UserError(f"model {model!r} serves nothing; port it: leeway port FILE.onnx --name {model}")
    return repository.variant(model, name)


class Watch:
    """Observer: looks at each pointer's file every half second; reads it only when it changed."""

    def __init__(
        self,
        repository: Repository,
        models: Iterable[str],
        device_kind: str,
        on_trouble: Callable[[str, str], None],
    ):
        self.repository, self.device_kind, self.on_trouble = repository, device_kind, on_trouble
        self.seen: dict[str, int | None] = {model: stamp(repository, model) for model in models}
        self.looked_ns: Time = 0
        self.told: dict[str, str] = {}  # by model: the trouble that was told last

    def observe(self, moment: Moment) -> list[Event]:
        if isinstance(moment.event, LoadFailed | Served):
            self._tell_trouble(moment.state)
        if moment.now - self.looked_ns < PERIOD_NS:
            return []
        self.looked_ns = moment.now
        return [event for model in self.changed() if (event := self._read(model)) is not None]

    def changed(self) -> list[str]:
        now: Mapping[str, int | None] = {model: stamp(self.repository, model) for model in self.seen}
        moved = [model for model, mark in now.items() if mark is not None and mark != self.seen[model]]
        self.seen.update(now)
        return moved

    def _tell_trouble(self, state: State) -> None:
        """A variant that was to serve was given up."""
        for name in self.seen:
            trouble = state.models[name].trouble if name in state.models else ""
            if trouble and trouble != self.told.get(name):
                self.on_trouble(name, trouble)
            self.told[name] = trouble

    def _read(self, model: str) -> Served | None:
        try:
            return served(self.repository, model, self.device_kind)
        except (UserError, OSError, ValueError, KeyError) as error:
            self.on_trouble(model, str(error))  # what serves goes on serving
            return None


def stamp(repository: Repository, model: str) -> int | None:
    """Changes whenever the pointer is replaced; None while there is none."""
    path: Path = repository.root / model / "serving.json"
    try:
        found = path.stat()
    except OSError:
        return None
    return hash((found.st_mtime_ns, found.st_ino, found.st_size))
