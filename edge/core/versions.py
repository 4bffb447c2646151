"""Decides which variants serve, and derives what lanes hold for it and what no lane can ever take.

Called by the scheduler only. `edge.core` tells the states of a version and what moves it from one to the next.
"""

from collections.abc import Sequence

from edge.core.events import Event, Evict, Evicted, LaneDown, LaneUp, Load, Loaded, LoadFailed, Served, Task
from edge.core.residency import Residency
from edge.core.state import Lane, Model, State
from porting.variant import Stage, Variant


def change(state: State, event: Event) -> Sequence[Task]:
    """Takes over what happened to lanes, memory or models. Returns the tasks that a lost lane was running."""
    lost: Sequence[Task] = ()
    match event:
        case LaneUp(name, kind, memory_bytes):
            assert name not in state.lanes, f"lane {name} came up twice"
            state.lanes[name] = Lane(name, kind, Residency(memory_bytes), traits=event.traits)
        case LaneDown(name, _):
            lost = lane_down(state, name)
        case Loaded(name, digest):
            if lane := load_ended(state, name, digest):
                lane.residency.arrive(digest, state.stages[digest])
                lane.failures.pop(digest, None)
        case LoadFailed(name, digest, reason):
            if lane := load_ended(state, name, digest):
                lane.residency.release(state.stages[digest])
                lane.failures[digest] = lane.failures.get(digest, 0) + 1
                load_failed(state, lane, digest, reason)
        case Evicted(name, digest):  # ours left the books when it was ordered; here: memory that a lane lost
            if (loser := state.lanes.get(name)) and loser.residency.holds(digest):
                loser.residency.evict(digest)
        case Served(variant, stages, others):
            serve(state, variant, stages, others)
        case _:
            raise AssertionError(f"unknown event {event}")
    settle(state)
    survey(state)
    return lost


# ---- lanes and their memory --------------------------------------------------------------------------------------


def lane_down(state: State, name: str) -> Sequence[Task]:
    """Forgets a lane. Returns the tasks that it was running."""
    lane = state.lanes.pop(name, None)
    if lane is None or lane.running is None:
        return ()
    del state.works[lane.running.work_id]
    return lane.running.tasks


def begin_load(state: State, load: Load) -> None:
    """Books the room of a stage whose load is ordered."""
    lane = state.lanes[load.lane]
    lane.residency.reserve(state.stages[load.stage])
    lane.loading = load.stage
    survey(state)


def load_ended(state: State, name: str, digest: str) -> Lane | None:
    """Returns the lane whose load has ended; `None` for a late event of a lane that was down meanwhile."""
    lane = state.lanes.get(name)
    if lane is None or lane.loading != digest:
        state.ignored += 1
        return None
    lane.loading = None
    return lane


def evict(state: State, eviction: Evict) -> None:
    """Frees a stage's room at once, since a lane evicts and loads in the order that it is told."""
    state.lanes[eviction.lane].residency.evict(eviction.stage)
    survey(state)


# ---- versions of a model -----------------------------------------------------------------------------------------


def serve(state: State, variant: Variant, stages: Sequence[Stage], others: Sequence[Variant]) -> None:
    """Takes note that a pointer moved: the variant is pending until `settle` finds it loaded."""
    table = {stage.digest: stage for stage in stages}
    for offered in (variant, *others):
        assert set(offered.stages) <= set(table), f"{offered.model}/{offered.name}: stages are missing in Served"
    for digest, stage in table.items():
        assert stage.batches[0] == 1, f"{variant.model}/{variant.name}: {digest} does not take a batch of one"
        known = state.stages.get(digest)
        assert known is None or known.blobs == stage.blobs, f"{digest}: one digest, two contents"
        for lane in state.lanes.values():
            lane.failures.pop(digest, None)
    state.stages.update(table)
    model = state.models.setdefault(variant.model, Model())
    model.pending, model.variants = variant, {offered.name: offered for offered in (variant, *others)}


def settle(state: State) -> None:
    """Lets pending variants serve whose stages are all on one lane, or that have no version to wait behind."""
    for model in state.models.values():
        if model.former is not None and model.serving is not None and loaded(state, model.serving):
            model.former = None
        if model.pending is None:
            continue
        if model.serving is not None and (trouble := trouble_of(state, model.pending)):
            abandon(model, trouble)
        elif model.serving is not None and state.transition == "resource":
            displace(model)
        elif model.serving is None or loaded(state, model.pending):
            switch(model)
        elif not fit_together(state, model):
            settle_for_one(state, model, model.serving)


def settle_for_one(state: State, model: Model, old: Variant) -> None:
    """Decides between two versions where there is room for one of them."""
    if state.transition == "availability" and not trouble_of(state, old):
        abandon(model, f"no room beside {old.name}, which serves")
    else:
        switch(model)


def switch(model: Model) -> None:
    """Lets the pending variant serve."""
    model.serving, model.pending = model.pending, None
    model.trouble, model.given_up = "", None


