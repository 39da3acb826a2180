"""Stack checks for tests: a ledger of kept changes, and a run that checks them."""

from islands.scheduling.run_steps import next_of_stack
from swarm.coordinator import run_actions
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_steps_only
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import LabExecutor, make_run


def run_stack_check(tmp_path, branches, ledger, executor=None, **changes):
    """Check all that was kept, as `swarm stack` does; return the run."""

    async def main():
        run = make_run(
            tmp_path,
            ledger=ledger,
            branches=branches,
            executor=executor or LabExecutor(branches),
            **{"islands": 3, "limits": RunLimits(), **changes},
        )

        async def begin():
            stacks = run.state.stacks
            if stacks.open is None and not stacks.judged:
                run_actions.start_stack_check(run, stacks.parts())

        await run_steps_only(run, next_of_stack, begin)
        return run

    return run_virtual(main())


def events_of(run, kind):
    """Return the events of one kind that a run recorded."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]
