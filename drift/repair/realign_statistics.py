"""Realigns each batch normalisation's mean and variance with the new world; needs pictures, no labels."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.commands import RepairCandidate
from drift.repair.batch_norm import Probed, folded, probed
from drift.repair.inference import BackboneRunner
from drift.repair.response import Situation
from drift.samples import Pictures

Array = NDArray[Any]
Stats = list[tuple[Array, Array]]  # (mean, variance) of each normalisation, float [C]


class Realign:
    """Adapts batch normalisation (Li et al., 2016), layer by layer.

    The new statistics of n pictures are blended with the source's at weight n / (n + n0) (Schneider et al., NeurIPS
    2020).

    Pass p over the pictures makes the first p layers exact, given those before them, and brings all later ones nearer;
    `passes_max` passes bound the time for deep models.

    Args:
        pictures_max: the newest so many are used. pictures_min: with fewer it does not apply.
        n0: weight of the source's statistics, in pictures.
    """

    name = "realign"
    labels_min = 0

    def __init__(self, pictures_max: int = 200, pictures_min: int = 20, n0: float = 16.0, passes_max: int = 12):
        self.pictures_max, self.pictures_min = pictures_max, pictures_min
        self.n0, self.passes_max = n0, passes_max

    def applies(self, situation: Situation) -> str:
        if len(situation.fresh) < self.pictures_min:
            return f"only {len(situation.fresh)} recent pictures, {self.pictures_min} needed"
        return ""

    def repair(self, situation: Situation) -> Generator[None, None, RepairCandidate | None]:
        """Returns a candidate with another backbone; `None` where the graph has no normalisation that can be measured.

        Its evidence says how far the means moved, in standard deviations, averaged over all channels and layers.
        """
        graph = situation.incumbent.graph
        probe = probed(graph)
        yield
        if not probe.norms:
            return None
        pictures = situation.fresh[-self.pictures_max :]
        stats = yield from self.measure(probe, pictures, situation.forward)
        moved = [
            float(np.mean(np.abs(m - n.mean) / np.sqrt(n.var + 1e-5)))
            for (m, _), n in zip(stats, probe.norms, strict=True)
        ]
        evidence = {"pictures": len(pictures), "layers": len(stats), "moved_sd": round(float(np.mean(moved)), 4)}
        return RepairCandidate(self.name, graph=folded(graph, stats), evidence=evidence)

    def measure(self, probe: Probed, pictures: Pictures, forward: BackboneRunner) -> Generator[None, None, Stats]:
        """Returns (mean, variance), each [C], of each normalisation for these pictures, blended with the source's."""
        source = [(norm.mean, norm.var) for norm in probe.norms]
        stats: Stats = list(source)
        weight = len(pictures) / (len(pictures) + self.n0)
        engine = forward.load(probe.graph)
        try:
            yield
            for _ in range(min(len(source), self.passes_max)):
                seen = yield from self._one_pass(probe, engine, pictures, stats, forward)
                stats = [_blend(old, new, weight) for old, new in zip(source, seen, strict=True)]
            return stats
        finally:
            engine.close()

    def _one_pass(
        self,
        probe: Probed,
        engine: Any,
        pictures: Pictures,
        stats: Sequence[tuple[Array, Array]],
        forward: BackboneRunner,
    ) -> Generator[None, None, Stats]:
        """Returns mean and variance that every layer sees while all of them normalise with `stats`."""
        sums = [(np.zeros(len(n.mean)), np.zeros(len(n.mean))) for n in probe.norms]
        total = 0
        for outputs, count in forward.chunks(engine, pictures, probe.inputs(stats)):
            total += count
            for i, (mean, square) in enumerate(sums):
                mean += count * outputs[f"leeway.seen.{i}"].astype(np.float64)
                square += count * outputs[f"leeway.square.{i}"].astype(np.float64)
            yield
        return [(mean / total, np.maximum(square / total - (mean / total) ** 2, 0.0)) for mean, square in sums]


def _blend(old: tuple[Array, Array], new: tuple[Array, Array], weight: float) -> tuple[Array, Array]:
    """Blends two pairs of statistics per channel; `weight` 0..1 is that of the new ones."""
    return tuple((1 - weight) * a + weight * b for a, b in zip(old, new, strict=True))  # type: ignore[return-value]
