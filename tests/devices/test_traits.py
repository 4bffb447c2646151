"""Traits: what a device says of itself, and what its kind says where it says nothing."""

from types import SimpleNamespace

import pytest

from devices.cpu import Cpu
from devices.interface import traits_of
from devices.remote import Remote
from devices.traits import PLAIN, Traits


def test_a_device_that_says_nothing_is_known_by_its_kind():
    assert traits_of(SimpleNamespace(kind="cpu")) == Traits(stoppable=True)
    assert traits_of(SimpleNamespace(kind="toaster")) == PLAIN == Traits()


def test_what_a_device_says_counts_more_than_its_kind():
    assert traits_of(SimpleNamespace(kind="cpu", traits=PLAIN)) == PLAIN


@pytest.mark.parametrize("price", [0.0, 0.25])
def test_a_remote_device_says_what_it_costs(price):
    device = Remote(price_per_request=price, overhead_ms=3.0)
    assert device.traits == Traits(remote=True, price_per_request=price, overhead_ms=3.0)
    assert not Cpu.traits.remote


def test_a_remote_device_accepts_what_its_peer_is_said_to():
    device = Remote(artefacts=["onnx", "plan"])
    assert [device.accepts(kind) for kind in ("onnx", "plan", "blob")] == [True, True, False]
