"""A classifier whose backbone a device compiled is served, but not repaired: there is no ONNX file to change."""

import pytest

from drift.settings import DriftSettings
from edge.observers.adaptation.watched_model import incumbent
from edge.observers.adaptation.wiring import watched_models
from porting.errors import UserError
from porting.pipeline import port
from porting.repository.repository import Repository
from tests.devices.zipped import Zipped
from tests.edge.daemon_builder import BATCHES, BUDGET_NS, LABELS, colour_classifier, samples


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "repository")
    path = tmp_path / "paint.onnx"
    path.write_bytes(colour_classifier().SerializeToString())
    port(path, "paint", made, Zipped(), labels=LABELS, batches=BATCHES, budget_ns=BUDGET_NS, samples=samples())
    return made


def test_it_cannot_be_watched(repository):
    with pytest.raises(UserError, match=r"^drift\.models: 'paint' is no ONNX file but 'onnx\.zlib', which cannot be"):
        watched_models(DriftSettings(models=("paint",)), repository, Zipped())


def test_promoted_it_is_served_without_repair(repository):
    with pytest.raises(UserError, match="is no ONNX file; serves on, without repair"):
        incumbent(repository, repository.variant("paint", "fp32"), like=None)
