"""Opens, advances and answers requests: the life of a task between an event and a lane."""

from collections.abc import Mapping, Sequence

from edge.core import partial_answers, versions
from edge.core.events import NEVER, Action, Outcome, Reply, Request, Run, StepResult, Task
from edge.core.interfaces import AnswerRule, ModelAlone, Opening, Policy
from edge.core.state import OpenRequest, State


class Requests:
    """Keeps the requests that are not answered yet, and their tasks. Called by the scheduler only.

    `answers`: by app. An app that has none, but is the name of a model, is answered by that model alone.
    """

    def __init__(self, state: State, policy: Policy, answers: Mapping[str, AnswerRule], actions: list[Action]):
        self.state = state
        self.policy = policy
        self.answers = answers
        self.actions = actions

    # ---- requests ------------------------------------------------------------------------------------------------

    def open(self, request: Request) -> None:
        """Opens the first tasks of a request that arrives, or refuses it."""
        state = self.state
        assert request.id not in state.requests, f"request {request.id} arrived twice"
        state.requests[request.id] = opened = OpenRequest(request)
        if state.closing:
            self.reply(opened, "stopped")
        elif request.app in self.answers or request.app in state.models:
            self._open_tasks(opened, self._rule(request).opened(request))
        else:
            self.reply(opened, "refused", f"no app and no model is called {request.app!r}")

    def _rule(self, request: Request) -> AnswerRule:
        return self.answers.get(request.app) or ModelAlone(request.app)

    def _open_tasks(self, opened: OpenRequest, openings: Sequence[Opening]) -> None:
        rule, trouble = self._rule(opened.request), ""
        for at, opening in enumerate(openings, 1):
            trouble = self._open_task(opened, opening)
            if trouble and not partial_answers.hopeful(rule, opened, len(openings) - at):
                self.reply(opened, "refused", trouble)
                return
        if openings and not opened.unfinished and not self._reply_partly(opened):
            self.reply(opened, "refused", trouble)  # no task could be opened, so none would ever end it

    def _open_task(self, opened: OpenRequest, opening: Opening) -> str:
        """Returns why it cannot be opened, or nothing. Tasks have the request's times: one end-to-end deadline."""
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
        task = Task(
            state.next_task, request.id, opening.model, chain, 0, request.arrived_ns, request.deadline_ns,
            request.priority, opening.parent, opening.item, fixed=bool(opening.variant),
        )  # fmt: skip
        state.next_task += 1
        state.depart(chain)
        opened.tasks.append(task.id)
        opened.unfinished += 1
        self._wait(task, opened)
        return ""

    def reply(self, opened: OpenRequest, outcome: Outcome, detail: str = "", tasks: tuple[int, ...] = ()) -> None:
        """Answers a request: exactly once, since this takes it out of the state."""
        del self.state.requests[opened.request.id]
        for task in [*opened.waiting.values()]:
            self._leave(task, opened)
            self.state.retire(task)
        self.actions.append(Reply(opened.request.id, outcome, tasks, detail))

    def _reply_partly(self, opened: OpenRequest) -> bool:
        """Answers with what has come so far, where that is an answer; tells whether it was."""
        enough = partial_answers.enough(self._rule(opened.request), opened)
        if enough:
            self.reply(opened, "ok", "partial", enough)
        return bool(enough)

    def withdraw(self, request_id: int, reason: Outcome) -> None:
        """Answers a request that its client no longer wants, unless work on it has begun."""
        opened = self.state.requests.get(request_id)
        if opened is not None and not opened.begun:
            self.reply(opened, reason)

    def drop(self, opened: OpenRequest, reply: Reply) -> None:
        """Gives up a request, or some of its waiting tasks, as a policy says; the rest may still make an answer."""
        deadline_ns = NEVER if opened.request.deadline_ns is None else opened.request.deadline_ns
        given_up = [task for task in opened.waiting.values() if not reply.tasks or task.id in reply.tasks]
        for_lack_of_time = reply.outcome in ("late", "refused")
        if for_lack_of_time and given_up and self.state.now < deadline_ns:
            for task in given_up:
                self._leave(task, opened)
                self.state.retire(task)
            if self._do_without(opened, [task.id for task in given_up]):
                return
        elif for_lack_of_time and self._reply_partly(opened):
            return
        self.reply(opened, reply.outcome, reply.detail)

    # ---- tasks: into a queue, out of it, on, back, given up -------------------------------------------------------

    def _wait(self, task: Task, opened: OpenRequest) -> None:
        self.state.queues_of(task).push(task, self.policy.order(task))
        opened.waiting[task.id] = task

    def _leave(self, task: Task, opened: OpenRequest) -> None:
        self.state.queues_of(task).pop(task)
        del opened.waiting[task.id]

    def begin(self, task: Task) -> None:
        """Takes a task out of its queue, since a lane begins with it."""
        opened = self.state.requests[task.request]
        self._leave(task, opened)
        opened.begun = True

    def advance(self, run: Run, task: Task, result: StepResult) -> None:
        """Moves a task on by what its lane says: to a next stage, or to its end, which may answer the request."""
        at = task.at + len(run.stages) if result.next is None else result.next
        if not result.done and at < len(task.chain):
            assert at >= 0, f"{task}: stage {at} of its chain"
            self.back(task if at == task.at else changed(task, task.chain, at, 0))
            return
        self.state.retire(task)
        if (opened := self.state.requests.get(task.request)) is not None:
            opened.unfinished -= 1
            opened.finished.append(task.id)
            self._progress(opened, task, result)

    def _progress(self, opened: OpenRequest, task: Task, result: StepResult) -> None:
        progress = self._rule(opened.request).finished(opened, task, result)
        if progress.openings and self.state.closing:
            self.reply(opened, "stopped")
        elif progress.openings:
            self._open_tasks(opened, progress.openings)
        elif progress.answered:
            self.reply(opened, "ok", "partial" if opened.lost else "", partial_answers.complete(opened))

    def back(self, task: Task) -> None:
        """Puts a task into the queue of its stage, if its request is still open and a lane can ever run it."""
        state = self.state
        opened = state.requests.get(task.request)
        if opened is None:
            state.retire(task)
        elif state.closing:
            self.give_up(task, "stopped")
        elif state.impossible and (trouble := state.trouble_ahead(task)):
            self.give_up(task, "refused", trouble)
        else:
            self._wait(task, opened)

    def give_up(self, task: Task, outcome: Outcome, detail: str = "") -> None:
        """Books a task that is in no queue as lost; its request is answered without it, or with this outcome."""
        self.state.retire(task)
        opened = self.state.requests.get(task.request)
        if opened is not None and (outcome == "stopped" or not self._do_without(opened, [task.id])):
            self.reply(opened, outcome, detail)

    def give_up_the_impossible(self) -> None:
        """Gives up the waiting tasks whose chain no lane can ever run to its end."""
        state = self.state
        for opened in [*state.requests.values()]:
            for task in [*opened.waiting.values()]:
                if opened.request.id in state.requests and (trouble := state.trouble_ahead(task)):
                    self._leave(task, opened)
                    self.give_up(task, "refused", trouble)

    def _do_without(self, opened: OpenRequest, tasks: Sequence[int]) -> bool:
        """Tells whether the request goes on, or was answered, without these tasks, which will not end."""
        if not partial_answers.lose(self._rule(opened.request), opened, tasks):
            return False
        return bool(opened.unfinished) or self._reply_partly(opened)

    def rerouted(self, task: Task, variant: str) -> Task:
        """Returns the same task on the chain of another variant of its model."""
        chain = self.state.models[task.model].variants[variant].stages
        self.state.retire(task)
        self.state.depart(chain)
        return changed(task, chain, task.at, task.attempts)

    def clear_the_way(self) -> None:
        """Moves what waits for a version that has to leave to the one that serves, if it has not begun.

        What has begun is given up where it would keep the old version for long: the rest of its way is not loaded any
        more, or it is work without a deadline.
        """
        state, stuck = self.state, []
        for queues in (state.queues, state.background):
            for task in queues.expire(lambda task: versions.is_overtaken(state, task)):
                opened = state.requests[task.request]
                del opened.waiting[task.id]
                if task.at == 0:
                    serving = state.models[task.model].serving
                    assert serving is not None, f"{task.model}: a version has to leave, and none serves"
                    self._wait(self.rerouted(task, serving.name), opened)
                else:
                    stuck.append(task)
        for task in stuck:
            self.give_up(task, "refused", "its version had to leave")


def changed(task: Task, chain: tuple[str, ...], at: int, attempts: int) -> Task:
    """Returns the same task, to wait for stage `at` of `chain`."""  # written out: `replace` takes three times as long
    return Task(
        task.id, task.request, task.model, chain, at, task.arrived_ns, task.deadline_ns,
        task.priority, task.parent, task.item, attempts, task.fixed,
    )  # fmt: skip
