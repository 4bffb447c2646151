"""Keeps what is loaded on one lane: engines by graph, heads by blob."""

from devices.interface import Array, Device, Engine
from porting.artefacts import load_stage
from porting.repository.repository import Repository
from porting.variant import Stage


class EngineCache:
    """Holds the engines and heads that are loaded on one lane. A graph that two stages share is loaded once."""

    def __init__(self, device: Device, repository: Repository):
        self.device, self.repository = device, repository
        self.stages: dict[str, Stage] = {}
        self.engines: dict[str, Engine] = {}
        self.heads: dict[str, dict[str, Array]] = {}

    def load(self, stage: Stage) -> None:
        """Loads a stage, for all its batch sizes.

        Raises `DeviceError`, also where the device does not accept the stage's kind, or `CorruptBlob`.
        """
        if not stage.is_step:
            # The head is read first: where it is damaged, no engine is left behind that no stage owns.
            head = self.repository.arrays(stage.head) if stage.head and stage.head not in self.heads else None
            if stage.graph not in self.engines:
                self.engines[stage.graph] = load_stage(self.device, self.repository, stage, stage.batches)
            if stage.head and head is not None:
                self.heads[stage.head] = head
        self.stages[stage.digest] = stage

    def evict(self, digest: str) -> None:
        """Forgets a stage, and closes what no other stage needs. Does nothing for one that is not loaded."""
        gone = self.stages.pop(digest, None)
        if gone is None:  # the lane was lost since, and with it all that was here
            return
        if not any(stage.graph == gone.graph for stage in self.stages.values()) and gone.graph in self.engines:
            self.engines.pop(gone.graph).close()
        if gone.head and not any(stage.head == gone.head for stage in self.stages.values()):
            self.heads.pop(gone.head, None)

    def close(self) -> None:
        """Closes every engine."""
        for engine in self.engines.values():
            engine.close()
