"""The device that only takes its time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.interface import DeviceError
from devices.simulated import Simulated
from tests.edge.daemon_builder import colour_classifier


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


def test_single_graphs_have_tables_of_their_own(tmp_path):
    waits = []
    device = Simulated(
        ms_by_batch={1: 0.01}, ms_by_graph={"ab": {1: 1, 2: 3}, "abc": {"1": 5.0}, "other": {1: 9.0}}, seed=0
    )
    device.duration_ms = lambda batch, table: waits.append(device.expected_ms(batch, table)) or 0.0
    for name in ("abcdef", "abx", "zzz"):
        path = tmp_path / name
        path.write_bytes(colour_classifier(4).SerializeToString())
        device.load(path).run({"image": np.zeros((2, 3, 4, 4), np.float32)})
    assert waits == pytest.approx([10.0, 3.0, 0.02])


def test_a_wrong_table_names_its_graph():
    with pytest.raises(DeviceError, match=r"sim0: ms_by_graph\.ab maps batch sizes"):
        Simulated(ms_by_graph={"ab": {0: 1.0}})
