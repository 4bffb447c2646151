"""What lanes can keep up with in the long run, when work is a fluid: no window and no arrival, only rates."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Flow:
    """Requests of one model, and the device time that each of them takes."""

    rate_rps: float
    item_s: float


def least_item_ns(durations_ns: Mapping[int, int], limit_ns: int) -> float:
    """Device time of one item in the best batch that takes at most so long; infinite if none does."""
    return min((took_ns / batch for batch, took_ns in durations_ns.items() if took_ns <= limit_ns), default=inf)


def sustainable_rps(durations_ns: Mapping[int, int], slo_ns: int, lanes: int = 1) -> float:
    """Requests a second of one model, arriving evenly, that lanes serve without missing any; 0 if none.

    Who just missed a batch waits until the next lane is free, a duration / lanes, and then takes a duration: on one
    lane half the deadline (Nexus, SOSP 2019, section 4.1), on many of them nearly all of it (Symphony, 2023).
    """
    return lanes * 1e9 / least_item_ns(durations_ns, slo_ns * lanes // (lanes + 1))


def most_goodput(flows: Mapping[str, Flow], lanes: float = 1.0, floor: float = 0.0) -> dict[str, float]:
    """Requests a second by model, as many together as there is time for: the linear programme of one constraint, so
    those that take least go first. Before that each model gets the share `floor` of its requests.

    Raises ValueError where there is no time for that.
    """
    needed = floor * busy(flows)
    if needed > lanes * (1 + 1e-9):
        raise ValueError(f"{floor:.0%} of each model's requests take {needed:.2f} lanes; there are {lanes:g}")
    good, left = {}, max(0.0, lanes - needed)
    for name, flow in sorted(flows.items(), key=lambda item: (item[1].item_s, item[0])):
        more_rps = min((1 - floor) * flow.rate_rps, left / flow.item_s)
        good[name] = floor * flow.rate_rps + more_rps
        left -= more_rps * flow.item_s
    return {name: good[name] for name in flows}


def fair_share(flows: Mapping[str, Flow], lanes: float = 1.0) -> float:
    """The largest share of its requests, 0..1, that every model can get at once: the max-min fair one."""
    return min(1.0, lanes / busy(flows)) if flows else 1.0


def busy(flows: Mapping[str, Flow]) -> float:
    """Lanes that would be busy if all was served."""
    return sum(flow.rate_rps * flow.item_s for flow in flows.values())
