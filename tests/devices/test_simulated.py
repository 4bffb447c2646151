"""The device that only takes its time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.interface import DeviceError
from devices.simulated import Simulated


@pytest.mark.parametrize(("batch", "ms"), [(1, 6.0), (2, 8.0), (4, 12.0), (8, 24.0), (3, 10.0)])
def test_between_sizes_linear_beyond_in_proportion(batch, ms):
    assert Simulated(ms_by_batch={1: 6.0, "4": 12.0}).expected_ms(batch) == pytest.approx(ms)


def test_equal_seeds_draw_equal_noise():
    def draws(seed):
        device = Simulated(noise=0.2, seed=seed)
        return [device.duration_ms(1) for _ in range(20)]

    assert draws(1) == draws(1) != draws(2)


@given(st.floats(0, 1), st.integers(0, 1000), st.integers(1, 64))
def test_a_run_never_takes_less_than_half(noise, seed, batch):
    device = Simulated(ms_by_batch={1: 4.0, 8: 9.0}, noise=noise, seed=seed)
    assert device.duration_ms(batch) >= device.expected_ms(batch) / 2


@pytest.mark.parametrize(
    "options", [{"ms_by_batch": {0: 1.0}}, {"ms_by_batch": {1: -1}}, {"noise": 2}, {"outputs": "x"}]
)
def test_a_wrong_config_is_one_line(options):
    with pytest.raises(DeviceError, match="sim0"):
        Simulated(**options)
