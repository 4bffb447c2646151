"""Artefacts: what a device compiles is stored and loaded, and what it does not accept is refused in one line."""

import zlib

import pytest

from devices.cpu import Cpu
from devices.interface import DeviceError
from porting.artefacts import compiled, load_stage
from porting.checks.chain import Chain
from porting.errors import UserError
from porting.pipeline import derive, port
from porting.repository.garbage_collection import prune
from porting.repository.repository import Repository
from tests.devices.zipped import Zipped

QUICK = {"batches": (1, 2), "budget_ns": 1_000_000}


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


def ported(repository, device, models, saved, name="things"):
    report = port(saved(models.mobile()), name, repository, device, **QUICK)
    variant = repository.variant(name, report.variant)
    return variant, repository.stages(variant, device.kind)


def test_a_port_stores_what_the_device_compiled(models, repository, saved):
    device = Zipped()
    variant, stages = ported(repository, device, models, saved)
    assert [stage.kind for stage in stages] == ["onnx.zlib", "onnx.zlib"]
    assert device.seen[-2:] == [(1, 2), (1, 2)]
    assert all(zlib.decompress(repository.blob_bytes(stage.graph)) for stage in stages)
    with Chain.of(repository, variant, device) as chain:
        assert len(chain.links) == 2


def test_another_kind_is_another_stage_of_the_same_graph(models, repository, saved):
    _, plain = ported(repository, Cpu(), models, saved, "plain")
    _, packed = ported(repository, Zipped(), models, saved, "packed")
    for one, other in zip(plain, packed, strict=True):
        assert zlib.decompress(repository.blob_bytes(other.graph)) == repository.blob_bytes(one.graph)
        assert one.digest != other.digest
        assert one.is_onnx
        assert not other.is_onnx


def test_blobs_of_every_kind_are_checked_and_kept(models, repository, saved):
    variant, stages = ported(repository, Zipped(), models, saved)
    assert repository.blobs("things", variant.name) == [blob for stage in stages for blob in stage.blobs]
    prune(repository, young_s=-1)
    repository.check("things", variant.name)


def test_what_a_device_does_not_accept_is_refused_before_it_is_loaded(models, repository, saved):
    variant, (first, _) = ported(repository, Zipped(), models, saved)
    with pytest.raises(DeviceError, match=r"^cpu0: a cpu device does not load 'onnx\.zlib' artefacts$"):
        load_stage(Cpu(), repository, first)
    with pytest.raises(DeviceError, match="does not load"):
        Chain.of(repository, variant, Cpu())


@pytest.mark.parametrize(
    ("kind", "said"),
    [("step", "no name of a file format"), ("a/b", "no name of a file format"), ("plan", "does not accept it")],
)
def test_a_kind_that_cannot_be_is_refused(models, repository, saved, kind, said):
    device = Zipped()
    device.format = kind
    with pytest.raises(DeviceError, match=said):
        compiled(device, b"graph")
    with pytest.raises(UserError, match=said):
        ported(repository, device, models, saved)
    assert repository.models() == []


def test_only_an_onnx_file_is_replaced_by_another_one(models, repository, saved):
    variant, _ = ported(repository, Zipped(), models, saved)
    with pytest.raises(UserError, match=r"its first stage is no ONNX file but 'onnx\.zlib'"):
        derive(repository, variant, name="realigned", graph=b"onnx")
