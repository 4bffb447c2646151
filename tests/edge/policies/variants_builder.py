"""Models of several variants for tests: each of one stage, affine in the batch."""

from dataclasses import replace

from edge.core.events import Served
from evaluation.scenario import affine

Cost = tuple[float, float, float]  # ms per item, ms per batch, accuracy


def variants(model: str, batch_max: int = 8, **costs: Cost) -> Served:
    """The first of them serves."""
    made = {
        name: affine(f"{model}-{name}", ms_per_item, ms_per_batch, batch_max)
        for name, (ms_per_item, ms_per_batch, _) in costs.items()
    }
    named = [
        replace(made[name].variant, model=model, name=name, accuracy=accuracy)
        for name, (_, _, accuracy) in costs.items()
    ]
    return Served(named[0], tuple(stage for each in made.values() for stage in each.stages), tuple(named[1:]))
