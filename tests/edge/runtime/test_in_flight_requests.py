"""A request is known until its answer is told."""

from tests.edge.runtime.world_by_hand import answer, frame, hear_all


def test_a_reply_is_told_once_and_closes_the_books(world, books):
    world.receive(frame())
    (event,) = hear_all(world)
    answer(world, event.request.id)
    (opened, reply, now) = books.replies[0]
    assert opened.request is event.request
    assert reply.outcome == "ok"
    assert now >= event.request.arrived_ns
    assert not world.open
    assert world.by_stream == {("gate", "a"): []}
