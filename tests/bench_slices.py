"""What share of the slices' wall time is inside training budgets, and where the rest goes.

    python tests/bench_slices.py [--minutes 6] [--task gpt]

Runs a real swarm with the mutator in a new repository, on this machine's slices, and itemises the
slices' wall time after the baseline: what the harness says of each trial's phases, what the
coordinator spends between trials on git, ledger and agent, and what is left. torch is imported
once for each slice, before the first trial (boxes start warm), so no trial pays for it.
"""

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from target import swarm

from islands import events as ev
from swarm.coordinator import conduct
from swarm.launch import Options, assembled


class Timed:
    """Passes every call on and adds its wall seconds to `spent[name]`."""

    def __init__(self, thing, name, spent):
        self._thing, self._name, self._spent = thing, name, spent

    def __getattr__(self, attribute):
        found = getattr(self._thing, attribute)
        if not callable(found):
            return found

        def timed(*args):
            began = time.monotonic()
            try:
                return found(*args)
            finally:
                self._spent[self._name] += time.monotonic() - began

        return timed


class TimedAgent(Timed):
    """The same for an agent, whose answers are awaited."""

    async def propose(self, brief):
        began = time.monotonic()
        try:
            return await self._thing.propose(brief)
        finally:
            self._spent[self._name] += time.monotonic() - began


async def measure(repo, minutes):
    """Run for so long; return seconds by item, from the last baseline trial's end on."""
    spent, marks = defaultdict(float), []

    def watch(event, state):
        baseline_over = len(state.baseline()) == state.run.baseline_seeds
        if baseline_over and not marks:
            spent.clear()
            marks.append(event.recorded)
        if isinstance(event, ev.TrialEnded) and baseline_over and event.recorded > marks[0]:
            for phase, seconds in event.outcome.seconds.items():
                spent[f"trial: {phase}"] += seconds
            spent["trials"] += 1
            marks.append(event.recorded)

    async with assembled(repo, Options(minutes=minutes), watch) as run:
        run.ledger = Timed(run.ledger, "ledger", spent)
        run.branches = Timed(run.branches, "git", spent)
        run.agents = {name: TimedAgent(a, "agent", spent) for name, a in run.agents.items()}
        await conduct(run)
        slices = len({island.slice.name for island in run.launch.islands})
    return spent, slices * (marks[-1] - marks[0])


def show(spent, wall):
    """Print each item's share of the slices' wall time."""
    trials = spent.pop("trials")
    table = Table(title=f"{wall:.0f} slice seconds after the baseline, {trials:.0f} trials")
    for heading in ("item", "seconds a trial", "share"):
        table.add_column(heading, justify="right")
    spent["between trials, rest"] = max(0.0, wall - sum(spent.values()))
    for item, seconds in sorted(spent.items(), key=lambda pair: -pair[1]):
        table.add_row(item, f"{seconds / trials:.3f}", f"{100 * seconds / wall:.1f} %")
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--task", default="gpt")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "repo"
        swarm(Path(scratch), "init", place, "--task", asked.task)
        show(*asyncio.run(measure(place, asked.minutes)))
