"""Turns on a slice that several islands share."""

import asyncio

import pytest

from islands.scheduling.arm_choice import ArmPolicy, choose_island
from islands.state.arms import ArmTotals, ProposalArm
from swarm.coordinator.slice_turns import SliceTurns


def played(waiting, choose, *, cancel=()):
    """Return the order in which those that wait got the slice, all at once behind a first one."""

    async def main():
        turns, order, most = SliceTurns(choose), [], 0
        held = 0

        async def wait(island, urgent):
            nonlocal held, most
            async with turns.turn(island, urgent=urgent):
                held += 1
                most = max(most, held)
                order.append(island)
                await asyncio.sleep(0)
                held -= 1

        async with turns.turn("first", urgent=False):
            tasks = [asyncio.create_task(wait(*one)) for one in waiting]
            await asyncio.sleep(0)
            for number in cancel:
                tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= 1
        assert not turns._held
        return order

    return asyncio.run(main())


def test_the_next_island_is_chosen_among_those_that_wait():
    """What the run needs comes first, in its order; then whose turn `choose` says it is."""
    waiting = [("a", False), ("b", True), ("c", False), ("d", True), ("a", False)]
    assert played(waiting, min) == ["b", "d", "a", "a", "c"]
    assert played(waiting, max) == ["b", "d", "c", "a", "a"]
    assert played([], min) == []


@pytest.mark.parametrize("cancelled", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_cancelled_wait_leaves_the_slice_to_others(cancelled):
    """Also where its turn came at that moment."""
    waiting = [("a", False), ("b", True), ("c", False)]
    left = [one for number, one in enumerate(waiting) if number not in cancelled]
    assert sorted(played(waiting, min, cancel=cancelled)) == sorted(name for name, _ in left)


def test_a_turn_that_comes_as_its_wait_is_cancelled_is_passed_on():
    """Between the choice and the waking."""

    async def main():
        turns = SliceTurns(min)
        got = asyncio.Event()

        async def wait(island):
            async with turns.turn(island, urgent=False):
                got.set()

        async with turns.turn("first", urgent=False):
            lost, next_ = (asyncio.create_task(wait(name)) for name in ("a", "b"))
            await asyncio.sleep(0)
        lost.cancel()  # it was chosen, and has not run since
        await asyncio.wait_for(got.wait(), 30)
        await next_

    asyncio.run(main())


def test_an_island_that_earns_more_gets_more_turns_and_none_gets_nothing():
    """The floor is shared by all; new islands come first."""
    totals = {
        ProposalArm("m", kind, island): ArmTotals(60, kept, kept * 0.1, 0.6, 3_600.0)
        for island, kept in (("rich", 12), ("poor", 1))
        for kind in ("data", "schedule")
    }
    drawn = [choose_island(["poor", "rich"], totals, ArmPolicy(), seed) for seed in range(400)]
    assert 300 < drawn.count("rich") < 400
    assert choose_island(["poor", "new", "rich"], totals, ArmPolicy(), 1) == "new"
    assert choose_island(["poor", "poor"], totals, ArmPolicy(), 1) == "poor"
