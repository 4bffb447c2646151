"""Keeps the books of a lane's memory. A blob that two stages share is counted once."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from porting.variant import Stage


@dataclass(slots=True)
class Residency:
    """Counts bytes and stages of one lane, least recently used first. A stage takes its room when its load begins."""

    limit_bytes: int
    used_bytes: int = 0
    resident: dict[str, Stage] = field(default_factory=dict)  # by digest; what was used last stands last
    blobs: dict[str, int] = field(default_factory=dict)  # blob digest -> stages here that need it

    def holds(self, digest: str) -> bool:
        """Tells whether the stage is loaded."""
        return digest in self.resident

    def missing_bytes(self, stage: Stage) -> int:
        """Returns the bytes that a load of this stage would add."""
        return sum(size for blob, size in stage.blobs.items() if blob not in self.blobs)

    def fits(self, stage: Stage) -> bool:
        """Tells whether there is room for a load of this stage."""
        return self.used_bytes + self.missing_bytes(stage) <= self.limit_bytes

    def reserve(self, stage: Stage) -> None:
        """Books the room of a stage whose load begins."""
        self.used_bytes += self.missing_bytes(stage)
        for blob in stage.blobs:
            self.blobs[blob] = self.blobs.get(blob, 0) + 1

    def arrive(self, digest: str, stage: Stage) -> None:
        """Books a stage whose load, reserved before, is done."""
        self.resident[digest] = stage

    def release(self, stage: Stage) -> None:
        """Gives back the room of a stage whose load failed, or which was evicted."""
        for blob, size in stage.blobs.items():
            self.blobs[blob] -= 1
            if not self.blobs[blob]:
                del self.blobs[blob]
                self.used_bytes -= size

    def evict(self, digest: str) -> None:
        """Removes a loaded stage."""
        self.release(self.resident.pop(digest))

    def touch(self, digest: str) -> None:
        """Marks a loaded stage as the one used last."""
        self.resident[digest] = self.resident.pop(digest)

    def victims(self, wanted: Stage, candidates: Iterable[str]) -> list[str]:
        """Returns the first few candidates whose eviction makes room for `wanted`; none where even all would not.

        Without `blobs` of its own a candidate frees nothing and stays.
        """
        counts: dict[str, int] = {}
        missing = self.used_bytes + self.missing_bytes(wanted) - self.limit_bytes
        chosen: list[str] = []
        for digest in candidates:
            if missing <= 0:
                break
            if not self.resident[digest].blobs:
                continue
            chosen.append(digest)  # also where its blobs are shared: they go with the last stage that needs them
            for blob, size in self.resident[digest].blobs.items():
                counts[blob] = counts.get(blob, self.blobs[blob]) - 1
                missing -= size if counts[blob] == 0 and blob not in wanted.blobs else 0
        return chosen if missing <= 0 else []

    def check(self) -> None:
        """Asserts that the books add up. A stage that is being loaded is booked as well, but is not resident yet."""
        sizes = {blob: size for stage in self.resident.values() for blob, size in stage.blobs.items()}
        assert sizes.keys() <= self.blobs.keys(), "a resident blob that nothing counts"
        assert sum(sizes.values()) <= self.used_bytes <= self.limit_bytes, f"{self.used_bytes} bytes do not add up"
        assert all(count > 0 for count in self.blobs.values()), "a blob that no stage needs"
