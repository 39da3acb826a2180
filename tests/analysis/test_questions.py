"""Questions about a run: why, tried, cost, pictures, and the door for notebooks."""

import json
import math
import subprocess

import pytest
from click.testing import CliRunner

from analysis import open_run
from analysis.pictures.kinds import KINDS
from analysis.questions.evidence import evidence_on
from analysis.questions.standing import standing
from analysis.questions.tried import changed_lines, likeness, normalised
from analysis.run import RecordedRun
from harness.contract import SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.records import Usage
from swarm.cli.main import swarm
from tests.support import repository
from tests.support.histories import RECORDED
from tests.support.record import write


@pytest.fixture(scope="module")
def run(recorded):
    """Return the recorded run, opened once."""
    with RecordedRun(recorded) as opened:
        yield opened


def test_what_trials_spent_on_their_model_counts_for_who_proposed_them(history, tmp_path):
    """Each once, at its last charge: in all sums by agent, experiment and island."""
    charged, paid = [], {}
    for event in history[0][:80]:
        charged.append(event)
        if isinstance(event, ev.TrialStarted):
            for usd in (0.5, 0.25):
                usage = Usage(calls=2, tokens_in=30, tokens_out=10, usd=usd)
                about = (event.trial, event.experiment, event.island)
                charged.append(ev.TrialCharged(*about, usage, recorded=event.recorded))
            paid[event.trial] = event
    write(tmp_path, history[0][:80])
    (tmp_path / "with").mkdir()
    write(tmp_path / "with", charged)
    with RecordedRun(tmp_path) as plain, RecordedRun(tmp_path / "with") as run:
        before, after = ({one.agent: one.usd for one in each.cost()} for each in (plain, run))
        own = sum(0.25 for started in paid.values() if not started.experiment)
        assert own
        assert after["run"] == own
        total = sum(after.values()) - sum(before.values())
        assert total == pytest.approx(0.25 * len(paid))
        for view in ("standings", "spending"):
            [(usd,)] = run.sql(f"SELECT sum(usd) FROM {view}").fetchall()
            assert usd == pytest.approx(sum(after.values())), view
        number = next(started.experiment for started in paid.values() if started.experiment)
        trials = sum(started.experiment == number for started in paid.values())
        assert run.why(f"#{number}").usd - plain.why(f"#{number}").usd == 0.25 * trials


def kept_of(history):
    """Return the verdicts of a history that moved a head."""
    verdicts = [event for event in history if isinstance(event, ev.VerdictReached)]
    return [one for one in verdicts if one.verdict == "keep" and not one.null]


def test_the_evidence_on_a_change_is_that_of_the_ledger(run, history):
    """Gain, pairs and reason are the verdict's; pairs average to the gain of the fresh seeds."""
    verdict = next(v for v in kept_of(history[0]) if v.gain is not None and v.gain.pairs > 1)
    found = run.why(f"#{verdict.experiment}")
    assert (found.node, found.ending, found.reason) == (verdict.commit, "kept", verdict.reason)
    assert math.isclose(found.gain.mean, verdict.gain.mean)
    trials = [e for e in history[0] if isinstance(e, ev.TrialEnded)]
    own = [t for t in trials if t.started.experiment == verdict.experiment]
    assert found.trials == len(own)
    assert found.pairs
    for pair in found.pairs:
        scores = {t.outcome.score for t in own if t.started.seed == pair.seed}
        assert {pair.head, pair.candidate} <= scores
        assert math.isclose(pair.gain, pair.head - pair.candidate)
    assert run.why(verdict.commit[:12]) == found


def test_a_target_that_names_nothing_or_too_much_is_refused(run):
    """One line says what to give instead."""
    for target in ("#99999", "zz", "", "experiment"):
        with pytest.raises(SetupError, match="no such experiment"):
            run.why(target)


def test_migrations_and_failures_are_consequences(run, history):
    """A change that travelled lists where; a failed trial gives its reason."""
    offered = next(e for e in history[0] if isinstance(e, ev.MigrantOffered))
    travelled = run.why(f"#{offered.migrant.experiment}")
    assert any(one.where == offered.island for one in travelled.consequences)
    failed = next(
        e for e in history[0] if isinstance(e, ev.TrialEnded) and e.outcome.failure is not None
    )
    assert run.why(f"#{failed.started.experiment}").failures


def test_costs_add_up_to_those_of_the_record(run):
    """Trials, dollars and kept changes of all agents are those of the whole run."""
    agents = run.cost()
    ((trials, usd),) = run.sql(
        "SELECT (SELECT count(*) FROM trials), (SELECT sum(usd) FROM agent_calls)"
    ).fetchall()
    assert sum(agent.trials for agent in agents) == trials
    assert math.isclose(sum(agent.usd for agent in agents), usd)
    ((kept,),) = run.sql("SELECT count(*) FROM nodes WHERE verdict = 'keep'").fetchall()
    assert sum(agent.kept for agent in agents) == kept


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_is_drawn_inert_and_the_same_each_time(run, kind, tmp_path):
    """Hostile hypotheses stay text; the same record gives the same bytes."""
    for name in ("one.svg", "two.svg"):
        run.plot(kind, tmp_path / name)
    one = (tmp_path / "one.svg").read_bytes()
    assert one == (tmp_path / "two.svg").read_bytes()
    assert b"<script" not in one
    assert b"\x1b" not in one
    assert len(one) > 1000


