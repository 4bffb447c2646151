"""Keep in memory what is going to run: load what waits, what is to serve, what serves; evict what is needed least."""

from dataclasses import dataclass
from typing import Any, ClassVar

from edge.core.events import Action, Evict, Load, Reply, Task, Time
from edge.core.interfaces import About, Policy
from edge.core.state import Entry, Lane, Queues, State
from edge.policies.blocks.batching import nearby
from edge.policies.blocks.eviction import BACKGROUND, IDLE, LATER, UNUSED, behind, expected, victims


@dataclass
class Resident:
    """Loads for the tasks that `inner` cannot run yet, before `inner` is asked; loads ahead when it has nothing to do.

    `keep`: stages that nothing needs any more which may stay on a lane (a rollback finds them there). A policy whose
    attribute `loads` is true loads for whoever waits itself.
    """

    inner: Policy
    keep: int = 4

    about: ClassVar[About] = About(
        paper="Gujarati et al., Serving DNNs like Clockwork, OSDI 2020: the scheduler alone says what is in memory",
        sources={
            "inner": "whatever orders the work with deadlines",
            "keep": "ours: a model of two stages and what served before it, for a rollback",
        },
        deviations=(
            "loads for whoever waits first, where the paper weighs the demand of every model that is not there",
            "what nobody needs goes first, then background work's, then what serves and is idle; the paper: least"
            " recently used of all",
        ),
    )

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        return (
            (self._leave(state) if state.leaving else None)
            or (None if self._inner_loads() else self._demand(state, state.queues, LATER))
            or self.inner.decide(state, now)
            or (self._preload(state) if state.plan.preload else None)
            or self._ahead(state)
            or self._demand(state, state.background, BACKGROUND)
            or self._trim(state)
        )

    def _inner_loads(self) -> bool:
        """Wrappers stand around it, perhaps."""
        policy: object = self.inner
        while policy is not None:
            if getattr(policy, "loads", False):
                return True
            policy = getattr(policy, "inner", None)
        return False

    def _leave(self, state: State) -> Action | None:
        """Versions that have to leave before the next one comes: as soon as nobody walks them any more."""
        gone = state.leaving - state.in_flight()
        for lane in state.lanes.values():
            for digest in lane.residency.resident:
                if digest in gone:
                    return Evict(lane.name, digest)
        return None

    def _demand(self, state: State, queues: Queues, level: int) -> Action | None:
        """For the first of the tasks whose stage is on no lane of this box."""
        lanes, resident = self._near(state)
        if queues.keys() <= resident:
            return None
        absent = [
            (queue[0], digest)
            for digest, queue in queues.items()
            if digest not in resident and not any(lane.loading == digest for lane in lanes)
        ]
        for entry, digest in sorted(absent):
            for lane in willing(state, lanes, digest):
                if action := make_room(state, lane, digest, level, entry):
                    return action
            if level == BACKGROUND and hopeless(state):
                return Reply(entry[2].request, "refused", (entry[2].id,), "no room beside what serves")
        return None

    def _near(self, state: State) -> tuple[list[Lane], set[str]]:
        """Lanes of this box and the stages on them: what another box can run as well is wanted here all the same."""
        lanes = nearby(state)
        if len(lanes) == len(state.lanes):
            return lanes, state.resident
        return lanes, {digest for lane in lanes for digest in lane.residency.resident}

    def _preload(self, state: State) -> Action | None:
        """What the plan expects to be asked for, in its order; idle models that it does not expect give way."""
        lanes, resident = self._near(state)
        for digest in expected(state):
            if digest in resident or any(lane.loading == digest for lane in lanes):
                continue
            for lane in lanes:
                if action := make_room(state, lane, digest, IDLE):
                    return action
        return None

    def _ahead(self, state: State) -> Action | None:
        for name, digest in state.wanted:
            level = BACKGROUND if digest in state.pending else UNUSED
            if action := make_room(state, state.lanes[name], digest, level):
                return action
        return self._last_resort(state) if state.wanted else None

    def _last_resort(self, state: State) -> Action | None:
        """A pending variant that finds no room anywhere would wait for ever: idle models give way."""
        for name, digest in state.wanted:
            if digest in state.pending and (action := make_room(state, state.lanes[name], digest, IDLE)):
                return action
        return None

    def _trim(self, state: State) -> Action | None:
        if all(len(lane.residency.resident) <= len(state.needed) + self.keep for lane in state.lanes.values()):
            return None
        for lane in state.lanes.values():
            unused = [*victims(state, lane, UNUSED, None)]
            if len(unused) > self.keep:
                return Evict(lane.name, unused[0])
        return None


def willing(state: State, lanes: list[Lane], digest: str) -> list[Lane]:
    """Those that can hold it; where none can, others that can and do not yet."""
    stage = state.stages[digest]
    able = [lane for lane in lanes if lane.can_hold(digest, stage)]
    return able or [lane for lane in state.lanes.values() if not lane.residency.holds(digest)]


def make_room(state: State, lane: Lane, digest: str, level: int, entry: Entry | None = None) -> Action | None:
    """Load it, or first evict for it; nothing where even evicting all that may go would not be enough."""
    stage = state.stages[digest]
    if lane.loading is not None or not lane.can_hold(digest, stage) or (state.leaving and behind(state, lane, digest)):
        return None
    if lane.residency.fits(stage):
        return Load(lane.name, digest)
    kept = beside(state, digest) if state.transition == "availability" and entry is None else frozenset()
    chosen = lane.residency.victims(stage, (it for it in victims(state, lane, level, entry) if it not in kept))
    return Evict(lane.name, chosen[0]) if chosen else None


def beside(state: State, digest: str) -> frozenset[str]:
    """Availability-preserving: what a pending version's load must not push out, since it serves until then."""
    models = [model for model in state.models.values() if model.pending and digest in model.pending.stages]
    return frozenset(kept for model in models if model.serving for kept in model.serving.stages)


def hopeless(state: State) -> bool:
    """Nothing is on its way in, nothing will leave: what serves fills the lanes."""
    settled = all(lane.loading is None and lane.running is None for lane in state.lanes.values())
    return bool(state.lanes) and settled and not state.pending and not state.leaving
