"""Checks what was typed before anything takes time."""

from dataclasses import dataclass
from pathlib import Path

from evaluation.capacity.search import CapacityQuestion, scenario_of
from evaluation.requirements import missing, refusal
from porting.errors import UserError

RANGE = "1..64"  # where no number is given


@dataclass(frozen=True)
class Wanted:
    """Holds the range of camera numbers to look at. For a single number `least` and `most` are equal."""

    least: int
    most: int

    @property
    def one(self) -> bool:
        return self.least == self.most


def wanted_of(words: str, asked: CapacityQuestion) -> Wanted:
    """Returns the numbers of cameras that `words` asks for. Raises `UserError` for what is no
    range, or does not fit the config.
    """
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
    """Raises `UserError` when `--save` cannot work."""
    if save is None:
        return
    if device != "this":
        raise UserError(f"--save keeps what was tried here; with --device {device} nothing is")
    if save.suffix != ".json" or not save.resolve().parent.is_dir():
        raise UserError(f"--save {save}: name a .json file in a folder that is there")


def check_system(asked: CapacityQuestion) -> None:
    """Raises `UserError` when a chosen system needs something that the box does not have."""
    if asked.system is not None:
        scenario = scenario_of(asked, max(1, asked.named), 0)
        if needs := missing(asked.system, scenario):
            raise UserError(refusal([asked.system.name], needs, scenario))
