"""Defines the `drift:` part of `edge.yaml`: what is watched, how soon an alarm may come, what a repair may cost."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from drift.detection.thresholds import MakeTest
from drift.evaluation.judge import Rule
from drift.repair.response import Response
from porting.errors import UserError
from porting.import_path import resolve

S = 1_000_000_000  # nanoseconds
MS = 1_000_000
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class DriftSettings(BaseModel):
    """Holds the settings of drift adaptation. Times in s or ms as the name says; shares and accuracies 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...] = Field((), description="classifiers to watch")
    teacher: str | dict[str, str] | None = Field(None, description="model that labels; or one for each watched model")
    detectors: tuple[str, ...] = Field(
        (
            "drift.detection.mean_confidence:MeanConfidence",
            "drift.detection.bbsds:Bbsds",
            "drift.detection.class_prior:ClassPrior",
        ),
        description="window tests by import path",
    )
    responses: tuple[dict[str, Any], ...] = Field(
        (
            {"use": "drift.repair.prior_reweighting:PriorReweighting"},
            {"use": "drift.repair.recall_variant:Recall"},
            # Half way first: nearly as good by night, far better by day; all the way where that was not enough.
            {"use": "drift.repair.realign_statistics:Realign", "n0": 100},
            {"use": "drift.repair.realign_statistics:Realign", "n0": 16},
            {"use": "drift.repair.retrain_head:HeadRetraining"},
        ),
        description="the ladder of repairs, cheapest first, each judged",
    )

    # signals
    stride_ms: Seconds = Field(400, description="one frame of a stream per stride")
    per_frame: Count = Field(3, description="crops of one frame")
    window: Count = Field(48, description="samples in a test of one stream")
    pooled_window: Count = Field(144, description="samples in a test of all streams together")
    streams: Count = Field(4, description="how many are expected, until they are seen")
    test_s: Seconds = Field(1, description="between two tests")
    block_s: Seconds = Field(2, description="samples of one stream and block depend on each other")

    # alarms
    false_alarms_per_day: Annotated[float, Field(gt=0)] = Field(
        1.0, description="of the whole system, all models and streams together"
    )
    bootstrap_draws: Count = Field(600, description="windows drawn to find the thresholds")
    world_min: Count = Field(360, description="samples that a new reference is made of")
    check_in: bool = Field(True, description="audit once after the start, and learn this site's own frames")
    refractory_s: Seconds = Field(
        60, description="no new alarm after an audit that decided nothing or a repair that failed"
    )

    # audit
    audit_labels: Count = Field(60, description="labels of the first round: half at random, half the farthest")
    audit_rounds: Count = Field(3, description="rounds of labels before an undecided audit is left at that")
    alpha: Share = Field(0.01, description="chance of calling a harmless drift harmful, per round")
    margin: Share = Field(0.10, description="an accuracy this far below the reference's is harm")
    teacher_error: Share = Field(0.03, description="share of labels that are wrong by themselves")
    label_confidence_min: Share = Field(0.5, description="a less sure label counts as none")
    label_timeout_s: Seconds = Field(30, description="labels that take longer are not waited for")

    # repair
    train_labels: Count = Field(200, description="labels that a head is retrained with, at most")
    fresh_samples: Count = Field(180, description="of the new world, before a repair begins")
    gather_s: Seconds = Field(8, description="or this long, whichever comes first")
    held_out: Share = Field(0.4, description="newest part of them, for the judge alone")
    gap_ms: Seconds = Field(1000, description="dropped between the two parts")
    replay: Count = Field(300, description="remembered samples of the old world, the classes balanced")
    old_held_out: Count = Field(150, description="samples of the old world, for the judge alone")
    labels_min: Count = Field(30, description="held-out labels that a judgement needs")
    confidence: Share = Field(0.95, description="how sure the judge is that a promoted variant is better")
    old_tolerance: Share = Field(0.02, description="loss on the old world that needs no excuse")
    new_share: Share = Field(0.8, description="weight of the new world where gain and loss are weighed")
    old_loss_max: Share = Field(1.0, description="the old variant stays a recall away")

    # probation
    probation_s: Seconds = Field(5, description="how long a promoted variant serves before it is looked at again")
    probation_labels: Count = Field(40, description="labels for that look")
    probation_loss: Share = Field(0.10, description="worse by more than this on the same frames: rolled back")

    def teacher_of(self, model: str) -> str | None:
        """Returns the model that labels for this one; `None`: people do."""
        return self.teacher.get(model) if isinstance(self.teacher, dict) else self.teacher

    def tests(self) -> list[MakeTest]:
        """Returns the classes of the window tests. Raises `UserError` for an import path that names none."""
        return [resolve(path, "drift.detectors") for path in self.detectors]

    def ladder(self) -> list[Response]:
        """Returns the repairs, cheapest first.

        Raises `UserError` for an entry that names no class or has wrong options.
        """
        return [_made(*_split(table)) for table in self.responses]

    def rule(self) -> Rule:
        return Rule(self.labels_min, self.confidence, self.old_tolerance, self.new_share, self.old_loss_max)


def _split(table: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    options = dict(table)
    if "use" not in options:
        raise UserError(f"drift.responses: {table} names no class; write {{use: 'package.module:Class'}}")
    return options.pop("use"), options


def _made(use: str, options: dict[str, Any]) -> Response:
    kind = resolve(use, "drift.responses")
    try:
        made: Response = kind(**options)
        return made
    except (TypeError, ValueError) as error:
        raise UserError(f"drift.responses: {use}: {error}; see its docstring for the options it takes") from None
