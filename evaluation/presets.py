"""Makes boxes with work to compare schedulers on, from a name, a load and a seed: the same for every policy."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge.core.events import LaneUp, Served
from edge.estimators.table import Table
from edge.estimators.with_network import WithNetwork
from evaluation.arrivals.detections import items_of
from evaluation.arrivals.disb_trace import MODELS as DISB
from evaluation.arrivals.load_scaling import How, cost_of, load_of, scaled, short, split
from evaluation.arrivals.registry import process, streams
from evaluation.arrivals.request import Arrival, requests_of
from evaluation.arrivals.trace_files import limits_of, read
from evaluation.scenario import MS, Scenario, affine
from porting.errors import UserError
from porting.variant import Stage, Variant

SECOND_NS = 1_000_000_000
MB = 1_000_000
BATCH_MAX = 32
MARGIN = 1.06  # multiplies profiled durations when a load is planned, as schedulers that must not be late do


@dataclass(frozen=True)
class Profile:
    """Describes a model that takes `ms_per_item * batch + ms_per_batch`; `share` of all requests ask for it."""

    ms_per_item: float
    ms_per_batch: float
    slo_ms: float
    share: float

    @property
    def slo_ns(self) -> int:
        return round(self.slo_ms * MS)


# Durations of the order of published profiles of small GPUs; deadlines of vision, and of a short text model.
EDGE4: Mapping[str, Profile] = {
    "mob": Profile(0.6, 2.4, 50, 0.45),
    "res": Profile(1.6, 4, 80, 0.30),
    "yolo": Profile(4, 6, 100, 0.10),
    "bert": Profile(2.5, 5, 100, 0.15),
}

# Duration relative to the medium variant, and accuracy. Accuracies are of the order of families that are
# offered in three sizes: narrow to wide MobileNets, ResNet-18 to 152, YOLO n to m (mAP), small to base BERTs.
SIZES: Mapping[str, float] = {"small": 0.5, "medium": 1.0, "large": 1.8}
ACCURACIES: Mapping[str, Mapping[str, float]] = {
    "mob": {"small": 0.64, "medium": 0.70, "large": 0.75},
    "res": {"small": 0.70, "medium": 0.76, "large": 0.78},
    "yolo": {"small": 0.46, "medium": 0.57, "large": 0.64},
    "bert": {"small": 0.79, "medium": 0.84, "large": 0.86},
}

# Members of an ensemble: ms per item, ms per batch, accuracy. Two quick ones cost less than the slow one.
MEMBERS: Mapping[str, tuple[float, float, float]] = {
    "narrow": (0.6, 2.4, 0.70),
    "medium": (1.6, 4.0, 0.76),
    "dense": (2.2, 5.0, 0.77),
    "wide": (3.5, 6.0, 0.79),
}
MEMORY: Mapping[str, int] = {"mob": 5 * MB, "res": 15 * MB, "yolo": 25 * MB, "bert": 35 * MB}  # loading: 1 ms a MB
MEMORY_LIMIT = 60 * MB  # any two or three of the four
FAR_MS: Mapping[str, float] = {"cloud0": 20.0, "cloud1": 20.0}  # there and back, and a picture's way: a good uplink
FAR_PRICES: Mapping[str, float] = {"cloud0": 1.0, "cloud1": 1.0}  # for a second of work


# ---- by name -------------------------------------------------------------------------------------------------------


def preset(
    name: str, load: float, arrivals: str, seed: int, duration_s: float = 20.0, margin: float = MARGIN
) -> Scenario:
    """Returns the scenario of a name. Raises `UserError` for an unknown name or arrival process."""
    if name not in PRESETS:
        raise UserError(f"no preset is called {name!r}; there is {', '.join(PRESETS)}")
    return PRESETS[name](load, arrivals, seed, duration_s, margin)


def edge4(load: float, arrivals: str, seed: int, duration_s: float = 20.0, margin: float = MARGIN) -> Scenario:
    """Returns four models on one lane, one stream each. `load` 1.0 is what a lane sustains of
    this mix (`capacity_rps`).
    """
    return made("edge4", EDGE4, served_of(EDGE4), load, arrivals, seed, duration_s, margin)


def two_lanes(load: float, arrivals: str, seed: int, duration_s: float = 20.0, margin: float = MARGIN) -> Scenario:
    """Returns `edge4` on two lanes with twice the requests."""
    scenario = made("two_lanes", EDGE4, served_of(EDGE4), load, arrivals, seed, duration_s, margin, lanes=2)
    return replace(scenario, lanes=tuple(LaneUp(f"sim{lane}", "simulated", 1 << 40) for lane in range(2)))


def edge4_variants(load: float, arrivals: str, seed: int, duration_s: float = 20.0, margin: float = MARGIN) -> Scenario:
    """Returns `edge4` with three variants of each model, all loaded; the medium one serves, and
    `load` is counted by it.
    """
    return made("edge4_variants", EDGE4, variants_of(EDGE4), load, arrivals, seed, duration_s, margin)


def ensemble4(load: float, arrivals: str, seed: int, duration_s: float = 20.0, margin: float = MARGIN) -> Scenario:
    """Returns one model whose four variants answer together or alone; "medium" serves, and `load` is counted by it."""
    profiles = {"photo": Profile(*MEMBERS["medium"][:2], 100, 1.0)}
    return made("ensemble4", profiles, (ensemble_of("photo"),), load, arrivals, seed, duration_s, margin)


def edge4_memory(load: float, arrivals: str, seed: int, duration_s: float = 20.0, margin: float = MARGIN) -> Scenario:
    """Returns `edge4` on a lane that holds two or three of the four models; `load` does not
    count the time of loading.
    """
    served = served_of(EDGE4, MEMORY)
    scenario = made("edge4_memory", EDGE4, served, load, arrivals, seed, duration_s, margin)
    return replace(scenario, lanes=(LaneUp("sim0", "simulated", MEMORY_LIMIT),))


def edge4_remote(load: float, arrivals: str, seed: int, duration_s: float = 20.0, margin: float = MARGIN) -> Scenario:
    """Returns `edge4` beside a remote box as fast as this one, `FAR_MS` away, with two calls in flight at most. `load`
    counts this box alone.
    """
    scenario = made("edge4_remote", EDGE4, served_of(EDGE4), load, arrivals, seed, duration_s, margin)
    far = tuple(LaneUp(name, "remote", 1 << 40) for name in FAR_MS)
    facts = {**scenario.facts, "prices": FAR_PRICES}
    return replace(scenario, lanes=(*scenario.lanes, *far), profile=WithNetwork(Table(), FAR_MS), facts=facts)


PRESETS: Mapping[str, Callable[[float, str, int, float, float], Scenario]] = {
    "edge4": edge4,
    "two_lanes": two_lanes,
    "edge4_variants": edge4_variants,
    "ensemble4": ensemble4,
    "edge4_memory": edge4_memory,
    "edge4_remote": edge4_remote,
}


# ---- from profiles -------------------------------------------------------------------------------------------------


def made(
    name: str,
    profiles: Mapping[str, Profile],
    served: tuple[Served, ...],
    load: float,
    arrivals: str,
    seed: int,
    duration_s: float,
    margin: float,
    lanes: int = 1,
) -> Scenario:
    """Returns a scenario with one stream of requests for each model. Related presets get the same arrivals, as far as
    their rates are equal.
    """
    if not profiles or load <= 0 or duration_s <= 0:
        raise UserError(f"{name}: {len(profiles)} models, load {load:g}, {duration_s:g} s: nothing to do")
    rate = load * lanes * capacity_rps(profiles, served, margin)
    rates = {model: rate * profile.share for model, profile in profiles.items()}
    times = streams(process(arrivals), "edge4", rates, seed, round(duration_s * SECOND_NS))
    found = [
        Arrival(time_ns, model, model, profiles[model].slo_ns)
        for model in profiles
        for time_ns in times[model].tolist()
    ]
    facts = {"load": load, "arrivals": arrivals, "seed": seed, "duration_s": duration_s}
    return Scenario(name, served, requests_of(found), seed=seed, facts=facts)


def capacity_rps(
    profiles: Mapping[str, Profile] = EDGE4, served: Iterable[Served] | None = None, margin: float = MARGIN
) -> float:
    """Returns requests per second of this mix that one lane sustains with batches that take at
    most half their deadline.
    """
    costs = {each.variant.model: cost_of(each) for each in served or served_of(profiles)}
    items_ns = [p.share * costs[model].item_ns(p.slo_ns, "half", margin) for model, p in profiles.items()]
    return SECOND_NS * sum(p.share for p in profiles.values()) / sum(items_ns)


def served_of(profiles: Mapping[str, Profile], memory: Mapping[str, int] | None = None) -> tuple[Served, ...]:
    """Returns a model of one stage for each profile; `memory`: bytes of each."""
    served = [affine(model, p.ms_per_item, p.ms_per_batch, BATCH_MAX) for model, p in profiles.items()]
    return tuple(with_memory(each, memory[each.variant.model]) if memory else each for each in served)


def with_memory(served: Served, bytes_: int) -> Served:
    """Returns the same model of one stage with this size in bytes."""
    (stage,) = served.stages
    return replace(served, stages=(replace(stage, blobs={stage.graph: bytes_}),))


def variants_of(profiles: Mapping[str, Profile]) -> tuple[Served, ...]:
    """Returns each model in all `SIZES`; the medium one serves."""
    return tuple(
        family(model, {
            size: (times * p.ms_per_item, times * p.ms_per_batch, ACCURACIES[model][size])
            for size, times in SIZES.items()
        })
        for model, p in profiles.items()
    )  # fmt: skip


def ensemble_of(model: str) -> Served:
    """Returns `MEMBERS` as variants of one model."""
    return family(model, MEMBERS)


def family(model: str, members: Mapping[str, tuple[float, float, float]]) -> Served:
    """Returns variants by name (ms per item, ms per batch, accuracy). "medium" serves; they share no stage."""
    stages: dict[str, Stage] = {}
    for name, (ms_per_item, ms_per_batch, _) in members.items():
        (stages[name],) = affine(f"{model}-{name}", ms_per_item, ms_per_batch, BATCH_MAX).stages
    variants = {name: Variant(model, name, (stages[name].digest,), accuracy=members[name][2]) for name in members}
    others = tuple(variant for name, variant in variants.items() if name != "medium")
    return Served(variants["medium"], tuple(stages.values()), others)


# ---- from files ----------------------------------------------------------------------------------------------------


def disb(path: Path, load: float, seed: int = 0, slo_ms: float | None = None, margin: float = MARGIN) -> Scenario:
    """Returns a DISB workload on an edge box (`evaluation.arrivals.disb_trace.MODELS`), in as
    many copies as make this load.

    Its clients in closed loops are left out. The file states no deadlines: they are `slo_ms`, or a stream's period.
    Raises `UserError`.
    """
    served = served_of({model: Profile(*profile, 0, 0) for model, profile in DISB.items()})
    workload = read(path, slo_ms=slo_ms, seed=seed, limits=limits_of(served))
    used = {each.model for each in workload.arrivals}
    box = Scenario(path.stem, tuple(each for each in served if each.variant.model in used), ())
    return loaded(box, workload.arrivals, load, seed, margin, "copies", workload.notes)


def traced(
    path: Path, box: Scenario, load: float | None = None, seed: int = 0, slo_ms: float | None = None,
    margin: float = MARGIN, how: How = "compress",
) -> Scenario:  # fmt: skip
    """Returns the arrivals of a file on the box of another scenario, for its models and apps.

    A file without models (Azure, intervals) is split in the shares that the scenario's own requests have, with their
    deadlines.

    Args:
        path: the file.
        box: lanes, models and apps.
        load: to scale to; None: as it is.
        seed: of splitting and scaling.
        slo_ms: deadline where the file states none.
        margin: multiplies durations when the load is computed.
        how: how to scale, see `load_scaling.scaled`.

    Raises:
        UserError: the file cannot be used.
    """
    limits = limits_of(box.served, box.answers)
    workload = read(path, model="", slo_ms=slo_ms, seed=seed, limits=limits)
    arrivals: Sequence[Arrival] = workload.arrivals
    if not all(each.model for each in arrivals):
        slos_ns = {each.app: each.deadline_ns - each.arrived_ns for each in box.requests if each.deadline_ns}
        arrivals = split(arrivals, Counter(each.app for each in box.requests if each.app in slos_ns), slos_ns, seed)
    return loaded(replace(box, name=path.stem), arrivals, load, seed, margin, how, workload.notes)


def loaded(
    box: Scenario, arrivals: Sequence[Arrival], load: float | None, seed: int, margin: float, how: How,
    notes: tuple[str, ...],
) -> Scenario:  # fmt: skip
    """Returns the box with these arrivals, scaled to the load."""
    asks = load_of(arrivals, box.served, margin=margin, items=items_of(box.answers, box.detections)) / len(box.lanes)
    if load is not None:
        if not asks:
            raise UserError(f"{box.name}: nothing in it has a deadline, so there is no load to scale")
        arrivals = scaled(arrivals, load / asks, seed, how)
    facts = {"load": short(asks) if load is None else load, "arrivals": box.name, "seed": seed}
    return replace(box, requests=requests_of(arrivals), seed=seed, facts=facts, notes=(*box.notes, *notes))