def displace(model: Model) -> None:
    """Lets the pending variant serve from now on, though it is not loaded: the old one has to leave first."""
    assert model.serving is not None
    assert model.pending is not None
    model.former = model.serving
    model.leaving = model.leaving.union(model.serving.stages).difference(model.pending.stages)
    switch(model)


def load_failed(state: State, failed: Lane, digest: str, reason: str) -> None:
    """Gives up what waited for a stage that could not be loaded; the old variant serves on, or again.

    Unless another lane can have it: a box far away that lacks a new graph is no reason to do without it here.
    """
    stage = state.stages[digest]
    if any(lane.can_hold(digest, stage) for lane in state.lanes.values() if lane is not failed):
        return
    for model in state.models.values():
        if model.pending is not None and digest in model.pending.stages:
            abandon(model, reason)
        elif model.former is not None and model.serving is not None and digest in model.serving.stages:
            model.pending, model.serving, model.former = model.serving, model.former, None
            model.leaving = model.leaving.union(model.pending.stages).difference(model.serving.stages)
            abandon(model, reason)


def abandon(model: Model, reason: str) -> None:
    """Gives the pending variant up."""
    assert model.pending is not None
    model.trouble, model.given_up = f"{model.pending.name}: {reason}", model.pending.name
    model.variants.pop(model.pending.name, None)
    if model.serving is not None:
        model.variants[model.serving.name] = model.serving
    model.pending = None


def is_overtaken(state: State, task: Task) -> bool:
    """Tells whether a waiting task keeps a version that has to leave, and could move or should be given up.

    A task under way may end on the old version while the rest of its chain is loaded, if it has a deadline.
    """
    if state.leaving.isdisjoint(task.chain):
        return False
    lost = any(digest in state.leaving and digest not in state.resident for digest in task.chain[task.at :])
    return task.at == 0 or lost or task.deadline_ns is None


# ---- what is loaded, what fits, what cannot be ---------------------------------------------------------------------


def loaded(state: State, variant: Variant) -> bool:
    """Tells whether one lane holds all stages of a variant."""
    return any(all(map(lane.residency.holds, variant.stages)) for lane in state.lanes.values())


def fit_together(state: State, model: Model) -> bool:
    """Tells whether a lane has room for the old variant beside the new one. Else waiting would be for ever."""
    assert model.serving is not None
    assert model.pending is not None
    if not state.lanes:
        return True
    blobs: dict[str, int] = {}
    for digest in (*model.serving.stages, *model.pending.stages):
        blobs.update(state.stages[digest].blobs)
    room = max(lane.residency.limit_bytes for lane in state.lanes.values())
    return sum(blobs.values()) <= room and not trouble_of(state, model.serving)


def trouble_of(state: State, variant: Variant) -> str:
    """Returns why no lane can take one of a variant's stages; empty where one can, or where there is no lane."""
    return next((why for digest in variant.stages if (why := trouble_with(state, digest))), "")


def trouble_with(state: State, digest: str) -> str:
    """Returns why no lane can take a stage; empty where one can, or where there is no lane."""
    stage, lanes = state.stages[digest], state.lanes.values()
    if not lanes or any(lane.can_hold(digest, stage) for lane in lanes):
        return ""
    room = max(lane.residency.limit_bytes for lane in lanes)
    too_large = f"a stage needs {stage.memory_bytes} bytes, the largest lane has {room}"
    return too_large if stage.memory_bytes > room else "a stage could not be loaded"


def survey(state: State) -> None:
    """Derives `needed`, `wanted`, `impossible` and `leaving` again, and forgets stages that nothing refers to."""
    models = sorted(state.models.values(), key=lambda model: not model.foreground)
    needed: dict[str, bool] = {}
    ranked = [(model, model.pending) for model in models] + [(model, model.serving) for model in models]
    ranked += [(model, other) for model in models for other in model.variants.values()]
    for model, variant in ranked:
        for digest in variant.stages if variant else ():
            needed[digest] = needed.get(digest, False) or model.foreground
    lanes = [*state.lanes.values()]
    held = {digest for lane in lanes for digest in (*lane.residency.resident, lane.loading)} | state.in_flight()
    kept = held.union(needed, *(model.former.stages for model in models if model.former))
    for model in models:
        model.leaving = (model.leaving & held).difference(needed)
    state.leaving = set().union(*(model.leaving for model in models))
    state.stages = {digest: stage for digest, stage in state.stages.items() if digest in kept}
    state.needed = needed
    state.resident = {digest for lane in lanes for digest in lane.residency.resident}
    state.pending = {digest for model in models if model.pending for digest in model.pending.stages}
    state.wanted = [(lane.name, digest) for digest in needed for lane in lanes if wants(lane, digest, state)]
    state.impossible = {digest: why for digest in state.stages if (why := trouble_with(state, digest))}


def wants(lane: Lane, digest: str, state: State) -> bool:
    """Tells whether a lane could load a stage that it has not."""
    return not lane.has(digest) and lane.can_hold(digest, state.stages[digest])
