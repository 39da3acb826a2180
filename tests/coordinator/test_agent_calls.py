"""Faults of ours in a call of an agent: each costs one answer, and none ends a night."""

import asyncio
import errno
from dataclasses import dataclass, field, replace

import pytest

from harness.contract import HarnessError, SetupError
from islands import events as ev
from islands.records import Entry, Proposal, Usage
from swarm.agents.base import AgentError
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.run import Run
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import GENOME, LabAgent, make_run

COST = Usage(calls=1, tokens_in=100, tokens_out=10, usd=0.01)
HALF = "\ud83d"


@dataclass
class Billed(LabAgent):
    """Says what a call may cost before it goes wrong, as agents with a model do."""

    runs: list[Run] = field(default_factory=list)

    async def propose(self, brief):
        if isinstance(self.script.get(self.calls + 1), Exception):
            self.runs[0].record(ev.AgentCallStarted(brief.experiment, "i0", self.name, COST))
        return await super().propose(brief)


def launched(tmp_path, script, writer=None):
    """Return the run of one island whose agent follows `script`, once it has ended."""

    async def main():
        agent = Billed(script=script)
        run = make_run(tmp_path, islands=1, agents={"i0": agent}, limits=RunLimits(trials=30))
        run.launch.folder.path.mkdir(parents=True, exist_ok=True)
        agent.runs.append(run)
        if writer is not None:
            run.launch, run.writer = replace(run.launch, summary_every=2), writer
        await run_islands(run)
        return run

    return run_virtual(main())


def failed(run):
    """Return the events of answers that did not come."""
    return [event for event in run.ledger.kept if isinstance(event, ev.AgentFailed)]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no\nnumber: \x1b[31m²"), "ValueError: no number: [31m²"),
        (
            UnicodeEncodeError("utf-8", HALF, 0, 1, "surrogates"),
            "UnicodeEncodeError: 'utf-8' codec",
        ),
        (PermissionError(errno.EACCES, "denied", "a.py"), "PermissionError: [Errno 13] denied"),
    ],
)
def test_any_other_error_of_an_agent_costs_one_proposal(tmp_path, error, told):
    """With what the call cost; the line tells what it was, `faults.log` where."""
    run = launched(tmp_path, {2: error, 4: error})
    assert run.limit == "trials"
    one, other = failed(run)
    assert (one.error_kind, one.usage, other.usage) == ("malformed", COST, COST)
    assert told in one.reason
    assert "a bug in swarm" in one.reason
    assert one.reason.isprintable()
    log = run.launch.folder.faults
    assert f"(traceback: {log})" in one.reason
    assert log.read_text().count("in propose\n") >= 2
    assert f"experiment {other.experiment}\nTraceback" in log.read_text()


@pytest.mark.parametrize(
    "error",
    [
        SetupError("set a key"),
        HarnessError("nothing can be measured"),
        OSError(errno.ENOSPC, "No space left on device", "/tmp/x"),
    ],
)
def test_what_a_person_must_mend_still_ends_a_launch(tmp_path, error):
    """The next proposal would meet it as well."""
    with pytest.raises((type(error), ExceptionGroup)) as caught:
        launched(tmp_path, {2: error})
    inner = caught.value
    while isinstance(inner, ExceptionGroup):
        [inner] = inner.exceptions
    assert inner is error
    assert not (tmp_path / ".swarm/lab/faults.log").exists()


def test_a_state_that_could_not_take_an_event_in_ends_the_launch(tmp_path):
    """It is not the ledger's any more: an agent's call that met the error cannot hide it."""

    async def main():
        agent = Billed(script={2: ValueError("x")})
        run = make_run(tmp_path, islands=1, agents={"i0": agent}, limits=RunLimits(trials=30))
        agent.runs.append(run)
        apply = run.state.apply

        def torn(event):
            if event.kind == "agent_call_started":
                raise LookupError("no such experiment")
            apply(event)

        run.state.apply = torn
        await run_islands(run)

    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(main())
    assert caught.group_contains(LookupError, match="no such experiment")


def test_a_fault_that_cannot_be_logged_is_printed(tmp_path, capsys):
    """Once, on standard error; the run goes on."""
    log = tmp_path / ".swarm/lab/faults.log"
    log.mkdir(parents=True)
    run = launched(tmp_path, {2: ValueError("odd")})
    assert failed(run)[0].reason.endswith("bug in swarm: ValueError: odd")
    assert capsys.readouterr().err.count("Traceback (most recent call last)") == 1


def test_what_a_proposal_says_can_be_recorded(tmp_path):
    """Halves of characters, and the NUL that would end a commit's message before its trailers."""
    said = Proposal(
        f"h {HALF}\0", {GENOME: Entry(b"X = 0.5\n")}, {"session": f"s{HALF}", "size": 1.0}
    )
    run = launched(tmp_path, {2: said})
    assert failed(run) == []
    proposals = [event for event in run.ledger.kept if isinstance(event, ev.ProposalReceived)]
    [one] = [event for event in proposals if event.hypothesis.startswith("h ")]
    assert one.hypothesis == "h \ufffd\ufffd"
    assert one.notes == {"session": "s\ufffd", "size": 1.0}


def test_an_agents_error_is_one_line_that_can_be_recorded():
    """Whatever it quotes of an answer, such as why a model refused."""
    error = AgentError("refusal", f"the model refused: no\n\x1b[2J {HALF}way")
    assert str(error) == "the model refused: no [2J way"
    ev.encode(ev.AgentFailed(1, "i0", "m", error.error_kind, str(error)))


def test_a_fault_in_a_summary_costs_that_summary(tmp_path):
    """The run goes on, and the next one is asked for."""

    class Writer:
        name = "lab"

        async def summarise(self, brief, known):
            await asyncio.sleep(1)
            raise RuntimeError(f"odd {HALF}")

    run = launched(tmp_path, {}, Writer())
    assert run.limit == "trials"
    written = [event for event in run.ledger.kept if isinstance(event, ev.SummaryWritten)]
    assert len(written) > 1
    assert all("bug in swarm: RuntimeError: odd" in event.reason for event in written)
