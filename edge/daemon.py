"""Wires the daemon and runs it. `serve` and `wire` are the map of the running system."""

import gc
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic_ns, time
from typing import Any

from devices.interface import Device, traits_of
from devices.traits import Traits
from edge.answers.cascade import Cascade
from edge.answers.combining import Combines
from edge.answers.infaas import ModelLess
from edge.config import Config
from edge.core.events import Served
from edge.core.interfaces import Observer
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.state import Estimator, State
from edge.data.job import Listener
from edge.estimators.with_network import WithNetwork
from edge.observers.adaptation.labels import Labeller, People, Teacher
from edge.observers.adaptation.observer import STEPS, AdaptationObserver
from edge.observers.adaptation.wiring import background_answers, step_models, teachers, watched_models
from edge.observers.delayed_feedback import DelayedFeedback
from edge.observers.journal import Journal
from edge.observers.metrics import Metrics
from edge.observers.ready import Ready
from edge.observers.results import Results
from edge.observers.serving_watch import ServingWatch, served
from edge.observers.stats import Stats
from edge.observers.trace import Trace
from edge.policies.wrappers.default_stack import complete
from edge.runtime.inbox import LiveInbox
from edge.runtime.lane import LaneThreads
from edge.runtime.prediction_cache import PredictionCache
from edge.runtime.signals import stopped_by_signals
from edge.runtime.worker import Worker
from edge.runtime.world import LiveWorld
from edge.sources.fan_out import Sources
from edge.sources.http.catalogue import PREFIX
from edge.sources.source import STATS, Delivery, Source
from edge.systems import replaced
from porting.errors import UserError
from porting.formats.format import BoxFormat, LabelFormat
from porting.formats.registry import format_of
from porting.repository.repository import Repository

log = logging.getLogger("leeway")


@dataclass(slots=True)
class WiredDaemon:
    """Holds the parts of a daemon that are made and connected."""

    config: Config
    repository: Repository
    world: LiveWorld
    scheduler: Scheduler
    sources: Sources
    inbox: LiveInbox
    metrics: Metrics
    stats: Stats
    observers: list[Observer]
    traces: list[Trace]

    def served(self) -> list[Served]:
        """Returns what serves now, of every model that this box may be asked for.

        Raises `UserError` where a model, a variant or a blob is missing, or an app's models do not fit together.
        """
        kind = nearest({name: lane.device for name, lane in self.world.lanes.items()}).kind
        models, others = models_of(self.scheduler.answers), self.config.variants
        check_variants(models, others)
        found = {model: served(self.repository, model, kind, others.get(model, ())) for model in models}
        for model, event in found.items():
            for variant in (event.variant, *event.others):
                self.repository.check(model, variant.name)  # fails now, in one line, rather than frame by frame later
        for name, answer in self.scheduler.answers.items():
            if isinstance(answer, Cascade):
                check_cascade(name, answer, found)
            check_members(name, answer, found)
        return list(found.values())


def serve(
    config: Config, duration_s: float | None = None, on_ready: Callable[[WiredDaemon], None] = lambda _: None
) -> dict[str, Any]:
    """Runs the daemon until it is told to stop, or for `duration_s`; returns its last statistics.

    `on_ready` is called on this thread just before the loop begins. Raises `UserError` where the box cannot serve
    what the config asks for.
    """
    parts = wire(config)
    world, sources = parts.world, parts.sources
    with ExitStack() as stack:
        stack.enter_context(world)
        for trace in parts.traces:
            stack.enter_context(trace)
        stack.enter_context(stopped_by_signals(world.ask_to_stop))
        stack.enter_context(stopped_after(duration_s, world.ask_to_stop))
        stack.callback(sources.stop)
        sources.prepare(parts.inbox)
        begin = parts.served()

        def open_the_door() -> None:
            gc.collect()
            gc.freeze()  # what is loaded by now stays, so the collector need not walk it while frames wait
            sources.start(parts.inbox)
            models = ", ".join(f"{served.variant.model} {served.variant.name}" for served in begin)
            log.info("serving %s; sources: %s", models, sources)

        parts.observers.append(Ready([served.variant.model for served in begin], open_the_door))
        world.start(
            [*begin, *step_models(config.drift, round(config.background.step_ms * 1e6))], config.background.share
        )
        on_ready(parts)
        run(parts.scheduler, world, parts.observers)
        last = parts.stats.table(monotonic_ns(), parts.scheduler.state, final=True)
        parts.stats.report(last)
    return last


