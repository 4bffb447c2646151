"""Decisions as they were when somebody last looked: SHA-256 of whole traces.

A digest that changed is no bug in itself. Look at what changed (`edge.observers.trace:Trace` writes the lines), and
if it is meant, write the new digest: `python tests/golden/test_core_traces.py`.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import ALL_FAULTS, simulate

DIGESTS = Path(__file__).parent / "core_traces.json"

SCENES: dict[str, dict[str, Any]] = {
    "calm": {"seed": 1, "requests": 80},
    "busy-fifo": {"seed": 2, "requests": 200, "fps": 50.0, "policy": lambda: complete(Fifo())},
    "overload": {"seed": 2, "requests": 200, "fps": 50.0},
    "little-memory": {"seed": 3, "requests": 80, "memory_bytes": 3000},
    "two-lanes": {"seed": 4, "requests": 120, "fps": 40.0, "lanes": 2},
    "one-by-one": {"seed": 5, "requests": 80, "policy": lambda: complete(EarliestDeadlineFirst(1, 0.0))},
    "faults": {"seed": 6, "requests": 80, "faults": ALL_FAULTS, "lanes": 2, "memory_bytes": 4000},
}


def digest_of(scene: dict[str, Any]) -> str:
    options = dict(scene)
    policy = options.pop("policy", lambda: None)()
    return simulate(policy=policy, **options).digest


@pytest.mark.parametrize("name", SCENES)
def test_decisions_are_what_they_were(name: str) -> None:
    assert digest_of(SCENES[name]) == json.loads(DIGESTS.read_text())[name]


def test_scenes_differ() -> None:
    digests = json.loads(DIGESTS.read_text())
    assert set(digests) == set(SCENES)
    assert len(set(digests.values())) == len(SCENES)


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps({name: digest_of(scene) for name, scene in SCENES.items()}, indent=2) + "\n")
