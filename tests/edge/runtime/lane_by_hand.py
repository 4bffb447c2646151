"""A lane whose events a test waits for one by one."""

import threading
from itertools import count

from edge.core.events import NEVER, Loaded, Run, Task
from edge.data.job import TaskJob, WorkOrder
from edge.data.picture import Picture
from edge.runtime.lane import LaneThreads


class Lane:
    """Threads of a lane whose events are waited for one by one."""

    def __init__(self, device, repository):
        self.events, self.came = [], threading.Condition()
        self.repository = repository
        self.threads = LaneThreads(device, repository, self.post, step_ns=10_000_000)
        self.threads.start()
        self.ids = count(1)

    def post(self, event):
        with self.came:
            self.events.append(event)
            self.came.notify()

    def next(self):
        with self.came:
            assert self.came.wait_for(lambda: self.events, 10)
            return self.events.pop(0)

    def serve(self, model, variant="fp32"):
        found = self.repository.variant(model, variant)
        stages = self.repository.stages(found, "cpu")
        for stage in stages:
            self.threads.load(stage)
            assert self.next() == Loaded(self.threads.name, stage.digest)
        return found, stages

    def run(self, stages, jobs, at=0, chain=None, latest_ns=NEVER):
        chain = chain or tuple(stage.digest for stage in stages)
        tasks = tuple(Task(next(self.ids), 1, job.model, chain, at, 0, None) for job in jobs)
        digests = tuple(stage.digest for stage in stages)
        run = Run(next(self.ids), self.threads.name, digests, tasks, latest_ns=latest_ns)
        self.threads.run(WorkOrder(run, tuple(stages), tuple(jobs)))
        return tasks, self.next()


def job_of(variant, payload):
    return TaskJob(variant.model, variant, Picture(payload))