def test_pictures_of_a_run_without_trials_say_so(tmp_path, history):
    """Nothing to draw is a sentence on the picture, never a traceback."""
    write(tmp_path, history[0][:1])
    with RecordedRun(tmp_path) as young:
        for kind in KINDS:
            young.plot(kind, tmp_path / f"{kind}.svg")
            assert "yet" in (tmp_path / f"{kind}.svg").read_text()
        with pytest.raises(SetupError, match=r"end the name in \.svg"):
            young.plot("progress", tmp_path / "x.gif")
        with pytest.raises(SetupError, match="no such picture"):
            young.plot("pie", tmp_path / "x.svg")


def test_the_door_reads_and_cannot_write(run, recorded):
    """A relation answers; anything that writes is refused; a folder without a run is named."""
    assert run.sql("FROM standings").fetchall() == list(
        map(tuple, run.sql("FROM standings").fetchall())
    )
    for statement in (
        "DELETE FROM nodes",
        "COPY nodes TO 'x.csv'",
        "ATTACH 'x' AS y",
        "SELECT 1; SELECT 2",
    ):
        with pytest.raises(SetupError, match="question"):
            run.sql(statement)
    assert open_run(recorded).folder == recorded
    with pytest.raises(SetupError, match="no run in"):
        open_run(recorded.parent)


def test_diffs_are_normalised_to_what_they_change():
    """Other numbers and other white space are alike; headers are no lines of the change."""
    diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-PUSH = 36.0\n+PUSH  =  1e-3\n ctx\n"
    assert list(changed_lines(diff)) == ["-PUSH = 36.0", "+PUSH  =  1e-3"]
    assert normalised(diff) == {"- PUSH = #", "+ PUSH = #"}
    assert likeness(normalised(diff), normalised(diff.replace("36.0", "7"))) == 1.0
    assert likeness(frozenset(), frozenset()) == 0.0


def test_many_diffs_come_from_one_process_and_agree_with_single_ones(tmp_path):
    """`diffs` gives what `diff` gives, skips commits that git lacks, is not fooled by content."""
    repo = repository.make(tmp_path / "repo", {"genome/a.py": "X = 1\n"})
    branches = Branches(tmp_path / "repo", "run1", ("genome",))
    base = branches.base("HEAD")
    fake = "0123456789" * 4
    commits = [base]
    for text in (f"X = 2\n{fake}\n", "X = 3\n"):
        repository.write(tmp_path / "repo", {"genome/a.py": text})
        repository.git(tmp_path / "repo", "add", ".")
        repository.git(tmp_path / "repo", "commit", "-qm", text[:5])
        commits.append(branches.base("HEAD"))
    del repo
    pairs = [(commits[0], commits[1]), (commits[1], commits[2]), (commits[0], fake)]
    found = branches.diffs(pairs)
    assert found == {new: branches.diff(old, new) for old, new in pairs[:2]}
    assert fake in found[commits[1]]


def test_the_commands_answer_as_the_door_does(tmp_path, monkeypatch, history):
    """why, cost, plot, schema: text is inert, --json is the dataclass, errors are one line."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    folder = tmp_path / ".swarm/run1"
    folder.mkdir(parents=True)
    write(folder, history[0])
    monkeypatch.chdir(tmp_path)
    hostile = next(
        e for e in history[0] if isinstance(e, ev.ProposalReceived) and e.hypothesis == RECORDED
    )

    def said(*args):
        result = CliRunner().invoke(swarm, args, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    text = said("why", f"#{hostile.experiment}", "--no-diff")
    assert "DROP TABLE" in text
    assert "\x1b" not in text
    answered = json.loads(said("why", f"{hostile.experiment}", "--no-diff", "--json"))
    with RecordedRun(folder) as run:
        assert answered["node"] == evidence_on(run.connection, f"#{hostile.experiment}").node
    assert {row["agent"] for row in json.loads(said("cost", "--json"))} >= {"run"}
    assert "null" not in said("cost").split("agent")[0]
    assert said("plot", "gain", "--out", "g.png").strip() == "g.png"
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    assert "record format" in said("schema")
    assert json.loads(said("schema", "trials", "--json"))["columns"]
    assert "Every trial" in said("schema", "trials")
    with pytest.raises(SetupError, match="no such table"):
        said("schema", "nothing")
    with pytest.raises(SetupError, match="give a PATTERN or --like"):
        said("tried")


def test_what_an_agent_had_left_is_said_of_the_head_it_has_now(tmp_path, history):
    """Nothing left to try on a head is true until a head moves: here the last keep is dropped."""
    events_so_far, _ = history
    last = events_so_far[-1].recorded
    kept = [e for e in events_so_far if isinstance(e, ev.VerdictReached) and e.verdict == "keep"][
        -1
    ]
    out = ev.AgentFailed(999, kept.island, "lab", "exhausted", "all is tried", recorded=last + 1)
    dropped = ev.CommitQuarantined("", kept.commit, (kept.commit,), (), "dropped", last + 2)
    for name, events, said in (("stays", [out], 1), ("moved", [out, dropped], 0)):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, [*events_so_far, *events])
        with open_run(folder) as run:
            assert len(standing(run.connection)["exhausted"]) == said
