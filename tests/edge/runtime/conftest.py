"""A live world driven by hand, and a lane at work."""

import pytest

from devices.cpu import Cpu
from porting.repository.repository import Repository
from tests.edge.runtime.lane_by_hand import Lane
from tests.edge.runtime.world_by_hand import Books, made


@pytest.fixture
def books():
    return Books()


@pytest.fixture
def world(books):
    return made(books)


@pytest.fixture
def repository(box):
    return Repository(box / "repository")


@pytest.fixture
def lane(repository):
    made = Lane(Cpu(), repository)
    yield made
    made.threads.close()
