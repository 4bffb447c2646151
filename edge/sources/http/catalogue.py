"""Lists what can be asked for with tensors: each served model by its name, each graph of it by its digest.

A graph is served as a model of its own, `http/<model>/<place in its chain>`, with a chain of that one stage. Where
that is the stage of the model itself, both wait in one queue and share batches. The place keeps the name when a
promotion brings another graph, so names do not pile up; those of a chain that became shorter stay.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace

from edge.answers.single import Single
from edge.core.events import Event, Evicted, LaneDown, LaneUp, Loaded, LoadFailed, Served
from edge.core.interfaces import AnswerRule, Moment
from edge.core.state import Model, State
from porting.variant import Stage, Variant

PREFIX = "http/"  # of the apps, streams and models that are ours; no model from the repository has a slash in its name
CHANGES = (Served, Loaded, LoadFailed, Evicted, LaneUp, LaneDown)


@dataclass(frozen=True, slots=True)
class Version:
    """Describes one version that may be asked for: under which app the core knows it, and the stages it walks."""

    app: str
    variant: Variant
    stages: tuple[Stage, ...]
    ready: bool  # is all of it loaded somewhere?

    @property
    def bare(self) -> bool:
        """Returns whether it is a graph by itself."""
        return self.variant.model.startswith(PREFIX)

    @property
    def head(self) -> str | None:
        """Returns the blob of arrays that belongs to a bare graph; `None` where it has none, or is a whole model.

        A request for the bare graph sends arrays of the same names and shapes along.
        """
        return self.variant.made_by.get("head") if self.bare else None


@dataclass(frozen=True, slots=True)
class Entry:
    """Holds the versions of one model or graph by name.

    The first one serves, and is meant where a question names none. stream: the stream of its requests.
    """

    name: str
    stream: str
    versions: Mapping[str, Version] = field(default_factory=dict)


class Catalogue:
    """Follows the core as an observer, and keeps `entries` by name.

    `entries` is replaced as a whole, so any thread may read it.

    A model is asked for as an app of its own name, which the core understands by itself, and so does a replay of its
    trace. Versions that do not serve, and models whose name another app has, are apps of ours. They are written into
    `answers`, the mapping that the scheduler itself looks into: the one place where an observer changes what the core
    knows other than by an event.
    """

    def __init__(self, answers: MutableMapping[str, AnswerRule]):
        self.answers = answers
        self.taken = {name for name, answer in answers.items() if answer != Single(name)}
        self.entries: Mapping[str, Entry] = {}

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Yields each graph of a model that begins to serve as a model of its own.

        Renews `entries` where a pointer, a load or a lane has changed.
        """
        event = moment.event
        if isinstance(event, CHANGES):
            self._look(moment.state)
        if isinstance(event, Served) and is_ours(event):
            yield from parts_of(event)

    def _look(self, state: State) -> None:
        entries: dict[str, Entry] = {}
        for name, model in state.models.items():
            if model.serving is not None and readable(stages_of(state, model.serving)):
                entry = entry_of(state, name, model, model.serving, PREFIX + name if name in self.taken else name)
                entries[entry.name] = entry
        self._keep_answers(entries, state)
        self.entries = entries

    def _keep_answers(self, entries: Mapping[str, Entry], state: State) -> None:
        wanted: dict[str, AnswerRule] = {}
        for entry in entries.values():
            serving = next(iter(entry.versions))
            for name, version in entry.versions.items():
                if version.app.startswith(PREFIX) and not version.bare:
                    wanted[version.app] = Single(entry.name, "" if name == serving else name)
        asked = {opened.request.app for opened in state.requests.values()}
        for app in [app for app in self.answers if app.startswith(PREFIX) and app not in wanted and app not in asked]:
            del self.answers[app]
        self.answers.update(wanted)


def is_ours(served: Served) -> bool:
    """Returns whether a model of the repository begins to serve whose graphs can all be read."""
    serving = (stage for stage in served.stages if stage.digest in served.variant.stages)
    return not served.variant.model.startswith(PREFIX) and readable(serving)


def readable(stages: Iterable[Stage]) -> bool:
    """Returns whether inputs and outputs can be read off all graphs, without the device that runs them."""
    return all(stage.is_onnx for stage in stages)


def parts_of(served: Served) -> Iterator[Served]:
    """Yields each graph of the chain as a model of its own."""
    stages = {stage.digest: stage for stage in served.stages}
    for place, digest in enumerate(served.variant.stages):
        stage = stages[digest]
        bare = without_head(stage)
        made_by = {"head": stage.head} if stage.head else {}
        name = f"{PREFIX}{served.variant.model}/{place}"
        yield Served(Variant(name, stage.graph, (bare.digest,), made_by=made_by), (bare,))


def without_head(stage: Stage) -> Stage:
    """Returns the stage with the same graph for requests that send a head along: it takes tensors only.

    A stage that has no head is returned itself.
    """
    if stage.head is None:
        return stage
    blobs = {stage.graph: stage.blobs[stage.graph]} if stage.graph in stage.blobs else dict(stage.blobs)
    return replace(stage, head=None, input=None, blobs=blobs)


def entry_of(state: State, name: str, model: Model, serving: Variant, app: str) -> Entry:
    """Returns the entry of a model with the versions that can be read, without one that is still being loaded to serve.

    app: asks for the version that serves.
    """
    if name.startswith(PREFIX):
        return Entry(serving.name, name, {serving.name: version_of(state, name, serving)})
    waiting = [it for it in model.variants.values() if it is not model.pending and it.name != serving.name]
    others = [it for it in waiting if readable(stages_of(state, it))]
    versions = {it.name: version_of(state, f"{PREFIX}{name}@{it.name}", it) for it in others}
    return Entry(name, PREFIX + name, {serving.name: version_of(state, app, serving), **versions})


def version_of(state: State, app: str, variant: Variant) -> Version:
    """Returns a variant as a version; it is ready where each of its stages is held by some lane."""
    return Version(app, variant, stages_of(state, variant), state.resident.issuperset(variant.stages))


def stages_of(state: State, variant: Variant) -> tuple[Stage, ...]:
    return tuple(state.stages[digest] for digest in variant.stages)
