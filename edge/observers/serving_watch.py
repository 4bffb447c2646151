"""Detects that a model's serving pointer moved and tells the core. The repository folder is the only interface."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from edge.core.events import Event, LoadFailed, Served, Time
from edge.core.interfaces import Moment
from edge.core.state import State
from porting.errors import UserError
from porting.formats.registry import format_of
from porting.repository.repository import Repository
from porting.variant import Stage, Variant

PERIOD_NS = 500_000_000


def served(repository: Repository, model: str, device_kind: str, others: Iterable[str] = ()) -> Served:
    """Returns the variant that serves now and those named in `others`, with the durations measured on this kind of
    device. Raises `UserError`.
    """
    first = serving(repository, model)
    beside = [repository.variant(model, name) for name in dict.fromkeys(others) if name != first.name]
    stages: dict[str, Stage] = {}
    for variant in (first, *beside):
        found = repository.stages(variant, device_kind)
        check_serves(variant, found, first)
        stages = {stage.digest: stage for stage in found} | stages
    return Served(first, tuple(stages.values()), tuple(beside))


def check_serves(variant: Variant, stages: Sequence[Stage], first: Variant) -> None:
    """Raises `UserError` for a variant that could not replace `first`."""
    if not stages or any(stage.batches[:1] != (1,) or stage.is_step for stage in stages):
        raise UserError(f"{variant.model}/{variant.name}: its stages are not ones that can serve; port it again")
    if variant.output is None or stages[0].input is None:
        raise UserError(
            f"{variant.model}/{variant.name}: takes no pictures or gives no result; only what does can serve frames"
        )
    if first.output is not None and type(format_of(variant.output)) is not type(format_of(first.output)):
        raise UserError(
            f"{variant.model}/{variant.name}: its output is a {variant.output.kind}, that of {first.name} is a"
            f" {first.output.kind}; variants of one model do the same thing"
        )


def serving(repository: Repository, model: str) -> Variant:
    """Returns the variant that the pointer names. Raises `UserError` where there is no pointer."""
    name = repository.serving(model)
    if name is None:
        raise UserError(f"model {model!r} serves nothing; port it: leeway port FILE.onnx --name {model}")
    return repository.variant(model, name)


class ServingWatch:
    """Observes the loop and looks at each pointer's file every half second; reads it only when it changed."""

    def __init__(
        self,
        repository: Repository,
        models: Iterable[str],
        device_kind: str,
        on_trouble: Callable[[str, str], None],
        others: Mapping[str, Sequence[str]] | None = None,
    ):
        self.repository, self.device_kind, self.on_trouble = repository, device_kind, on_trouble
        self.others = others or {}  # model -> variants that may serve beside the one that serves
        self.seen: dict[str, int | None] = {model: stamp(repository, model) for model in models}
        self.looked_ns: Time = 0
        self.told: dict[str, str] = {}  # by model: the trouble that was reported last

    def observe(self, moment: Moment) -> list[Event]:
        """Returns a `Served` event for each pointer that moved, and reports variants that the core gave up."""
        if isinstance(moment.event, LoadFailed | Served):
            self._tell_trouble(moment.state)
        if moment.now - self.looked_ns < PERIOD_NS:
            return []
        self.looked_ns = moment.now
        return [event for model in self.changed() if (event := self._read(model)) is not None]

    def changed(self) -> list[str]:
        """Returns the models whose pointer was replaced since the last call."""
        now: Mapping[str, int | None] = {model: stamp(self.repository, model) for model in self.seen}
        moved = [model for model, mark in now.items() if mark is not None and mark != self.seen[model]]
        self.seen.update(now)
        return moved

    def _tell_trouble(self, state: State) -> None:
        """Reports each variant that was to serve and was given up, once."""
        for name in self.seen:
            trouble = state.models[name].trouble if name in state.models else ""
            if trouble and trouble != self.told.get(name):
                self.on_trouble(name, trouble)
            self.told[name] = trouble

    def _read(self, model: str) -> Served | None:
        try:
            return served(self.repository, model, self.device_kind, self._still_there(model))
        except Exception as error:  # a table that was edited by hand, a format that cannot be imported
            self.on_trouble(model, str(error) or type(error).__name__)  # what serves goes on serving
            return None

    def _still_there(self, model: str) -> list[str]:
        """Returns the wanted variants that exist: a deleted one must not keep the pointer from moving."""
        wanted = self.others.get(model, ())
        there = set(self.repository.variants(model)) if wanted else set()
        for name in wanted:
            if name not in there:
                self.on_trouble(model, f"variant {name!r} is gone; the others serve on without it")
        return [name for name in wanted if name in there]


def stamp(repository: Repository, model: str) -> int | None:
    """Returns a number that changes whenever the pointer is replaced; None while there is none."""
    path: Path = repository.root / model / "serving.json"
    try:
        found = path.stat()
    except OSError:
        return None
    return hash((found.st_mtime_ns, found.st_ino, found.st_size))
