"""One thing after the other, off the loop, told on the loop; no thread where there is nothing to do."""

import threading
from queue import SimpleQueue

from edge.runtime.worker import Worker
from tests.conftest import eventually


def loop(inbox, words):
    """The loop thread's part: call what was handed over, so many times."""
    for _ in range(words):
        inbox.get(timeout=10)()


def test_acts_run_in_order_in_one_thread_and_are_told_here():
    inbox, acted, told = SimpleQueue(), [], []
    worker = Worker(inbox.put)

    def act(number):
        acted.append((number, threading.current_thread()))
        return number

    for number in range(50):
        worker.do(lambda number=number: act(number), lambda word: told.append((word, threading.current_thread())))
    loop(inbox, 50)
    assert [number for number, _ in acted] == [*range(50)]
    assert told == [(number, threading.current_thread()) for number in range(50)]
    assert threading.current_thread() not in {thread for _, thread in acted}


def test_what_an_act_raises_is_told_and_the_next_one_runs():
    inbox, told = SimpleQueue(), []
    worker = Worker(inbox.put)
    worker.do(lambda: 1 / 0, told.append)
    worker.do(lambda: "next", told.append)
    loop(inbox, 2)
    assert isinstance(told[0], ZeroDivisionError)
    assert told[1] == "next"


def test_the_thread_enters_its_class_and_ends_when_there_is_nothing_to_do():
    inbox, entered, told = SimpleQueue(), [], []
    worker = Worker(inbox.put, lambda: entered.append(threading.current_thread()))
    for turn in (1, 2):
        worker.do(lambda: "done", told.append)
        loop(inbox, 1)
        assert eventually(lambda: not entered[-1].is_alive())
        assert len(entered) == len(told) == turn