def wire(config: Config) -> WiredDaemon:
    """Makes every part and connects them; nothing runs yet."""
    repository = Repository(config.models)
    devices: dict[str, Device] = {name: table.build(name=name) for name, table in config.devices.items()}
    main = nearest(devices)
    listeners: list[Listener] = []
    lanes: dict[str, LaneThreads] = {}
    world = LiveWorld(config, lanes, listeners)
    step_ns = round(config.background.step_ms * 1e6)
    lanes.update({name: LaneThreads(device, repository, world.post, step_ns) for name, device in devices.items()})

    worker = Worker(world.call, lambda: main.enter(background=True))
    sources = Sources(made_sources(config))
    people = People(worker, sources) if config.drift is not None and not teachers(config.drift) else None
    asked = replaced(config.answer, {name: app.build() for name, app in config.apps.items()})
    feedback = DelayedFeedback(world.post) if any(isinstance(answer, Observer) for answer in asked.values()) else None
    journal = Journal(sources, time, config.journal, log.warning)
    labeller: Labeller = people or Teacher(world, config.drift.teacher_of if config.drift else lambda model: None)
    adapt = AdaptationObserver(
        world, repository, labeller, watched_models(config.drift, repository, main), journal, worker
    )

    prices = {name: traits.price_per_request for name, traits in elsewhere(devices).items()}
    metrics = Metrics(frozenset(teachers(config.drift)), frozenset(config.streams), prices)
    answers = asked | background_answers(config.drift)
    listeners += [
        metrics,
        Results(sources, answers, world.post),
        adapt,
        *([feedback] if feedback else []),
    ]
    policy = complete(config.policy.build(), step_ms=config.background.step_ms)
    scheduler = Scheduler(State(estimator_of(config, devices), transition=config.transition), policy, answers)
    cache = PredictionCache(round(config.cache_mb * 1e6), asked) if config.cache_mb else None
    if cache is not None:
        listeners.append(cache)
        world.admission.recall = cache.recall
    stats = Stats(
        metrics,
        report=lambda table: tell(sources, table),
        models=lambda state: model_tables(state, adapt),
        counters=lambda: sources.counters,
        wall=time,
        period_ns=round(config.stats_period_s * 1e9),
        cache=cache.counters if cache else dict,
        faults=lambda: sources.faults,
    )
    watch = ServingWatch(
        repository,
        models_of(answers),
        main.kind,
        lambda model, why: journal("trouble", model, {"reason": why}),
        config.variants,
    )
    traces = [Trace(config.trace)] if config.trace else []
    planners: list[Observer] = [table.build() for table in config.planners]
    told = [each.answered for each in (people, feedback) if each is not None]
    inbox = LiveInbox(world, repository, answers, limits_of(config, asked), told, sources.fault)
    others: list[Observer] = [*([cache] if cache else []), *([sources] if sources.watching else [])]
    observers: list[Observer] = [world, metrics, watch, *planners, adapt, stats, *others, *traces]
    return WiredDaemon(config, repository, world, scheduler, sources, inbox, metrics, stats, observers, traces)


def made_sources(config: Config) -> list[Source]:
    """Makes every source that the config names; none begins yet. Raises `UserError` for one that is none."""
    made = [(plug_in.use, plug_in.build()) for plug_in in config.all_sources()]
    for use, source in made:
        if not isinstance(source, Source):
            raise UserError(f"sources: {use} is no source: it needs the methods start, publish and stop")
    return [source for _, source in made]


def nearest(devices: Mapping[str, Device]) -> Device:
    """Returns the first device that is in this box, or the first of all: its profiles are the first durations."""
    here = (device for device in devices.values() if not traits_of(device).remote)
    return next(here, next(iter(devices.values())))


def elsewhere(devices: Mapping[str, Device]) -> dict[str, Traits]:
    """Returns the traits of the devices that are not in this box, by name."""
    return {name: traits for name, device in devices.items() if (traits := traits_of(device)).remote}


def estimator_of(config: Config, devices: Mapping[str, Device]) -> Estimator:
    """Builds the estimator; where a device is elsewhere, it adds what the network takes."""
    estimator: Estimator = config.estimator.build()
    overhead_ms = {name: traits.overhead_ms for name, traits in elsewhere(devices).items()}
    return WithNetwork(estimator, overhead_ms) if overhead_ms else estimator


