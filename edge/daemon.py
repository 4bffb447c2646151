"""Wires the daemon and runs it. `serve` is the map of the running system."""

import gc
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic_ns, time
from typing import Any

from devices.interface import Device
from edge.config import Config
from edge.events import Plan, Planned, Served
from edge.lane import LaneThreads
from edge.live import Live
from edge.loop import run
from edge.observers.journal import Journal
from edge.observers.metrics import Metrics
from edge.observers.results import Results
from edge.observers.stats import Stats
from edge.observers.watch import Watch, served
from edge.policies.complete import complete
from edge.scheduler import Scheduler
from edge.sources.mqtt import MqttSource
from edge.state import State
from porting.errors import UserError
from porting.repository import Repository

log = logging.getLogger("leeway")


@dataclass(slots=True)
class Parts:
    """What `serve` has wired, for whoever looks on: the benchmarks, the tests."""

    world: Live
    scheduler: Scheduler
    metrics: Metrics
    source: MqttSource
    stats: Stats


def serve(config: Config, on_ready: Callable[[Parts], None] = lambda parts: None) -> dict[str, Any]:
    """Run until told to stop; returns the last statistics. Raises `UserError` where the box cannot serve what is asked."""
    parts, observers, adaptation_served = wire(config)
    repository = Repository(config.models)
    kind = next(iter(parts.world.lanes.values())).device.kind
    begin = [served(repository, model, kind) for model in models_of(config)] + adaptation_served
    with ExitStack() as stack:
        stack.enter_context(parts.world)
        stack.enter_context(stopped_by_signals(parts.world.ask_to_stop))
        parts.world.start(begin)
        parts.world.ready.append(Planned(Plan(background=config.background.share)))
        parts.source.start()
        stack.callback(parts.source.stop)
        gc.freeze()  # what is loaded by now stays: the collector need not walk it while frames wait
        on_ready(parts)
        run(parts.scheduler, parts.world, observers)
        last = parts.stats.table(monotonic_ns(), parts.scheduler.state, final=True)
        parts.stats.report(last)
    return last


def wire(config: Config) -> tuple[Parts, list[Any], list[Served]]:
    repository = Repository(config.models)
    devices: dict[str, Device] = {name: table.build(name=name) for name, table in config.devices.items()}
    metrics = Metrics(labelling=frozenset({config.drift.teacher} if config.drift and config.drift.teacher else ()))
    listeners: list[Any] = [metrics]
    lanes: dict[str, LaneThreads] = {}
    world = Live(config, lanes, listeners)
    step_ns = round(config.background.step_ms * 1e6)
    lanes.update({name: LaneThreads(device, repository, world.post, step_ns) for name, device in devices.items()})
    source = MqttSource(config.mqtt, world.receive, on_answer_of(config, world, listeners))
    listeners.append(Results(source))
    journal = Journal(source, time, config.journal, log.warning)
    adapt, steps = wire_adaptation(config, world, repository, source, devices, journal)
    if adapt is not None:
        listeners.append(adapt)
    answers = {name: app.build() for name, app in config.apps.items()} | background_answers(config)
    scheduler = Scheduler(State(config.estimator.build()), complete(config.policy.build(), config), answers)
    stats = Stats(metrics, publish_stats(source), told_models(adapt), lambda: source.counters, time, period_ns(config))
    kind = next(iter(devices.values())).kind
    watch = Watch(repository, models_of(config), kind, lambda model, why: journal("trouble", model, {"reason": why}))
    observers = [metrics, watch, *([adapt] if adapt else []), stats]
    return Parts(world, scheduler, metrics, source, stats), observers, steps
