"""A box that takes what it is said to take, and questions about it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.core.events import LaneUp
from evaluation.capacity.dry_run import DryRun
from evaluation.capacity.search import CapacityQuestion
from porting.repository.repository import Repository
from tests.edge.daemon_builder import edge

MS = 1_000_000
ITEM_MS = 10.0  # of `paint`, in every batch: a lane serves 100 frames a second, 20 cameras of 5
COLOUR = {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 200}


def tried(box: Path, ms: Mapping[str, float], lanes: int = 1, kind: str = "cpu", detections: Any = None) -> DryRun:
    """Every batch takes so many ms an item, in the model's first stage; nothing beside it."""
    repository = Repository(box / "repository")
    durations_ns = {}
    for model, item_ms in ms.items():
        variant = repository.variant(model, str(repository.serving(model)))
        for at, stage in enumerate(repository.stages(variant, "cpu")):
            for batch in stage.batches:
                took_ns = round(item_ms * batch * MS) if at == 0 else 1
                durations_ns |= {(stage.graph, batch, f"dev{lane}"): (took_ns,) for lane in range(lanes)}
    up = tuple(LaneUp(f"dev{lane}", kind, 1 << 30) for lane in range(lanes))
    return DryRun(up, durations_ns, detections or {}, frames=100, duration_s=10.0)


def question(box: Path, dry_run: DryRun | None = None, **changes: Any) -> CapacityQuestion:
    table = {"apps": {"colour": COLOUR}, "streams": {"*": {"apps": ["colour"], "waiting_max": 1}}, **changes}
    return CapacityQuestion(edge(box, **table), dry_run or tried(box, {"paint": ITEM_MS}), duration_s=5.0, seeds=1)
