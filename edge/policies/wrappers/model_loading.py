"""Keeps in memory what will run: loads what waits, is pending or serves; evicts what is needed least."""

from dataclasses import dataclass
from typing import Any, ClassVar

from edge.core.events import Action, Evict, Load, Reply, Task, Time
from edge.core.interfaces import Policy
from edge.core.queues import Entry, Queues
from edge.core.state import Lane, State
from edge.plugins import About
from edge.policies.blocks.batching import nearby
from edge.policies.blocks.eviction import BACKGROUND, IDLE, LATER, UNUSED, behind, expected, victims


@dataclass
class ModelLoading:
    """Loads for tasks that `inner` cannot run yet before asking it, and loads ahead when `inner` has nothing to do.

    A policy whose attribute `loads` is true, wrapped or not, loads for waiting tasks itself.

    `inner`: any policy.
    `keep`: number of stages without any use that may stay on a lane, where a rollback finds them.
    """

    inner: Policy
    keep: int = 4

    about: ClassVar[About] = About(
        paper="Gujarati et al., Serving DNNs like Clockwork, OSDI 2020: the scheduler alone says what is in memory",
        sources={
            "inner": "ours: any policy that orders the work with deadlines",
            "keep": "ours: a model of two stages and its predecessor, for a rollback",
        },
        deviations=(
            "loads for the first waiting task, where the paper weighs the demand of every model that is not loaded",
            "evicts unused stages first, then those of background work, then idle ones that serve; the paper: least"
            " recently used of all",
        ),
    )

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        """Evicts versions that must leave, loads for waiting tasks, asks `inner`, then loads ahead and trims."""
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
        """Returns whether the innermost policy loads by itself; wrappers may stand between."""
        policy: object = self.inner
        while policy is not None:
            if getattr(policy, "loads", False):
                return True
            policy = getattr(policy, "inner", None)
        return False

    def _leave(self, state: State) -> Action | None:
        """Evicts versions that must leave before the next one is loaded, once no unfinished task uses them."""
        gone = state.leaving - state.in_flight()
        for lane in state.lanes.values():
            for digest in lane.residency.resident:
                if digest in gone:
                    return Evict(lane.name, digest)
        return None

    def _demand(self, state: State, queues: Queues, level: int) -> Action | None:
        """Loads for the first of the tasks whose stage is on no lane of this box."""
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
        """Returns the lanes of this box and the stages on them; a copy on another box does not count."""
        lanes = nearby(state)
        if len(lanes) == len(state.lanes):
            return lanes, state.resident
        return lanes, {digest for lane in lanes for digest in lane.residency.resident}

    def _preload(self, state: State) -> Action | None:
        """Loads what the plan expects, in its order; idle models that it does not expect give way."""
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
        """Evicts idle models for a pending variant that finds no room anywhere, which would wait for ever."""
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
    """Returns the lanes that can hold the stage; if none of `lanes` can, all lanes that do not hold it yet."""
    stage = state.stages[digest]
    able = [lane for lane in lanes if lane.can_hold(digest, stage)]
    return able or [lane for lane in state.lanes.values() if not lane.residency.holds(digest)]


def make_room(state: State, lane: Lane, digest: str, level: int, entry: Entry | None = None) -> Action | None:
    """Returns the load of the stage, or an eviction for it; None if evicting all that may go would not be enough."""
    stage = state.stages[digest]
    if lane.loading is not None or not lane.can_hold(digest, stage) or (state.leaving and behind(state, lane, digest)):
        return None
    if lane.residency.fits(stage):
        return Load(lane.name, digest)
    kept = beside(state, digest) if state.transition == "availability" and entry is None else frozenset()
    chosen = lane.residency.victims(stage, (it for it in victims(state, lane, level, entry) if it not in kept))
    return Evict(lane.name, chosen[0]) if chosen else None


def beside(state: State, digest: str) -> frozenset[str]:
    """Returns the stages that a load for a pending version must not evict, since they serve until then.

    Used for the transition "availability" only.
    """
    models = [model for model in state.models.values() if model.pending and digest in model.pending.stages]
    return frozenset(kept for model in models if model.serving for kept in model.serving.stages)


def hopeless(state: State) -> bool:
    """Returns whether no load, run or version change is under way, so that what serves fills the lanes for good."""
    settled = all(lane.loading is None and lane.running is None for lane in state.lanes.values())
    return bool(state.lanes) and settled and not state.pending and not state.leaving
