"""Clients that send the next request once the last one is answered: a closed loop.

By its nature this is no trace: a policy that answers sooner is asked more. Two policies never meet the same requests;
compare how much was done, not which share of it, and keep closed loops out of tables whose rows are paired.
"""

from collections.abc import Sequence

from edge.core.events import Action, Arrived, Event, Reply, Request, Time
from edge.core.interfaces import Observer, Policy
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import SimulatedWorld
from edge.core.state import Estimator, State
from edge.estimators.table import Table
from evaluation.arrivals.request import Client
from evaluation.scenario import Scenario

BACK_OFF_NS = 1_000_000  # a client that was refused does not ask again at the same instant, for ever


class ClosedLoop(SimulatedWorld):
    """A simulated world where clients wait for their answers, beside the requests that come anyway.

    Clients begin at `start_ns` and send nothing after `until_ns`; what they asked is in `requests`, with the rest.
    """

    def __init__(
        self, scenario: Scenario, clients: Sequence[Client], until_ns: Time, start_ns: Time = 0, noise: float = 0.0
    ):
        super().__init__(
            scenario.seed, scenario.requests, scenario.lanes, scenario.served, scenario.detections,
            noise=noise, slowdown=scenario.slowdown, waiting_max=scenario.waiting_max,
            profile=scenario.profile or Table(),
        )  # fmt: skip
        self.until_ns = until_ns
        self.next_id = scenario.requests[-1].id + 1 if scenario.requests else 1
        self.asked: dict[int, Client] = {}  # by request, until it is answered
        for client in clients:
            for _ in range(client.outstanding):
                self._ask(client, start_ns)

    def do(self, action: Action) -> None:
        super().do(action)
        if isinstance(action, Reply) and (client := self.asked.pop(action.request_id, None)) is not None:
            pause_ns = client.think_ns if action.outcome == "ok" else max(client.think_ns, BACK_OFF_NS)
            self._ask(client, self.now + pause_ns)

    def _ask(self, client: Client, at_ns: Time) -> None:
        if at_ns >= self.until_ns:
            return
        deadline_ns = None if client.slo_ns is None else at_ns + client.slo_ns
        request = Request(self.next_id, client.app, client.stream, at_ns, deadline_ns)
        self.next_id += 1
        self.asked[request.id] = client
        self._push(at_ns, Arrived(request))

    def _note(self, event: Event) -> None:
        if isinstance(event, Arrived):
            self.requests.append(event.request)
        super()._note(event)


def play_closed(
    scenario: Scenario, clients: Sequence[Client], until_ns: Time, policy: Policy, estimator: Estimator,
    observers: Sequence[Observer] = (), start_ns: Time = 0,
) -> ClosedLoop:  # fmt: skip
    """As `evaluation.scenario.play`, with clients that wait. What was asked is in the world's `requests`."""
    world = ClosedLoop(scenario, clients, until_ns, start_ns)
    run(Scheduler(State(estimator), policy, scenario.answers), world, observers)
    return world
