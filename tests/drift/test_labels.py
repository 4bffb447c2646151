"""Every question ends answered, unsure or expired."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drift.labels import Labels
from drift.samples import Sample

SECOND = 10**9


def samples(count):
    return [Sample(i, "cam", i, np.zeros((2, 2, 3), np.uint8), np.ones(3) / 3, np.zeros(2)) for i in range(count)]


def test_answers_of_all_kinds_are_told_apart():
    labels = Labels(classes=3, confidence_min=0.5, timeout_ns=30 * SECOND)
    ask = labels.ask(samples(6), 0, "audit")
    assert [s.id for s in ask.samples] == [0, 1, 2, 3, 4, 5]
    assert labels.ask(samples(6), 0, "train") is None, "nothing is asked twice"
    labels.answer(0, 2, 0.9)
    labels.answer(1, None)
    labels.answer(2, 1, 0.2)
    labels.answer(3, 7)
    labels.answer(0, 2, 0.9)
    labels.answer(99, 1)
    assert not labels.settled(10 * SECOND)
    assert labels.settled(30 * SECOND)
    assert [(s.id, y) for s, y in labels.of(samples(6))] == [(0, 2)]
    assert (labels.answered, labels.unsure, labels.expired, labels.unasked) == (1, 3, 2, 2)


@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(-1, 4)), st.floats(0, 1)), max_size=30))
def test_asked_is_answered_plus_unsure_plus_expired(answers):
    labels = Labels(classes=3, confidence_min=0.5, timeout_ns=SECOND)
    labels.ask(samples(8), 0, "audit")
    for sample_id, label, confidence in answers:
        labels.answer(sample_id, label, confidence)
    assert labels.settled(SECOND)
    assert labels.asked == 8 == labels.answered + labels.unsure + labels.expired


def test_a_question_that_is_forgotten_counts_as_expired():
    labels = Labels(classes=3, confidence_min=0.5, timeout_ns=SECOND)
    labels.ask(samples(3), 0, "audit")
    labels.answer(0, 1)
    labels.forget()
    assert (labels.asked, labels.answered, labels.expired) == (3, 1, 2)