def tell(sources: Sources, table: Mapping[str, Any]) -> None:
    """Publishes statistics. The last ones of a run are delivered at least once; others may be lost."""
    sources.publish(STATS, table, Delivery(retain=True, confirmed=table["final"]))


def models_of(answers: Mapping[str, Any]) -> list[str]:
    """Returns every model that an answer may ask for, each once, without the steps of adaptations."""
    named = [model for answer in answers.values() for model in answer.models()]
    return [model for model in dict.fromkeys(named) if not model.startswith(STEPS)]


def limits_of(config: Config, answers: Mapping[str, Any]) -> dict[str, tuple[float, int]]:
    """Returns SLO in ms and priority by model, for models that an app asks alone: of several apps the tightest."""
    alone = {name: answer.model for name, answer in answers.items() if isinstance(getattr(answer, "model", None), str)}
    apps = sorted(alone, key=lambda name: config.apps[name].slo_ms, reverse=True)
    return {alone[name]: (config.apps[name].slo_ms, config.apps[name].priority) for name in apps}


def check_cascade(app: str, cascade: Cascade, found: Mapping[str, Served]) -> None:
    """Raises `UserError` where the detector finds no boxes, or no kind that the app wants classified."""
    output = found[cascade.detect].variant.output
    if output is None or not isinstance(format := format_of(output), BoxFormat):
        raise UserError(f"apps.{app}.detect: model {cascade.detect!r} finds no boxes; name a detector")
    if unknown := sorted(set(cascade.classify) - set(kinds := format.kinds(output))):
        known = ", ".join(kinds)
        raise UserError(f"apps.{app}.classify: {cascade.detect!r} finds no {unknown[0]!r}; it finds {known}")


def check_variants(models: Sequence[str], others: Mapping[str, Sequence[str]]) -> None:
    """Raises `UserError` for variants of a model that no app asks, most likely a misspelt name."""
    if unknown := [model for model in others if model not in models]:
        raise UserError(f"variants: no app asks model {unknown[0]!r}; the apps ask {', '.join(models)}")


def check_members(app: str, answer: Any, found: Mapping[str, Served]) -> None:
    """Raises `UserError` where an answer combines a model that is no classifier, or needs a variant not on offer."""
    combines = isinstance(answer, Combines)
    for model in answer.models() if combines else ():
        output = found[model].variant.output
        if output is not None and not isinstance(format_of(output), LabelFormat):
            raise UserError(f"apps.{app}: {model!r} is no classifier; only what classifiers say can be combined")
    if isinstance(answer, ModelLess):
        check_accuracy(app, answer, found[answer.model])
    for member in getattr(answer, "members", ()):
        model, _, wanted = member.partition("/")
        names = [variant.name for variant in (found[model].variant, *found[model].others)]
        if wanted and wanted not in names:
            raise UserError(
                f"apps.{app}.members: {member!r} is not served; served are {', '.join(names)};"
                f" name it in `variants` as well"
            )


def check_accuracy(app: str, answer: ModelLess, found: Served) -> None:
    """Raises `UserError` where no variant on offer is known to be as accurate as the app demands."""
    known = {variant.name: variant.accuracy or 0.0 for variant in (found.variant, *found.others)}
    best = max(known, key=lambda name: known[name])
    if known[best] < answer.accuracy_min:
        raise UserError(
            f"apps.{app}.accuracy_min: {answer.accuracy_min:g}, but the best variant of {answer.model} on offer is"
            f" {best} with {known[best]:.3g}; more can be named in `variants`"
        )


def model_tables(state: State, adapt: AdaptationObserver) -> dict[str, dict[str, Any]]:
    """Returns for each model which variant serves, and how its adaptation stands."""
    tables = adapt.tables()
    return {
        name: {
            **tables.get(name, {}),
            "variant": model.serving.name if model.serving else None,
            "trouble": model.trouble,
        }
        for name, model in state.models.items()
        if not name.startswith((STEPS, PREFIX))
    }


@contextmanager
def stopped_after(seconds: float | None, stop: Callable[[], None]) -> Iterator[None]:
    """Has a timer call `stop` after so many seconds inside the context; None: never."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
