"""One event in, actions out; the only writer of the state. No clock, no thread, no I/O, no chance."""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

from edge import serving
from edge.answers.single import Single
from edge.events import (
    NEVER,
    Action,
    Arrived,
    Closing,
    Event,
    Evict,
    Evicted,
    Failed,
    Finished,
    LaneDown,
    LaneUp,
    Load,
    Loaded,
    LoadFailed,
    Outcome,
    Planned,
    Reply,
    Request,
    Run,
    Served,
    StepResult,
    Stop,
    Stopped,
    Task,
    Time,
    WakeAt,
    Withdrawn,
    Woke,
)
from edge.protocols import Answer, Opening, Policy
from edge.residency import Residency
from edge.state import WINDOW_NS, Lane, Open, Queues, State

ATTEMPTS_MAX = 2  # works that may fail with a task in them: the second time it was alone, so it is the one at fault


class Scheduler:
    """Keeps the state, asks the policy what to do, checks what it proposes.

    `answers`: by app. An app that has none, but is the name of a model, is answered by that model alone.
    """

    DECISIONS_MAX = 1_000  # per event, beside two for each open request

    def __init__(self, state: State, policy: Policy, answers: Mapping[str, Answer]):
        self.state = state
        self.policy = policy
        self.answers = answers
        self.actions: list[Action] = []

    def handle(self, event: Event, now: Time) -> list[Action]:
        """What to do about `event`, in this order. `now` is integer nanoseconds and never goes backwards."""
        state = self.state
        assert now >= state.now, f"time went backwards: {now} after {state.now}"
        state.now = now
        actions: list[Action] = []
        self.actions = actions
        match event:
            case Arrived(request):
                self._open(request)
            case Finished(work_id, results, took_ns):
                self._finish(work_id, results, took_ns)
            case Woke():
                state.wake_ns = NEVER
            case Withdrawn(request_id, reason):
                self._withdraw(request_id, reason)
            case Failed(work_id, reason, at_fault):
                self._fail(work_id, reason, at_fault)
            case Stopped(work_id):
                self._put_back(work_id)
            case Planned(plan):
                state.plan = plan
            case Closing():
                self._close()
            case _:
                self._change(event)
        if not state.closing:
            self._decide(now)
        return actions

    def _decide(self, now: Time) -> None:
        state, decide = self.state, self.policy.decide
        for lane in state.lanes.values():
            while lane.recent and lane.recent[0][0] <= now - WINDOW_NS:
                lane.recent_ns -= lane.recent.popleft()[1]
        for _ in range(self.DECISIONS_MAX + 2 * len(state.requests)):
            action = decide(state, now)
            if action is None:
                return
            self._apply(action)
        raise AssertionError(f"{self.who} never settles")

    @property
    def who(self) -> str:
        """The policy's name, for assertions: wrappers show what they wrap."""
        return repr(self.policy)

    # ---- requests and tasks --------------------------------------------------------------------------------------

    def _open(self, request: Request) -> None:
        state = self.state
        assert request.id not in state.requests, f"request {request.id} arrived twice"
        state.requests[request.id] = opened = Open(request)
        if state.closing:
            self._reply(opened, "stopped")
        elif answer := self._answer_of(request):
            self._open_tasks(opened, answer.opened(request))
        else:
            self._reply(opened, "refused", f"no app and no model is called {request.app!r}")

    def _answer_of(self, request: Request) -> Answer | None:
        answer = self.answers.get(request.app)
        return Single(request.app) if answer is None and request.app in self.state.models else answer

    def _open_tasks(self, opened: Open, openings: Sequence[Opening]) -> None:
        for opening in openings:
            if trouble := self._open_task(opened, opening):
                self._reply(opened, "refused", trouble)
                return

    def _open_task(self, opened: Open, opening: Opening) -> str:
        """Returns why it cannot be opened, or nothing."""
        state, request = self.state, opened.request
        model = state.models.get(opening.model)
        if model is None or model.serving is None:
            return f"no variant of model {opening.model!r} is served"
        chain = model.serving.stages
        if state.impossible and (bad := next((stage for stage in chain if stage in state.impossible), None)):
            return f"{opening.model}: {state.impossible[bad]}"
        deadline_ns = request.deadline_ns
        if deadline_ns is not None and not model.foreground:
            model.foreground = True
            serving.survey(state)
        task_id = state.next_task
        state.next_task += 1
        opened.tasks.append(task_id)
        opened.unfinished += 1
        state.flights[chain] = state.flights.get(chain, 0) + 1
        self._wait(
            Task(
                task_id, (request.id,), opening.model, chain, 0,
                request.arrived_ns, deadline_ns, request.priority, opening.parent, opening.item,
            )
        )  # fmt: skip
        return ""

    def _queues(self, task: Task) -> Queues:
        return self.state.background if task.deadline_ns is None else self.state.queues

    def _wait(self, task: Task) -> None:
        queues, digest = self._queues(task), task.chain[task.at]
        entry = (self.policy.order(task), task.id, task)
        if (queue := queues.get(digest)) is None:
            queues[digest] = [entry]
        else:
            insort(queue, entry)
        for request_id in task.requests:
            if opened := self.state.requests.get(request_id):
                opened.waiting[task.id] = task

    def _leave(self, task: Task) -> None:
        """Out of its queue, whether to run or to be given up."""
        queues, digest = self._queues(task), task.chain[task.at]
        queue = queues[digest]
        at = bisect_left(queue, (self.policy.order(task), task.id))
        assert queue[at][2] is task, f"{self.who}: order of {task} has changed"
        del queue[at]
        if not queue:
            del queues[digest]
        for request_id in task.requests:
            if opened := self.state.requests.get(request_id):
                opened.waiting.pop(task.id, None)

    def _retire(self, task: Task) -> None:
        """Nothing will be done for it any more."""
        flights = self.state.flights
        flights[task.chain] -= 1
        if not flights[task.chain]:
            del flights[task.chain]

    def _reply(self, opened: Open, outcome: Outcome, detail: str = "", tasks: tuple[int, ...] = ()) -> None:
        """Answer a request: exactly once, since this takes it out of the state."""
        requests = self.state.requests
        del requests[opened.request.id]
        for task in [*opened.waiting.values()]:
            if not any(request_id in requests for request_id in task.requests):
                self._leave(task)
                self._retire(task)
        self.actions.append(Reply(opened.request.id, outcome, tasks, detail))

    def _withdraw(self, request_id: int, reason: Outcome) -> None:
        opened = self.state.requests.get(request_id)
        if opened is not None and not opened.begun:
            self._reply(opened, reason)

    # ---- works ---------------------------------------------------------------------------------------------------

    def _end(self, work_id: int, took_ns: int | None) -> tuple[Run, Lane, int] | None:
        """The lane is free again. None: a late event about a work that is over already."""
        state = self.state
        lane = state.lanes.get(state.works.pop(work_id, ""))
        if lane is None or lane.running is None:
            state.ignored += 1
            return None
        run, lane.running = lane.running, None
        took_ns = state.now - lane.began_ns if took_ns is None else took_ns
        lane.busy_ns += took_ns
        if run.background:
            lane.background_ns += took_ns
            lane.recent.append((state.now, took_ns))
            lane.recent_ns += took_ns
        return run, lane, took_ns

    def _finish(self, work_id: int, results: Mapping[int, StepResult], took_ns: int | None) -> None:
        ended = self._end(work_id, took_ns)
        if ended is None:
            return
        run, lane, took_ns = ended
        self._learn(run, lane, took_ns)
        for task in run.tasks:
            self._advance(run, task, results[task.id])

    def _learn(self, run: Run, lane: Lane, took_ns: int) -> None:
        state, batch = self.state, len(run.tasks)
        if len(run.stages) == 1:
            state.estimator.learn(state.stages[run.stages[0]], batch, lane.name, took_ns)
            return
        shares = [state.duration_ns(digest, batch, lane) for digest in run.stages]
        for digest, share in zip(run.stages, shares, strict=True):
            state.estimator.learn(state.stages[digest], batch, lane.name, took_ns * share // sum(shares))

    def _advance(self, run: Run, task: Task, result: StepResult) -> None:
        at = task.at + len(run.stages) if result.next is None else result.next
        if not result.done and at < len(task.chain):
            assert at >= 0, f"{task}: stage {at} of its chain"
            self._back(task if at == task.at else moved(task, at, 0))
            return
        self._retire(task)
        for opened in self._open_requests(task):
            opened.unfinished -= 1
            if opened.request.id in self.state.requests:
                self._progress(opened, task, result)

    def _progress(self, opened: Open, task: Task, result: StepResult) -> None:
        answer = self._answer_of(opened.request)
        assert answer is not None
        progress = answer.finished(opened, task, result)
        if progress.openings and self.state.closing:
            self._reply(opened, "stopped")
        elif progress.openings:
            self._open_tasks(opened, progress.openings)
        for request_id in progress.answered:
            if answered := self.state.requests.get(request_id):
                self._reply(answered, "ok", "", tuple(answered.tasks))

    def _fail(self, work_id: int, reason: str, at_fault: Sequence[int]) -> None:
        """Whom the lane names fails; where it names nobody, each task is tried once more, alone."""
        ended = self._end(work_id, None)
        for task in ended[0].tasks if ended else ():
            if at_fault and task.id not in at_fault:
                self._back(task)
            elif at_fault or task.attempts + 1 >= ATTEMPTS_MAX:
                self._give_up(task, "failed", reason)
            else:
                self._back(moved(task, task.at, task.attempts + 1))

    def _put_back(self, work_id: int) -> None:
        ended = self._end(work_id, None)
        for task in ended[0].tasks if ended else ():
            self._back(task)

    def _back(self, task: Task) -> None:
        """Into the queue of its stage, if anybody still wants it and a lane can ever run it."""
        state = self.state
        if not self._open_requests(task):
            self._retire(task)
        elif state.closing:
            self._give_up(task, "stopped")
        elif state.impossible and (trouble := self._trouble(task)):
            self._give_up(task, "refused", trouble)
        else:
            self._wait(task)

    def _give_up(self, task: Task, outcome: Outcome, detail: str = "") -> None:
        self._retire(task)
        for opened in self._open_requests(task):
            self._reply(opened, outcome, detail)

    def _open_requests(self, task: Task) -> list[Open]:
        requests = self.state.requests
        return [requests[request_id] for request_id in task.requests if request_id in requests]

    def _trouble(self, task: Task) -> str:
        return next((self.state.impossible[at] for at in task.chain[task.at :] if at in self.state.impossible), "")

    # ---- lanes, memory, models -----------------------------------------------------------------------------------

    def _change(self, event: Event) -> None:
        state = self.state
        match event:
            case LaneUp(name, kind, memory_bytes, share):
                assert name not in state.lanes, f"lane {name} came up twice"
                state.lanes[name] = Lane(name, kind, Residency(memory_bytes), share)
            case LaneDown(name, _):
                self._lane_down(name)
            case Loaded(name, digest):
                if lane := self._loaded(name, digest):
                    lane.residency.arrive(digest, state.stages[digest])
                    lane.failures.pop(digest, None)
            case LoadFailed(name, digest, reason):
                if lane := self._loaded(name, digest):
                    lane.residency.release(state.stages[digest])
                    lane.failures[digest] = lane.failures.get(digest, 0) + 1
                    serving.give_up(state, digest, reason)
            case Evicted(name, digest):  # ours left the books when it was ordered; here: memory that a lane lost
                if (lost := state.lanes.get(name)) and lost.residency.holds(digest):
                    lost.residency.evict(digest)
            case Served(variant, stages):
                serving.serve(state, variant, stages)
            case _:
                raise AssertionError(f"unknown event {event}")
        serving.settle(state)
        serving.survey(state)
        if state.impossible:
            self._refuse_impossible()

    def _lane_down(self, name: str) -> None:
        lane = self.state.lanes.pop(name, None)
        if lane is not None and lane.running is not None:
            del self.state.works[lane.running.work_id]
            for task in lane.running.tasks:
                self._back(task)

    def _loaded(self, name: str, digest: str) -> Lane | None:
        """The lane whose load has ended. None: a late event of a lane that was down meanwhile."""
        lane = self.state.lanes.get(name)
        if lane is None or lane.loading != digest:
            self.state.ignored += 1
            return None
        lane.loading = None
        lane.loading_ns += self.state.now - lane.loading_since_ns
        return lane

    def _refuse_impossible(self) -> None:
        for opened in [*self.state.requests.values()]:
            trouble = next((text for task in opened.waiting.values() if (text := self._trouble(task))), "")
            if trouble:
                self._reply(opened, "refused", trouble)

    def _close(self) -> None:
        self.state.closing = True
        for opened in [*self.state.requests.values()]:
            if opened.waiting:
                self._reply(opened, "stopped")

    # ---- what the policy proposes: checked, then done --------------------------------------------------------------

    def _apply(self, action: Action) -> None:
        state = self.state
        match action:
            case Run():
                self._begin(action)
                return
            case Reply(request_id, outcome, _, detail):
                assert request_id in state.requests, f"{self.who}: request {request_id} is not open"
                assert outcome != "ok", f"{self.who}: only an answer says ok"
                self._reply(state.requests[request_id], outcome, detail)
                return
            case Load(name, digest):
                self._begin_load(name, digest)
            case Evict(name, digest):
                lane = state.lanes[name]
                assert lane.residency.holds(digest), f"{self.who}: {digest} is not on {name}"
                busy = lane.running is not None and digest in lane.running.stages
                assert not busy, f"{self.who}: {digest} is running on {name}"
                lane.residency.evict(digest)
                serving.survey(state)
            case WakeAt(time_ns):
                assert state.now < time_ns < state.wake_ns, f"{self.who}: WakeAt({time_ns}) is of no use"
                state.wake_ns = time_ns
            case Stop(work_id):
                assert work_id in state.works, f"{self.who}: work {work_id} is over"
        self.actions.append(action)

    def _begin(self, run: Run) -> None:
        state, tasks, batch = self.state, run.tasks, len(run.tasks)
        lane = state.lanes.get(run.lane)
        assert lane is not None, f"{self.who}: there is no lane {run.lane}"
        assert lane.running is None, f"{self.who}: {run.lane} is busy"
        assert run.stages, f"{self.who}: a run of no stage"
        assert tasks, f"{self.who}: a run of no task"
        for digest in run.stages:
            assert lane.residency.holds(digest), f"{self.who}: {digest} is not on {run.lane}"
            assert batch in state.stages[digest].batches, f"{self.who}: {digest} takes no batch of {batch}"
        for task in tasks:
            walked = task.chain[task.at : task.at + len(run.stages)]
            assert walked == run.stages, f"{self.who}: {run.stages} is not what follows for {task}"
            assert run.background == (task.deadline_ns is None), f"{self.who}: background or not? {run}"
            assert batch == 1 or not task.attempts, f"{self.who}: {task} has failed before, it goes alone"
            self._leave(task)
            for opened in self._open_requests(task):
                opened.begun = True
        run = Run(state.next_work, run.lane, run.stages, tasks, run.background)
        state.next_work += 1
        state.works[run.work_id] = run.lane
        lane.running, lane.began_ns = run, state.now
        lane.free_at_ns = state.now
        for digest in run.stages:
            lane.residency.touch(digest)
            lane.free_at_ns += state.duration_ns(digest, batch, lane)
        self.actions.append(run)

    def _begin_load(self, name: str, digest: str) -> None:
        lane, stage = self.state.lanes[name], self.state.stages[digest]
        assert lane.loading is None, f"{self.who}: {name} is loading {lane.loading}"
        assert not lane.residency.holds(digest), f"{self.who}: {digest} is on {name} already"
        assert lane.can_hold(digest, stage), f"{self.who}: {digest} cannot be loaded on {name}"
        assert lane.residency.fits(stage), f"{self.who}: no room for {digest} on {name}"
        lane.residency.reserve(stage)
        lane.loading, lane.loading_since_ns = digest, self.state.now
        serving.survey(self.state)


def moved(task: Task, at: int, attempts: int) -> Task:
    """The same task, waiting for stage `at` of its chain."""
    return Task(
        task.id, task.requests, task.model, task.chain, at,
        task.arrived_ns, task.deadline_ns, task.priority, task.parent, task.item, attempts,
    )  # fmt: skip
