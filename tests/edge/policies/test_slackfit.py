"""SlackFit on a grid of two variants and four batches, worked out by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.policies.slackfit import SlackFit
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from tests.edge.policies.variants_builder import variants

Build = Callable[..., Any]

# ms of batches 1 to 4:   exact 12 16 20 24,   quick 4 5 6 7.
# Four buckets of 5 ms from 4 to 24: [4, 9) all of quick; [9, 14) exact 1; [14, 19) exact 2; [19, 24] exact 3 and 4.
EYE = variants("eye", 4, exact=(4, 8, 0.9), quick=(1, 3, 0.7))


def begun(core: Build, *slos: float, policy: SlackFit | None = None) -> tuple[str, int]:
    """What runs once a lane that was busy is free again, and requests with these SLOs wait: variant and batch."""
    box = core(EYE, affine("busy", 0, 1), policy=complete(policy or SlackFit(buckets=4)))
    box.ask("busy")
    for slo_ms in slos:
        box.ask("eye", slo_ms=slo_ms)
    box.finish()
    run = box.running()
    return run.variant or "exact", len(run.tasks)


@pytest.mark.parametrize(
    ("slack_ms", "waiting", "expected"),
    [
        (100, 1, ("exact", 1)),  # three buckets above have no batch of one
        (100, 2, ("exact", 2)),
        (100, 3, ("exact", 3)),
        (100, 4, ("exact", 4)),
        (100, 9, ("exact", 4)),
        (24, 4, ("exact", 4)),  # all four buckets fit whole
        (23, 4, ("exact", 2)),  # the last one no more
        (18, 4, ("exact", 1)),  # [9, 14) fits whole
        (13, 4, ("quick", 4)),  # only [4, 9) does
        (9, 4, ("quick", 4)),
        (8, 4, ("quick", 4)),  # none fits whole: what fits of the lowest
        (6, 4, ("quick", 3)),
        (4, 4, ("quick", 1)),
    ],
)
def test_the_bucket_that_the_slack_pays_for(
    core: Build, slack_ms: float, waiting: int, expected: tuple[str, int]
) -> None:
    assert begun(core, slack_ms, *[1000] * (waiting - 1)) == expected


def test_the_first_deadline_of_all_models_decides(core: Build) -> None:
    box = core(EYE, affine("busy", 0, 1), policy=complete(SlackFit(buckets=4)))
    for app, slo_ms in (("busy", 100), ("busy", 100), ("eye", 50)):
        box.ask(app, slo_ms=slo_ms)
    box.finish()
    assert [task.model for task in box.running().tasks] == ["eye"]


def test_with_one_variant_it_is_the_largest_batch_in_time(core: Build) -> None:
    box = core(affine("eye", 4, 8, 4), policy=complete(SlackFit(buckets=4)))
    for slo_ms in (100, 21, 1000, 1000, 1000):
        box.ask("eye", slo_ms=slo_ms)
    box.finish(at_ms=1)
    assert len(box.running().tasks) == 2  # the bucket [16, 20) fits whole into 20 ms; a batch of 3 is above it


def test_what_cannot_be_saved_does_not_make_others_late(core: Build) -> None:
    box = core(EYE, policy=complete(SlackFit()))
    for slo_ms in (100, 13, 40):
        box.ask("eye", slo_ms=slo_ms)
    box.finish(at_ms=12)
    assert box.outcome(2) == "late"
    assert [task.id for task in box.running().tasks] == [3]


@pytest.mark.parametrize("options", [{"buckets": 0}, {"batch_max": 0}])
def test_options_that_make_no_sense(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SlackFit(**options)
