"""`swarm promote` and `swarm stack` that a stop ends: they show no other result as theirs."""

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from analysis.ledger import Ledger
from harness.contract import SetupError
from islands import events as ev
from islands.events.steering import LIMIT_NAMES
from islands.steering import SetLimits, StopLaunch
from swarm.cli import run_steps
from swarm.cli.promote import promote
from swarm.cli.stack import stack
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_steps_only
from swarm.project.runs import RunFolder
from swarm.simulation.virtual_time import run_virtual
from tests.islands.test_consensus import Lab
from tests.support.histories import clock

STOP = StopLaunch()


class Terminal:
    """A run in a real repository, and the commands that a person gives there."""

    def __init__(self, tmp_path):
        self.lab = Lab(tmp_path)
        self.folder = RunFolder(self.lab.repo, "lab")
        self.command, self.at = STOP, lambda event: False
        """What a person says to the run that works, and at which event."""

    def write(self, events):
        """Make these events the run's ledger."""
        self.folder.path.mkdir(parents=True)
        with Ledger.open(self.folder.path, clock()) as ledger:
            ledger.extend(events)

    def swarm(self, command, *options):
        """Call a command; return what it printed on standard output."""
        done = CliRunner().invoke(command, options, catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    async def reopen(self, folder, sandbox, next_of, begin, watch):
        """Stand for the function of that name: its limits, and the laboratory's executor."""

        async def steps(run):
            run.watch = lambda event, state: (
                self.at(event) and run.steer(self.command, f"r{state.events}")
            )
            await run_steps_only(run, next_of, lambda: begin(run))

        with Ledger.open(folder.path, clock()) as self.lab.ledger:
            return await self.lab.attend(steps, RunLimits(asked=frozenset(LIMIT_NAMES)))


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """Make a run that kept three changes, with real files and virtual time."""
    terminal = Terminal(tmp_path)
    monkeypatch.setattr(run_steps, "reopen", terminal.reopen)
    monkeypatch.setattr(run_steps, "asyncio", SimpleNamespace(run=run_virtual))
    monkeypatch.chdir(terminal.lab.repo)
    return terminal


def is_trial(purpose, rung=0):
    """Return whether an event starts a trial of a purpose at a rung, as a function."""
    return lambda event: (
        isinstance(event, ev.TrialStarted) and (event.purpose, event.rung) == (purpose, rung)
    )


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize(
    ("command", "reason"),
    [(STOP, "stopped by `swarm stop`"), (SetLimits({"trials": 1}), "limit: trials")],
)
def test_a_stopped_promotion_says_why_it_has_not_ended(terminal, options, earlier, command, reason):
    """Also where an earlier one ended, whose result is another; the next call ends it."""
    if earlier:
        terminal.lab.promote_worse()
    terminal.write(terminal.lab.ledger.kept)
    terminal.command, terminal.at = command, is_trial("promotion", rung=1)
    number = 2 if earlier else 1
    line = f"promotion {number} has not ended ({reason}): `swarm promote` continues"
    with pytest.raises(SetupError) as error:
        terminal.swarm(promote, *options)
    assert str(error.value) == line
    terminal.at = lambda event: False
    ended = json.loads(terminal.swarm(promote, "--json"))
    assert (ended["number"], ended["verdict"]) == (number, "transfers")


def test_a_promotion_that_transfers_is_not_shown_before_its_consensus_is_built(terminal):
    """A stop while the commits of the consensus are tried leaves the branch where it was."""
    terminal.lab.begin()
    terminal.write(terminal.lab.ledger.kept)
    terminal.at = is_trial("promotion", rung=0)
    line = "promotion 1 transfers, and the consensus is not built from it .*`swarm stop`"
    with pytest.raises(SetupError, match=line):
        terminal.swarm(promote)
    terminal.at = lambda event: False
    assert "3 commits; next: `swarm merge`" in terminal.swarm(promote)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_stopped_stack_check_says_why_it_has_not_ended(terminal, options):
    """Also one that was asked for again, when the first has a result; the next call ends it."""
    terminal.write(terminal.lab.ledger.kept)
    for number, words in ((1, ()), (2, ("--again",))):
        terminal.at = is_trial("stack")
        with pytest.raises(SetupError) as error:
            terminal.swarm(stack, *words, *options)
        assert str(error.value) == (
            f"stack check {number} has not ended (stopped by `swarm stop`): `swarm stack` continues"
        )
        terminal.at = lambda event: False
        assert json.loads(terminal.swarm(stack, "--json"))["number"] == number
