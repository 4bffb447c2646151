"""Boxes with work to compare schedulers on, made from a name, a load and a seed."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge.arrivals.arrival import arrivals_at, requests_of, stream_rng
from edge.arrivals.processes import process
from edge.events import Served
from edge.scenario import MS, Scenario, affine

SECOND_NS = 1_000_000_000
BATCH_MAX = 32


@dataclass(frozen=True)
class Profile:
    """A model that takes `ms_per_item * batch + ms_per_batch`; `share` of all requests ask for it."""

    ms_per_item: float
    ms_per_batch: float
    slo_ms: float
    share: float

    def ms(self, batch: int) -> float:
        return self.ms_per_item * batch + self.ms_per_batch


# Durations of the order that published profiles of small GPUs have; deadlines of vision and of a short text model.
EDGE4: Mapping[str, Profile] = {
    "mob": Profile(0.6, 2.4, 50, 0.45),
    "res": Profile(1.6, 4, 80, 0.30),
    "yolo": Profile(4, 6, 100, 0.10),
    "bert": Profile(2.5, 5, 100, 0.15),
}


def edge4(load: float, arrivals: str, seed: int, duration_s: float = 20.0, margin: float = 1.06) -> Scenario:
    """Four models on one lane, one stream each. `load` 1.0 is what the lane can sustain (`capacity_rps`)."""
    rate = load * capacity_rps(EDGE4, margin)
    duration_ns, drawn = round(duration_s * SECOND_NS), process(arrivals)
    made = []
    for model, profile in EDGE4.items():
        times_ns = drawn.times(stream_rng("edge4", model, seed), rate * profile.share, duration_ns)
        made += arrivals_at(times_ns.tolist(), model, model, round(profile.slo_ms * MS))
    facts = {"load": load, "arrivals": arrivals, "seed": seed}
    return Scenario("edge4", served_of(EDGE4), requests_of(made), seed=seed, facts=facts)


def served_of(profiles: Mapping[str, Profile]) -> tuple[Served, ...]:
    return tuple(affine(model, p.ms_per_item, p.ms_per_batch, BATCH_MAX) for model, p in profiles.items())


def capacity_rps(profiles: Mapping[str, Profile], margin: float = 1.06) -> float:
    """Requests a second of this mix that one lane sustains with batches that fit twice into their deadline.

    Half the deadline for the batch, half for waiting until the one before is done. `margin`: durations are taken to be
    that many times the profile, as a scheduler that must not be late takes them.
    """
    return 1000 / sum(profile.share * item_ms(profile, margin) for profile in profiles.values())


def item_ms(profile: Profile, margin: float) -> float:
    """Device time of one item in the largest batch that takes at most half the deadline; of a batch of one if none."""
    fitting = (batch for batch in range(1, BATCH_MAX + 1) if 2 * margin * profile.ms(batch) <= profile.slo_ms)
    batch = max(fitting, default=1)
    return margin * profile.ms(batch) / batch
