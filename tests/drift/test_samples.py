"""What is remembered, and that it stays bounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.samples import STREAMS_MAX, Recent, Reference, Sample, Stride, balanced

MS = 1_000_000


def sample(id=0, at_ns=0, side=4):
    return Sample(id, "cam", at_ns, np.zeros((side, side, 3), np.uint8), np.ones(2) / 2, np.zeros(3))


def reference(n=60, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "images": np.zeros((n, 4, 4, 3), np.uint8),
        "labels": rng.integers(0, 3, n),
        "probs": rng.dirichlet(np.ones(3), n),
        "features": rng.normal(size=(n, 5)),
        "stream": np.arange(n) // 30,
        "block": np.arange(n) % 30 // 5,
    }
    return Reference.of({**arrays, **changes})


def test_stride_takes_some_crops_of_one_frame_per_stride_and_stream():
    stride = Stride(400 * MS, per_frame=2)
    taken = [(t, s) for t in (0, 200, 400, 700, 800) for s in "ab" for _ in range(3) if stride.takes(s, t * MS)]
    assert taken == [(t, s) for t in (0, 400, 800) for s in "aabb"]


def test_stride_survives_a_clock_that_jumps_back_and_endless_streams():
    stride = Stride(400 * MS, per_frame=1)
    assert stride.takes("a", 10_000 * MS)
    assert stride.takes("a", 5_000 * MS)
    assert sum(stride.takes(f"s{i}", 0) for i in range(1000)) == STREAMS_MAX - 1


@given(st.lists(st.integers(0, 2000), max_size=60))
def test_would_take_says_what_takes_will_do(times):
    stride = Stride(400, per_frame=2)
    for at_ns in times:
        assert stride.would_take("a", at_ns) == stride.takes("a", at_ns)


def test_recent_is_bounded_in_number_and_bytes():
    recent = Recent(samples_max=10, bytes_max=10_000)
    for i in range(50):
        recent.add(sample(i, at_ns=i))
    assert [s.id for s in recent] == list(range(40, 50))
    assert [s.id for s in recent.since(48)] == [48, 49]
    for i in range(50):
        recent.add(sample(i, side=32))  # 3072 bytes each
    assert len(recent) == 3


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(1, 40))
def test_balanced_gives_every_class_its_turn(labels, size):
    labels = np.asarray(labels)
    rows = balanced(labels, size, np.random.default_rng(0))
    assert len(rows) == min(size, len(labels)) == len(set(rows.tolist()))
    counts, have = np.bincount(labels[rows], minlength=5), np.bincount(labels, minlength=5)
    for kind in np.flatnonzero(have):
        assert counts[kind] >= min(have[kind], counts.max() - 1), "a class was passed over for a fuller one"


def test_held_out_blocks_are_never_replayed():
    ref = reference()
    replay, held = ref.split()
    assert set(ref.group[replay]).isdisjoint(ref.group[held])
    assert len(held) == pytest.approx(len(ref.labels) / 3, abs=5)


@pytest.mark.parametrize(
    ("changes", "says"), [({"probs": np.ones((5, 3))}, "lengths"), ({"labels": np.zeros(0)}, "lengths")]
)
def test_a_reference_that_does_not_fit_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        reference(**changes)
    with pytest.raises(ValueError, match="without labels"):
        Reference.of({"images": np.zeros(3)})
