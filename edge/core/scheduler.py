"""Turns one event into actions, and is the only writer of the state. No clock, no thread, no I/O, no chance."""

from collections.abc import Callable, Mapping, Sequence

from edge.core import events, validation, versions
from edge.core.events import NEVER, Action, Event, Evict, Load, Reply, Run, StepResult, Stop, Time, WakeAt
from edge.core.interfaces import AnswerRule, Policy
from edge.core.requests import Requests, changed
from edge.core.state import WINDOW_NS, Lane, State

# After closing, less than the ten seconds that containers are given to end:
GRACE_NS = 4_000_000_000  # for what runs to end by itself
STOPPING_NS = 1_000_000_000  # for it to end once it was told to
ATTEMPTS_MAX = 2  # works that may fail with a task in them: the second time it was alone, so it is the one at fault


class Scheduler:
    """Keeps the state, asks the policy what to do, and checks what it proposes.

    `answers`: by app; see `Requests`.
    `grace_ns`: how long after `Closing` a work with a deadline may run before it is stopped.
    """

    DECISIONS_MAX = 1_000  # per event, beside two for each open request

    def __init__(self, state: State, policy: Policy, answers: Mapping[str, AnswerRule], grace_ns: int = GRACE_NS):
        self.state = state
        self.grace_ns = grace_ns
        self.policy = policy
        self.answers = answers
        self.actions: list[Action] = []
        self.requests = Requests(state, policy, answers, self.actions)

    def handle(self, event: Event, now: Time) -> list[Action]:
        """Returns what to do about `event`, in this order. `now` is in integer ns and never goes backwards."""
        state = self.state
        assert now >= state.now, f"time went backwards: {now} after {state.now}"
        state.now = now
        actions: list[Action] = []
        self.actions = self.requests.actions = actions
        match event:
            case events.Arrived(request):
                self.requests.open(request)
            case events.Finished(work_id, results, took_ns):
                self._finish(work_id, results, took_ns)
            case events.Woke():
                state.wake_ns = NEVER
            case events.Withdrawn(request_id, reason):
                self.requests.withdraw(request_id, reason)
            case events.Failed(work_id, reason, at_fault):
                self._fail(work_id, reason, at_fault)
            case events.Stopped(work_id):
                self._put_back(work_id)
            case events.Planned(plan):
                state.plan = plan
            case events.Feedback() | events.Combined():
                pass
            case events.Closing():
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
        if state.leaving:
            self.requests.clear_the_way()
        for lane in state.lanes.values():
            while lane.recent and lane.recent[0][0] <= now - WINDOW_NS:
                lane.recent_ns -= lane.recent.popleft()[1]
        for _ in range(self.DECISIONS_MAX + 2 * len(state.requests)):
            action = decide(state, now)
            if action is None:
                return
            self._apply(action)
        raise AssertionError(f"{self.policy} never settles")

    # ---- works ---------------------------------------------------------------------------------------------------

    def _end(self, work_id: int, took_ns: int | None) -> tuple[Run, Lane, int] | None:
        """Frees the lane. Returns `None` for a late event about a work that is over already."""
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
            self.requests.advance(run, task, results[task.id])

    def _learn(self, run: Run, lane: Lane, took_ns: int) -> None:
        state, batch = self.state, len(run.tasks)
        if len(run.stages) == 1:
            state.estimator.learn(state.stages[run.stages[0]], batch, lane.name, took_ns)
            return
        shares = [state.duration_ns(digest, batch, lane) for digest in run.stages]
        for digest, share in zip(run.stages, shares, strict=True):
            state.estimator.learn(state.stages[digest], batch, lane.name, took_ns * share // sum(shares))

    def _fail(self, work_id: int, reason: str, at_fault: Sequence[int]) -> None:
        """Gives up the tasks that the lane names; where it names none, each is tried once more, alone."""
        ended = self._end(work_id, None)
        for task in ended[0].tasks if ended else ():
            if at_fault and task.id not in at_fault:
                self.requests.back(task)
            elif at_fault or task.attempts + 1 >= ATTEMPTS_MAX:
                self.requests.give_up(task, "failed", reason)
            else:
                self.requests.back(changed(task, task.chain, task.at, task.attempts + 1))

    def _put_back(self, work_id: int) -> None:
        ended = self._end(work_id, None)
        for task in ended[0].tasks if ended else ():
            self.requests.back(task)

    # ---- lanes, memory, versions ---------------------------------------------------------------------------------

    def _change(self, event: Event) -> None:
        """Takes over what happened to lanes, memory or models; what has become impossible is given up."""
        state = self.state
        for task in versions.change(state, event):
            self.requests.back(task)
        if state.impossible:
            self.requests.give_up_the_impossible()

    # ---- the end ---------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Answers what waits; background work is stopped at once, since no client waits for it."""
        state = self.state
        if state.closing:
            return
        state.closing, state.closing_ns = True, state.now
        for opened in [*state.requests.values()]:
            if opened.waiting:
                self.requests.reply(opened, "stopped")
        self._stop(lambda run: run.background)

    def _stop(self, chosen: Callable[[Run], bool]) -> None:
        running = [lane.running for lane in self.state.lanes.values() if lane.running is not None]
        self.actions.extend(Stop(run.work_id) for run in running if chosen(run))

    def _hurry(self, now: Time) -> None:
        """Brings closing to an end: what still runs is stopped, and given up where its lane does not care."""
        state = self.state
        stop_ns = state.closing_ns + self.grace_ns
        give_up_ns = stop_ns + STOPPING_NS
        if now >= give_up_ns:
            for opened in [*state.requests.values()]:
                self.requests.reply(opened, "stopped", "its lane did not stop")
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
                validation.check_run(state, action, self.policy)
                action = self._begin(action)
            case Reply():
                validation.check_reply(state, action, self.policy)
                self.requests.drop(state.requests[action.request_id], action)
                return
            case WakeAt(time_ns):
                validation.check_wake(state, action, self.policy)
                state.wake_ns = time_ns
            case Load():
                validation.check_load(state, action, self.policy)
                versions.begin_load(state, action)
            case Evict():
                validation.check_evict(state, action, self.policy)
                versions.evict(state, action)
            case Stop(work_id):
                validation.check_stop(state, action, self.policy)
                state.lanes[state.works[work_id]].stopping = work_id
        self.actions.append(action)

    def _begin(self, proposed: Run) -> Run:
        state, tasks = self.state, proposed.tasks
        for task in tasks:
            self.requests.begin(task)
        if proposed.variant:
            tasks = tuple([self.requests.rerouted(task, proposed.variant) for task in tasks])
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
