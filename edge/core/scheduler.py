"""One event in, actions out; the only writer of the state. No clock, no thread, no I/O, no chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from edge.core import versions
from edge.core.events import (
    NEVER,
    Action,
    Arrived,
    Closing,
    Combined,
    Event,
    Evict,
    Failed,
    Feedback,
    Finished,
    Load,
    Outcome,
    Planned,
    Reply,
    Request,
    Run,
    StepResult,
    Stop,
    Stopped,
    Task,
    Time,
    WakeAt,
    Withdrawn,
    Woke,
)
from edge.core.interfaces import AnswerRule, ModelAlone, Opening, Policy
from edge.core.queues import leave, moved, open_requests, opened_task, overtaken, rerouted, retire, trouble_ahead, wait
from edge.core.state import WINDOW_NS, Lane, OpenRequest, State
from edge.core.validation import check_evict, check_load, check_reply, check_run, check_stop, check_wake

# After closing, less than the ten seconds that containers are given to end:
GRACE_NS = 4_000_000_000  # for what runs to end by itself
STOPPING_NS = 1_000_000_000  # for it to end once it was told to
ATTEMPTS_MAX = 2  # works that may fail with a task in them: the second time it was alone, so it is the one at fault


class Scheduler:
    """Keeps the state, asks the policy what to do, checks what it proposes.

    `answers`: by app. An app that has none, but is the name of a model, is answered by that model alone.
    `grace_ns`: how long after `Closing` a work with a deadline may run before it is stopped.
    """

    DECISIONS_MAX = 1_000  # per event, beside two for each open request

    def __init__(self, state: State, policy: Policy, answers: Mapping[str, AnswerRule], grace_ns: int = GRACE_NS):
        self.state = state
        self.grace_ns = grace_ns
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
            case Feedback() | Combined():
                pass
            case Closing():
                self._close()
            case _:
                self._change(event)
        if state.closing:
            self._hurry(now)
        else:
            self._decide(now)
        return actions

    def _decide(self, now: Time) -> None:
        state, decide = self.state, self.policy.decide
        for task in overtaken(state, self.policy.order) if state.leaving else ():
            self._give_up(task, "refused", "its version had to leave")
        for lane in state.lanes.values():
            while lane.recent and lane.recent[0][0] <= now - WINDOW_NS:
                lane.recent_ns -= lane.recent.popleft()[1]
        for _ in range(self.DECISIONS_MAX + 2 * len(state.requests)):
            action = decide(state, now)
            if action is None:
                return
            self._apply(action)
        raise AssertionError(f"{self.policy} never settles")

    # ---- requests and tasks --------------------------------------------------------------------------------------

    def _open(self, request: Request) -> None:
        state = self.state
        assert request.id not in state.requests, f"request {request.id} arrived twice"
        state.requests[request.id] = opened = OpenRequest(request)
        if state.closing:
            self._reply(opened, "stopped")
        elif answer := self._answer_of(request):
            self._open_tasks(opened, answer.opened(request))
        else:
            self._reply(opened, "refused", f"no app and no model is called {request.app!r}")

    def _answer_of(self, request: Request) -> AnswerRule | None:
        answer = self.answers.get(request.app)
        return ModelAlone(request.app) if answer is None and request.app in self.state.models else answer

    def _open_tasks(self, opened: OpenRequest, openings: Sequence[Opening]) -> None:
        for at, opening in enumerate(openings, 1):
            trouble = self._open_task(opened, opening)
            if trouble and not self._may_do(opened, len(openings) - at):
                self._reply(opened, "refused", trouble)
                return
        if openings and not opened.unfinished and not self._reply_partly(opened):
            self._reply(opened, "refused", trouble)  # nothing could be opened, and nobody would ever come back to it

    def _open_task(self, opened: OpenRequest, opening: Opening) -> str:
        """Returns why it cannot be opened, or nothing."""
        state, request = self.state, opened.request
        model = state.models.get(opening.model)
        if model is None or model.serving is None:
            return f"no variant of model {opening.model!r} is served"
        chain = (model.variants.get(opening.variant) or model.serving).stages
        if state.impossible and (bad := next((stage for stage in chain if stage in state.impossible), None)):
            return f"{opening.model}: {state.impossible[bad]}"
        if request.deadline_ns is not None and not model.foreground:
            model.foreground = True
            versions.survey(state)
        wait(state, opened_task(state, opened, opening, chain), self.policy.order)
        return ""

    def _reply(self, opened: OpenRequest, outcome: Outcome, detail: str = "", tasks: tuple[int, ...] = ()) -> None:
        """Answer a request: exactly once, since this takes it out of the state."""
        requests = self.state.requests
        del requests[opened.request.id]
        for task in [*opened.waiting.values()]:
            if not any(request_id in requests for request_id in task.requests):
                leave(self.state, task, self.policy.order)
                retire(self.state, task)
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
        if run.background:
            lane.recent.append((state.now, took_ns))
            lane.recent_ns += took_ns
        return run, lane, took_ns

    def _finish(self, work_id: int, results: Mapping[int, StepResult], took_ns: int | None) -> None:
        ended = self._end(work_id, took_ns)
        if ended is None:
            return
        run, lane, took_ns = ended
        lane.ended, lane.took_ns = run, took_ns
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
        retire(self.state, task)
        for opened in open_requests(self.state, task):
            opened.unfinished -= 1
            opened.finished.append(task.id)
            if opened.request.id in self.state.requests:
                self._progress(opened, task, result)

    def _progress(self, opened: OpenRequest, task: Task, result: StepResult) -> None:
        answer = self._answer_of(opened.request)
        assert answer is not None
        progress = answer.finished(opened, task, result)
        if progress.openings and self.state.closing:
            self._reply(opened, "stopped")
        elif progress.openings:
            self._open_tasks(opened, progress.openings)
        for request_id in progress.answered:
            if answered := self.state.requests.get(request_id):
                done = [task_id for task_id in answered.tasks if task_id not in answered.lost]
                self._reply(answered, "ok", "partial" if answered.lost else "", tuple(done))

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
        if not open_requests(self.state, task):
            retire(self.state, task)
        elif state.closing:
            self._give_up(task, "stopped")
        elif state.impossible and (trouble := trouble_ahead(self.state, task)):
            self._give_up(task, "refused", trouble)
        else:
            wait(state, task, self.policy.order)

    def _give_up(self, task: Task, outcome: Outcome, detail: str = "") -> None:
        retire(self.state, task)
        for opened in open_requests(self.state, task):
            if outcome == "stopped" or not self._lose(opened, [task.id]):
                self._reply(opened, outcome, detail)

    def _lose(self, opened: OpenRequest, tasks: Sequence[int]) -> bool:
        """These tasks will not end. False: without them there is no answer."""
        opened.lost += tasks
        opened.unfinished -= len(tasks)
        if not self._may_do(opened):
            return False
        return bool(opened.unfinished) or self._reply_partly(opened)

    def _may_do(self, opened: OpenRequest, more: int = 0) -> bool:
        """Could all that came, may still come, and the `more` tasks about to be opened make an answer?"""
        answer = self._answer_of(opened.request)
        hoped = [*(task_id for task_id in opened.tasks if task_id not in opened.lost), *range(-more, 0)]
        return answer is not None and bool(answer.partial(replace(opened, tasks=hoped, finished=hoped)))

    def _reply_partly(self, opened: OpenRequest) -> bool:
        """Answer with what has come so far, where that is an answer."""
        answer = self._answer_of(opened.request) if opened.finished else None
        enough = tuple(answer.partial(opened)) if answer is not None else ()
        if enough:
            self._reply(opened, "ok", "partial", enough)
        return bool(enough)

    def _change(self, event: Event) -> None:
        """Lanes, memory or models are others now: so may be what is possible."""
        for task in versions.change(self.state, event):
            self._back(task)
        requests = self.state.requests
        for opened in [*requests.values()] if self.state.impossible else ():
            for task in [*opened.waiting.values()]:
                if opened.request.id in requests and (trouble := trouble_ahead(self.state, task)):
                    leave(self.state, task, self.policy.order)
                    self._give_up(task, "refused", trouble)

    # ---- the end ---------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """What waits is answered; background work is stopped at once, since nobody waits for it."""
        state = self.state
        if state.closing:
            return
        state.closing, state.closing_ns = True, state.now
        for opened in [*state.requests.values()]:
            if opened.waiting:
                self._reply(opened, "stopped")
        self._stop(lambda run: run.background)

    def _stop(self, chosen: Callable[[Run], bool]) -> None:
        running = [lane.running for lane in self.state.lanes.values() if lane.running is not None]
        self.actions.extend(Stop(run.work_id) for run in running if chosen(run))

    def _hurry(self, now: Time) -> None:
        """Closing comes to an end: what still runs is stopped, and given up where its lane does not care."""
        state = self.state
        stop_ns = state.closing_ns + self.grace_ns
        give_up_ns = stop_ns + STOPPING_NS
        if now >= give_up_ns:
            for opened in [*state.requests.values()]:
                self._reply(opened, "stopped", "its lane did not stop")
        elif now >= stop_ns:
            self._stop(lambda run: True)  # again at every event: a lane that was between two stages has not heard it
        wake_ns = stop_ns if now < stop_ns else give_up_ns
        if state.requests and wake_ns < state.wake_ns:
            state.wake_ns = wake_ns
            self.actions.append(WakeAt(wake_ns))

    # ---- what the policy proposes: checked, then done --------------------------------------------------------------

    def _apply(self, action: Action) -> None:
        state = self.state
        match action:
            case Run():
                check_run(state, action, self.policy)
                action = self._begin(action)
            case Reply():
                check_reply(state, action, self.policy)
                self._drop(state.requests[action.request_id], action)
                return
            case WakeAt(time_ns):
                check_wake(state, action, self.policy)
                state.wake_ns = time_ns
            case Load():
                check_load(state, action, self.policy)
                versions.begin_load(state, action)
            case Evict():
                check_evict(state, action, self.policy)
                versions.evict(state, action)
            case Stop(work_id):
                check_stop(state, action, self.policy)
                state.lanes[state.works[work_id]].stopping = work_id
        self.actions.append(action)

    def _drop(self, opened: OpenRequest, reply: Reply) -> None:
        """The policy gives a request up, or some of its tasks. What has come, or still may, can do all the same."""
        deadline_ns = NEVER if opened.request.deadline_ns is None else opened.request.deadline_ns
        given_up = [task for task in opened.waiting.values() if not reply.tasks or task.id in reply.tasks]
        shared = any(len(task.requests) > 1 for task in given_up)  # others still want it
        for_lack_of_time = reply.outcome in ("late", "refused")
        if for_lack_of_time and given_up and not shared and self.state.now < deadline_ns:
            for task in given_up:
                leave(self.state, task, self.policy.order)
                retire(self.state, task)
            if self._lose(opened, [task.id for task in given_up]):
                return
        elif for_lack_of_time and self._reply_partly(opened):
            return
        self._reply(opened, reply.outcome, reply.detail)

    def _begin(self, proposed: Run) -> Run:
        state, tasks = self.state, proposed.tasks
        for task in tasks:
            leave(self.state, task, self.policy.order)
            for opened in open_requests(self.state, task):
                opened.begun = True
        if proposed.variant:
            tasks = tuple([rerouted(state, task, proposed.variant) for task in tasks])
        run = Run(
            state.next_work, proposed.lane, proposed.stages, tasks, proposed.background, proposed.variant,
            proposed.latest_ns,
        )  # fmt: skip
        state.next_work += 1
        state.works[run.work_id] = run.lane
        lane = state.lanes[run.lane]
        lane.running, lane.began_ns = run, state.now
        for digest in run.stages:
            lane.residency.touch(digest)
        return run
