"""What was typed, checked before anything takes its time."""

from dataclasses import dataclass
from pathlib import Path

from evaluation.capacity.search import CapacityQuestion, scenario_of
from evaluation.requirements import missing, refusal
from porting.errors import UserError

RANGE = "1..64"  # where no number is given


@dataclass(frozen=True)
class Wanted:
    """Numbers of cameras. One number: `least` and `most` are the same."""

    least: int
    most: int

    @property
    def one(self) -> bool:
        return self.least == self.most


def wanted_of(words: str, asked: CapacityQuestion) -> Wanted:
    """Raises `UserError`."""
    low, dots, high = words.partition("..")
    try:
        least, most = int(low), int(high if dots else low)
    except ValueError:
        raise UserError(f"--cameras {words}: write a number, or a range such as 4..64") from None
    if not 1 <= least <= most <= 10_000:
        raise UserError(f"--cameras {words}: from 1 up to 10000, the smaller number first")
    named = asked.named
    if not asked.others:
        if words == RANGE:
            return Wanted(named, named)
        if (least, most) != (named, named):
            raise UserError(f"--cameras {words}: {asked.path} names {named}, and has no `*` in `streams` for others")
    if most < named or (least < named and words != RANGE):
        raise UserError(f"--cameras {words}: {asked.path} names {named} itself; ask for these or more")
    return Wanted(max(least, named), most)


def check_save(save: Path | None, device: str) -> None:
    """Before anything takes its time. Raises `UserError`."""
    if save is None:
        return
    if device != "this":
        raise UserError(f"--save keeps what was tried here; with --device {device} nothing is")
    if save.suffix != ".json" or not save.resolve().parent.is_dir():
        raise UserError(f"--save {save}: name a .json file in a folder that is there")


def check_system(asked: CapacityQuestion) -> None:
    """Raises `UserError` where a system was chosen for which there is nothing to do."""
    if asked.system is not None:
        scenario = scenario_of(asked, max(1, asked.named), 0)
        if needs := missing(asked.system, scenario):
            raise UserError(refusal([asked.system.name], needs, scenario))
