"""Asserts that what a policy proposes is possible. Anything else is a bug of the policy, and is said with its name."""

from edge.core.events import Evict, Load, Reply, Run, Stop, Task, WakeAt
from edge.core.state import State


def check_run(state: State, run: Run, policy: object) -> None:
    """Asserts an idle lane that holds the stages, waiting tasks for which they come next, and an accepted batch."""
    lane = state.lanes.get(run.lane)
    batch = len(run.tasks)
    assert lane is not None, f"{policy}: there is no lane {run.lane}"
    assert lane.running is None, f"{policy}: {run.lane} is busy"
    assert run.stages, f"{policy}: a run of no stage"
    assert run.tasks, f"{policy}: a run of no task"
    for digest in run.stages:
        assert lane.residency.holds(digest), f"{policy}: {digest} is not on {run.lane}"
        assert batch in state.stages[digest].batches, f"{policy}: {digest} takes no batch of {batch}"
    for task in run.tasks:
        chain = chain_of(state, run, task, policy) if run.variant else task.chain
        follows = chain[task.at : task.at + len(run.stages)]
        assert follows == run.stages, f"{policy}: {run.stages} is not what follows for {task}"
        assert run.background == (task.deadline_ns is None), f"{policy}: {task} is background, or is it not?"
        assert batch == 1 or not task.attempts, f"{policy}: {task} has failed before, it goes alone"
        assert waits(state, task), f"{policy}: {task} does not wait"
    assert batch == 1 or len({task.id for task in run.tasks}) == batch, f"{policy}: a task twice in one batch"


def chain_of(state: State, run: Run, task: Task, policy: object) -> tuple[str, ...]:
    """Returns the chain that a task would go over to: of the same model, and the same in all that it has gone."""
    assert not task.fixed, f"{policy}: {task} was asked for by the name of its variant"
    variant = state.models[task.model].variants.get(run.variant)
    assert variant is not None, f"{policy}: {task.model} has no variant {run.variant}"
    assert variant.stages[: task.at] == task.chain[: task.at], f"{policy}: {task} is past the fork to {run.variant}"
    return variant.stages


def waits(state: State, task: Task) -> bool:
    """Tells whether this very task waits: not one that has gone on since under the same id."""
    opened = state.requests.get(task.request)
    return opened is not None and opened.waiting.get(task.id) is task


def check_load(state: State, load: Load, policy: object) -> None:
    """Asserts a lane that loads nothing else and has room for a stage that it can hold and does not."""
    lane, stage = state.lanes.get(load.lane), state.stages.get(load.stage)
    assert lane is not None, f"{policy}: there is no lane {load.lane}"
    assert stage is not None, f"{policy}: there is no stage {load.stage}"
    assert lane.loading is None, f"{policy}: {load.lane} is loading {lane.loading}"
    assert not lane.residency.holds(load.stage), f"{policy}: {load.stage} is on {load.lane} already"
    assert lane.can_hold(load.stage, stage), f"{policy}: {load.stage} cannot be loaded on {load.lane}"
    assert lane.residency.fits(stage), f"{policy}: no room for {load.stage} on {load.lane}"


def check_evict(state: State, evict: Evict, policy: object) -> None:
    """Asserts a stage that is loaded and is not running."""
    lane = state.lanes.get(evict.lane)
    assert lane is not None, f"{policy}: there is no lane {evict.lane}"
    assert lane.residency.holds(evict.stage), f"{policy}: {evict.stage} is not on {evict.lane}"
    busy = lane.running.stages if lane.running else ()
    assert evict.stage not in busy, f"{policy}: {evict.stage} is running on {evict.lane}"


def check_reply(state: State, reply: Reply, policy: object) -> None:
    """Asserts that a policy gives up an open request, or some of its tasks that wait; only an answer says ok."""
    opened = state.requests.get(reply.request_id)
    assert opened is not None, f"{policy}: request {reply.request_id} is not open"
    assert all(task_id in opened.waiting for task_id in reply.tasks), f"{policy}: {reply.tasks} do not all wait"
    assert reply.outcome != "ok", f"{policy}: a policy cannot answer ok"


def check_wake(state: State, wake: WakeAt, policy: object) -> None:
    """Asserts a time that lies ahead, and sooner than the world wakes anyway."""
    assert state.now < wake.time_ns < state.wake_ns, f"{policy}: {wake} at {state.now} is of no use"


def check_stop(state: State, stop: Stop, policy: object) -> None:
    """Asserts a work that is still running."""
    assert stop.work_id in state.works, f"{policy}: work {stop.work_id} is over"
