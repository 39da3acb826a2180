"""A change is dropped while its stack is checked, promoted, or the consensus: the rest goes on."""

import asyncio

import pytest

from islands import events as ev
from islands.records import Entry, Proposal
from islands.stacking.state import StackPolicy
from islands.state.run_state import State
from islands.steering import DropChange
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import GENOME, LabAgent, make_run


def raised(x):
    """Return a proposal that makes the true score better by `x` in all."""
    return Proposal(f"X to {x}", {GENOME: Entry(f"X = {x}\n".encode())})


def dropped_at(tmp_path, kind):
    """Return a run whose first stack loses a part at the first event of `kind`.

    Three islands keep one change each; then nobody proposes anything better.
    """

    async def main():
        agents = {
            f"i{n}": LabAgent(step=0.0001, script={1: raised(0.3 + n / 10)}) for n in range(3)
        }
        stacking, limits = StackPolicy(every=3, share=1.0), RunLimits(trials=150)
        run = make_run(tmp_path, islands=3, agents=agents, limits=limits, stacking=stacking)
        said = []

        def drop(event, state):
            if isinstance(event, kind) and not said:
                said.append(state.stacks.parts()[-1])
                loop = asyncio.get_running_loop()
                loop.call_soon(run.steer, DropChange(said[0]), "r0")

        run.watch = drop
        await run_islands(run)
        return run, said[0]

    return run_virtual(main())


@pytest.mark.parametrize(
    "kind", [ev.StackCheckStarted, ev.StackCheckEnded, ev.PromotionStarted, ev.ConsensusMoved]
)
def test_what_is_left_is_checked_and_promoted_by_itself(tmp_path, kind):
    """The run needs no other keep for it, and measures nothing of what was dropped."""
    run, lost = dropped_at(tmp_path, kind)
    events = run.ledger.kept
    place = next(n for n, e in enumerate(events) if isinstance(e, ev.CommitQuarantined))
    later = events[place + 1 :]
    (check,) = [e for e in later if isinstance(e, ev.StackCheckStarted)]
    assert check.number == 2
    assert len(check.parts) == 2
    assert lost not in check.parts
    started = [e for e in later if isinstance(e, ev.TrialStarted)]
    assert {e.check_number for e in started if e.purpose in {"stack", "ablation"}} == {2}
    (promotion,) = [e for e in later if isinstance(e, ev.PromotionStarted)]
    of_promotion = {e.check_number for e in started if e.purpose == "promotion"}
    assert of_promotion == {promotion.number}
    assert promotion.parts == run.state.promotions.consensus.parts
    assert not any(isinstance(e, ev.VerdictReached) and e.verdict == "keep" for e in later)
    assert run.branches.heads["consensus"] == run.state.promotions.consensus.commit
    fresh = State()
    fresh.apply_all(events)
    assert fresh.promotions.consensus == run.state.promotions.consensus
    assert fresh.stacks.judged == run.state.stacks.judged
