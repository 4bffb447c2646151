"""Measures the box and searches how many cameras it can serve."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cli.planning.options import Wanted, check_system
from edge.sources.camera.frames import End, opened
from edge.systems import system
from evaluation.capacity.dry_run import dry_run, load
from evaluation.capacity.headroom import NEAR, Change, changes, headroom, most
from evaluation.capacity.search import CapacityQuestion, Coping, cope
from porting.errors import UserError

PICTURES = 60  # that a dry run uses in turn
VIEWS = 4  # cameras whose pictures they are
FARTHER = 8  # where one number was asked for, up to this many times as many are tried
BEYOND = 1.3  # times the number that holds; a row shows how it would be then
Tell = Callable[[str, float | None], None]  # what is being done, and its share where that is known


@dataclass(frozen=True)
class SearchResult:
    """Holds what was found. `best`: the largest number that holds; 0: none of those that were tried."""

    best: int
    holds: bool  # what was asked for
    rows: list[Coping]
    headroom_of: int  # cameras
    headroom: float | None
    changes: list[Change]


# ---- trying it -----------------------------------------------------------------------------------------------------


def known(asked: CapacityQuestion, device: str, source: str, seconds: float, tell: Tell) -> CapacityQuestion:
    """Returns the question with what is known of the device: a dry run made here, one from a
    file, or its profiles. Raises `UserError`.
    """
    if device.endswith(".json"):
        return replace(asked, dry_run=load(Path(device)))
    if device != "this":
        return replace(asked, device=device)
    shots, words = pictures(source), f"trying it here for {seconds:g} s"
    tell(words, 0.0)
    return replace(asked, dry_run=dry_run(asked.config, shots, seconds, lambda share: tell(words, share)))


def pictures(source: str) -> list[bytes]:
    """Returns some cameras' first frames as JPEG. Raises `UserError`."""
    found: list[bytes] = []
    for number in range(VIEWS):
        view = opened(source, loop=True, camera=number, cameras=VIEWS, fps=5.0, options={})
        with suppress(End):
            found += [shot.jpeg for index in range(PICTURES // VIEWS) if (shot := view.at(index)) is not None]
    if not found:
        raise UserError(f"--source {source}: no picture in it could be read")
    return found


# ---- looking ahead -------------------------------------------------------------------------------------------------


def look(asked: CapacityQuestion, wanted: Wanted, holds: float, helping: bool, tell: Tell) -> SearchResult:
    """Searches the most cameras, the headroom and helpful changes. Raises `UserError`."""

    def say(words: str) -> None:
        tell(f"looking ahead: {words}", None)

    check_system(asked)
    least, greatest = bounds(asked, wanted)
    best, held = most(asked, least, greatest, holds, say)
    rows = {number: held.get(number) or cope(asked, number) for number in sorted(told(best, least, greatest, wanted))}
    of = wanted.least if wanted.one or best < least else best
    say("headroom")
    room = headroom(asked, of, holds)
    helps = what_would_help(asked, best, greatest, rows, holds, say) if helping else []
    return SearchResult(best if best >= least else 0, best >= wanted.least, [*rows.values()], of, room, helps)


def bounds(asked: CapacityQuestion, wanted: Wanted) -> tuple[int, int]:
    """Returns the numbers to search in; for a single number the range extends further, to say
    how far it is from the most.
    """
    if not wanted.one or not asked.others:
        return wanted.least, wanted.most
    return max(1, asked.named), FARTHER * wanted.most


def told(best: int, least: int, greatest: int, wanted: Wanted) -> set[int]:
    """Returns the numbers that get a row: what was asked for, the most that hold, and some beyond."""
    asked = {wanted.least} if wanted.one or best < least else set[int]()
    if best < least:
        return asked
    return asked | {best} | ({best + 1, round(BEYOND * best)} if best < greatest else set())


def what_would_help(
    asked: CapacityQuestion,
    best: int,
    greatest: int,
    rows: Mapping[int, Coping],
    holds: float,
    say: Callable[[str], None],
) -> list[Change]:
    """Returns the changes that were tried, the most helpful first."""
    ours, policy = system("leeway"), (asked.system or asked.config).policy
    others = [] if policy.use == ours.policy.use else [ours]
    near = rows[best].load if best in rows else NEAR
    found = changes(asked, best, max(4 * best, greatest), others, holds, say, near)
    return sorted(found, key=lambda each: -each.more)
