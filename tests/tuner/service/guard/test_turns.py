"""Places go round: whoever holds many, or waits with many, keeps nobody else out."""

import asyncio

import pytest

from tuner.service.guard.turns import Bound, FairQueue


class Hall:
    """People who come into a queue, and leave when they are told to."""

    def __init__(self, places):
        self.queue, self.inside, self.tasks = FairQueue(places), [], {}

    async def come(self, *people):
        for name in people:
            self.tasks[name] = asyncio.create_task(self._stay(name))
        await self.settle()

    async def leave(self, name):
        self.tasks[name].cancel()
        await self.settle()

    async def settle(self):
        for _ in range(5):
            await asyncio.sleep(0)

    async def _stay(self, name):
        async with self.queue.place(name[0]):
            self.inside.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                self.inside.remove(name)


def test_the_last_place_is_for_somebody_who_has_none():
    async def scene():
        hall = Hall(3)
        await hall.come("a1", "a2", "a3", "a4")
        assert hall.inside == ["a1", "a2"]
        await hall.come("b1")
        assert hall.inside == ["a1", "a2", "b1"]
        await hall.leave("a1")
        assert hall.inside == ["a2", "b1"]  # the last one is kept again
        await hall.leave("b1")
        assert hall.inside == ["a2", "a3"]

    asyncio.run(scene())


def test_whoever_has_least_goes_first_then_whoever_waited_longest():
    async def scene():
        hall = Hall(2)
        await hall.come("a1", "a2", "a3", "b1", "b2", "c1")
        assert hall.inside == ["a1", "b1"]
        await hall.leave("a1")
        assert hall.inside == ["b1", "a2"]
        await hall.leave("b1")
        assert hall.inside == ["a2", "b2"]
        await hall.leave("a2")
        assert hall.inside == ["b2", "a3"]
        await hall.leave("b2")
        assert hall.inside == ["a3", "c1"]

    asyncio.run(scene())


def test_whoever_gives_up_waiting_is_forgotten():
    async def scene():
        hall = Hall(2)
        await hall.come("a1", "b1", "c1", "d1")
        await hall.leave("c1")
        await hall.leave("a1")
        assert hall.inside == ["b1", "d1"]
        for name in ("b1", "d1"):
            await hall.leave(name)
        await hall.come("a5", "b5")
        assert hall.inside == ["a5", "b5"]

    asyncio.run(scene())


@pytest.mark.parametrize("user", ["a", None])
def test_a_bound_holds_for_each_and_for_all(user):
    bound = Bound(2, 3)
    assert [bound.take(user) for _ in range(3)] == [True, True, False]
    assert [bound.take("b") for _ in range(2)] == [True, False]
    bound.give_back(user)
    assert bound.take("b")
    assert not bound.take(user)
