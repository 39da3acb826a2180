"""A finished run is opened once: one fold of the ledger, one opening of git."""

import pytest
from click.testing import CliRunner

from analysis import ledger as ledger_module
from analysis.ledger import Ledger
from harness.contract import SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.records import Entry, Proposal
from swarm.cli import merge as command
from swarm.cli.merge import merge
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.project.runs import RunFolder
from swarm.results.finished_run import FinishedRun
from swarm.simulation.virtual_time import run_virtual
from tests.support.histories import clock
from tests.support.laboratory import GENOME, LabAgent, make_run
from tests.support.repository import make

KEPT = Proposal("Raise X", {GENOME: Entry(b"X = 0.5\n")})


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a run, in a real repository, whose island has kept changes."""
    repo = make(tmp_path / "repo", {GENOME: "X = 0.0\n", ".gitignore": ".swarm\n"})
    branches, folder = Branches(repo, "lab", (GENOME,)), RunFolder(repo, "lab")
    folder.path.mkdir(parents=True)

    async def main(ledger):
        limits = RunLimits(trials=24)
        base = branches.base("main")
        agents = {"i0": LabAgent(script={2: KEPT})}
        await run_islands(
            make_run(tmp_path, ledger, branches, agents, islands=1, limits=limits, base=base)
        )

    with Ledger.open(folder.path, clock()) as ledger:
        run_virtual(main(ledger))
    return folder


@pytest.fixture
def counts(folder, monkeypatch):
    """Count openings of git, and events read from the ledger, in whole ledgers."""
    counts = {"git": 0, "ledger": 0.0}
    total = len(_events(folder))
    init, decode = Plumbing.__init__, ledger_module.decode

    def counting_init(self, *args, **kwargs):
        counts["git"] += 1
        init(self, *args, **kwargs)

    def counting_decode(body):
        counts["ledger"] += 1 / total
        return decode(body)

    monkeypatch.setattr(Plumbing, "__init__", counting_init)
    monkeypatch.setattr(ledger_module, "decode", counting_decode)
    # the laboratory's harness has no files
    monkeypatch.setattr(command, "_require_same_harness", lambda *_: None)
    monkeypatch.chdir(folder.repo)
    return counts


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--squash"], ["--pr"]])
def test_a_merge_opens_git_once_and_folds_the_ledger_once(folder, counts, options):
    """Selection, checks, message and event share one FinishedRun."""
    arguments = ["--force-unpromoted", "--allow-unconfined", *options]
    result = CliRunner().invoke(merge, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "i0 of run lab: 1 change, " in result.output
    assert counts["git"] == 1
    assert 1 <= round(counts["ledger"], 6) < 1.5  # an open or append decodes a line to check it
    events = [event for event in map(type, _events(folder)) if event is ev.Merged]
    assert len(events) == (0 if options in (["--dry-run"], ["--pr"]) else 1)


def test_new_scores_without_a_sandbox_need_a_word_more():
    """`--sandbox none` alone is refused before anything is read; the error names the option."""
    with pytest.raises(SetupError, match="add --allow-unconfined"):
        CliRunner().invoke(merge, ["--sandbox", "none"], catch_exceptions=False)


def test_a_run_that_was_resumed_meanwhile_is_not_merged(folder):
    """Events appended by another process since the fold are noticed by their number."""
    run = FinishedRun.open(folder)
    with Ledger.open(folder.path, clock()) as ledger:
        run.require_current(ledger)
        run.record(ledger, ev.RunStopped("done"))
        run.require_current(ledger)
        ledger.append(ev.RunResumed())
        with pytest.raises(SetupError, match="repeat the command"):
            run.require_current(ledger)


def test_an_empty_ledger_is_named(folder):
    """A launch that was killed before its first event gives one line, no traceback."""
    folder.ledger.write_bytes(b"")
    with pytest.raises(SetupError, match="run lab has not started"):
        FinishedRun.open(folder)


def _events(folder):
    with Ledger.open(folder.path, clock()) as ledger:
        return list(ledger.events())
