"""The `drift:` part of `edge.yaml`: what is watched, how soon an alarm may come, what a repair may cost."""

from pkgutil import resolve_name
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from drift.calibrate import MakeTest
from drift.judge import Rule
from drift.responses import Response
from porting.errors import UserError

S = 1_000_000_000  # nanoseconds
MS = 1_000_000
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class DriftSettings(BaseModel):
    """Times in s or ms as the name says; shares and accuracies 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...] = ()  # classifiers to watch
    teacher: str | dict[str, str] | None = None  # model that labels; or one for each watched model
    detectors: tuple[str, ...] = (
        "drift.detectors.mean_confidence:MeanConfidence",
        "drift.detectors.bbsds:Bbsds",
        "drift.detectors.class_prior:ClassPrior",
    )
    responses: tuple[dict[str, Any], ...] = (
        {"use": "drift.responses.prior:PriorReweighting"},
        {"use": "drift.responses.recall:Recall"},
        {"use": "drift.responses.realign:Realign", "n0": 100},  # half way: nearly as good by night, far better by day
        {"use": "drift.responses.realign:Realign", "n0": 16},  # all the way, where half was not enough
        {"use": "drift.responses.head:HeadRetraining"},
    )

    # signals
    stride_ms: Seconds = 400  # one frame of a stream per stride
    per_frame: Count = 3  # crops of one frame
    window: Count = 48  # samples in a test of one stream
    pooled_window: Count = 144  # samples in a test of all streams together
    streams: Count = 4  # how many are expected, until they are seen
    test_s: Seconds = 1  # between two tests
    block_s: Seconds = 2  # samples of one stream and block depend on each other

    # alarms
    false_alarms_per_day: Annotated[float, Field(gt=0)] = 1.0  # of the whole system, all models and streams together
    bootstrap_draws: Count = 600
    world_min: Count = 360  # samples that a new reference is made of
    check_in: bool = True  # audit once after the start, and learn this site's own frames
    refractory_s: Seconds = 60  # no new alarm after an audit that decided nothing or a repair that failed

    # audit
    audit_labels: Count = 60
    audit_rounds: Count = 3
    alpha: Share = 0.01  # chance of calling a harmless drift harmful, per round
    margin: Share = 0.10  # an accuracy this far below the reference's is harm
    teacher_error: Share = 0.03
    label_confidence_min: Share = 0.5
    label_timeout_s: Seconds = 30

    # repair
    train_labels: Count = 200
    fresh_samples: Count = 180  # of the new world, before a repair begins
    gather_s: Seconds = 8  # or this long, whichever comes first
    held_out: Share = 0.4  # newest part of them, for the judge alone
    gap_ms: Seconds = 1000  # dropped between the two parts
    replay: Count = 300
    old_held_out: Count = 150
    labels_min: Count = 30  # held-out labels that a judgement needs
    confidence: Share = 0.95
    old_tolerance: Share = 0.02
    new_share: Share = 0.8
    old_loss_max: Share = 1.0  # the old variant stays a recall away

    # probation
    probation_s: Seconds = 5
    probation_labels: Count = 40
    probation_loss: Share = 0.10  # worse by more than this on the same frames: rolled back

    def teacher_of(self, model: str) -> str | None:
        return self.teacher.get(model) if isinstance(self.teacher, dict) else self.teacher

    def tests(self) -> list[MakeTest]:
        return [_named(path) for path in self.detectors]

    def ladder(self) -> list[Response]:
        return [_made(*_split(table)) for table in self.responses]

    def rule(self) -> Rule:
        return Rule(self.labels_min, self.confidence, self.old_tolerance, self.new_share, self.old_loss_max)


def _split(table: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    options = dict(table)
    if "use" not in options:
        raise UserError(f"drift.responses: {table} names no class; write {{use: 'package.module:Class'}}")
    return options.pop("use"), options


def _made(use: str, options: dict[str, Any]) -> Response:
    kind = _named(use)
    try:
        made: Response = kind(**options)
        return made
    except (TypeError, ValueError) as error:
        raise UserError(f"drift.responses: {use}: {error}; see its docstring for the options it takes") from None


def _named(path: str) -> Any:
    try:
        return resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"drift: cannot import {path!r}: {error}") from None
