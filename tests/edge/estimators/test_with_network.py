"""A lane far away takes longer from the first run on, and what its runs took is believed soon."""

import pytest

from edge.estimators.rolling import Rolling
from edge.estimators.table import Table
from edge.estimators.with_network import WithNetwork
from evaluation.synthetic import stage

MS = 1_000_000
STAGE = stage("graph", 4)


def test_the_way_is_added_where_there_is_one():
    estimator = WithNetwork(Table(), {"cloud": 20})
    assert estimator.duration_ns(STAGE, 1, "cpu0") == 4 * MS
    assert estimator.duration_ns(STAGE, 1, "cloud") == 24 * MS


@pytest.mark.parametrize("took_ms", [24, 60, 21])
def test_what_was_learnt_counts_and_not_the_way_twice(took_ms):
    estimator = WithNetwork(Rolling(runs=10, runs_min=3, outliers=0), {"cloud": 20})
    for _ in range(5):
        estimator.learn(STAGE, 1, "cloud", took_ms * MS)
    assert estimator.duration_ns(STAGE, 1, "cloud") == took_ms * MS
    assert estimator.duration_ns(STAGE, 1, "cpu0") == 4 * MS


def test_another_estimator_may_know_the_same_way():
    """What a scenario knows of its lanes every system may know."""
    known = WithNetwork(Table(), {"cloud": 20})
    assert known.around(Table(margin=1.5)).duration_ns(STAGE, 1, "cloud") == 26 * MS
    assert known.around(known) is known


def test_a_lane_cannot_be_nearer_than_here():
    with pytest.raises(ValueError, match="expected 0 or more"):
        WithNetwork(overhead_ms={"cloud": -1})


class Watching(Table):
    def observe(self, moment):
        self.seen = moment
        return ()


def test_an_inner_one_that_watches_goes_on_watching():
    inner = Watching()
    assert list(WithNetwork(inner).observe("moment")) == []
    assert inner.seen == "moment"
    assert list(WithNetwork(Table()).observe("moment")) == []
