"""The ledger's chain, and what `swarm verify` finds of what was done to a record."""

import dataclasses
import json
import re
import shutil
import typing

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.database.refresh import refresh
from analysis.ledger import Ledger, read_events
from harness.contract import SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.records import Entry, Proposal
from swarm.cli.verify import verify as command
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.project.runs import RunFolder
from swarm.results import verify as verification
from swarm.results.git_merge import merge_commit
from swarm.results.verify import verify
from swarm.simulation.virtual_time import run_virtual
from tests.support.chain import bodies, chained, forge
from tests.support.histories import clock
from tests.support.laboratory import GENOME, LabAgent, make_run
from tests.support.repository import git, make

KEPT = Proposal("Raise X", {GENOME: Entry(b"X = 0.5\n")})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return the folder of a run on a real repository, merged home: one change was kept."""
    home = tmp_path_factory.mktemp("original")
    folder = of(make(home / "repo", {GENOME: "X = 0.0\n", ".gitignore": ".swarm\n"}))
    branches = Branches(folder.repo, "lab", (GENOME,))

    async def main(ledger):
        run = make_run(
            home,
            ledger=ledger,
            branches=branches,
            agents={"i0": LabAgent(script={2: KEPT})},
            islands=1,
            limits=RunLimits(trials=24),
            base=branches.base("main"),
        )
        await run_islands(run)
        return run.state.islands["i0"]

    with Ledger.open(folder.path, clock()) as ledger:
        island = run_virtual(main(ledger))
        assert island.head != branches.base("main")
        note = f"Merge\n\nSwarm-Run: lab\nSwarm-Ledger: {ledger.link}\n"
        commit = merge_commit(
            Plumbing(folder.repo, worktree=True), "main", island.head, note, (GENOME,)
        )
        ledger.append(ev.Merged("i0", island.head, commit, "main"))
    refresh(folder.path)
    return folder


@pytest.fixture
def record(original, tmp_path):
    """Return a copy of that run for one test."""
    return of(shutil.copytree(original.repo, tmp_path / "repo"))


def of(repo):
    """Return the folder of run lab in `repo`."""
    folder = repo / ".swarm/lab"
    folder.mkdir(parents=True, exist_ok=True)
    return RunFolder(repo, "lab")


def path_of(folder):
    """Return a run's ledger."""
    return folder.path / "ledger.jsonl"


def broken(folder):
    """Return what does not hold of a record, by check."""
    return {check.name: check.violations for check in verify(folder).checks if check.violations}


def lines_of(folder):
    """Return a ledger's lines, newlines included."""
    return path_of(folder).read_bytes().splitlines(keepends=True)


def without_merge(folder):
    """Take back what a merge would tell of a record."""
    git(folder.repo, "reset", "-q", "--hard", "main~")


def without_projection(folder):
    """Delete what may always be deleted."""
    (folder.path / "lineage.duckdb").unlink()


# the chain


def test_links_are_what_the_ledger_says_they_are(record):
    """Each line ends in its number and 128 bits of sha256 over the link before and its event."""
    data = path_of(record).read_bytes()
    assert chained(bodies(data)) == data
    assert json.loads(data.splitlines()[-1])["link"] == verify(record).link


def test_events_know_nothing_of_links():
    """No event has a member of that name, so what a line carries is never an event's own."""
    for kind in typing.get_args(ev.Event):
        assert "link" not in {field.name for field in dataclasses.fields(kind)}


@pytest.fixture(scope="module")
def untouched(original):
    """Return the bytes of a whole ledger."""
    return path_of(original).read_bytes()


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_any_byte_that_is_changed_is_noticed_and_its_line_named(tmp_path_factory, untouched, data):
    """One byte of any line, its newline and its link too; only a torn last line may end anyhow."""
    at = data.draw(st.integers(0, len(untouched) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != untouched[at]))
    path = tmp_path_factory.mktemp("run") / "ledger.jsonl"
    path.write_bytes(untouched[:at] + bytes([byte]) + untouched[at + 1 :])
    with pytest.raises(SetupError, match=rf":{untouched.count(10, 0, at) + 1}: ") as said:
        list(read_events(path))
    assert "\n" not in str(said.value)


def test_a_last_newline_that_is_changed_leaves_a_torn_line(record):
    """It reads as what a kill leaves, and that line is not there: a merge's link tells."""
    path = path_of(record)
    before = path.read_bytes()
    path.write_bytes(before[:-1] + b" ")
    assert verify(record).events == before.count(b"\n") - 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:4] + lines[5:], ":5: lines 5 to 5 are missing before it"),
        (lambda lines: lines[:4] + lines[7:], ":5: lines 5 to 7 are missing before it"),
        (lambda lines: lines[1:], ":1: lines 1 to 1 are missing"),
        (
            lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]],
            ":5: is out of order, it was written as line 6",
        ),
        (
            lambda lines: [*lines[:8], lines[2], *lines[8:]],
            ":9: is out of order, it was written as line 3",
        ),
        (lambda lines: [lines[0].replace(b"lab", b"LAB"), *lines[1:]], ":1: was changed"),
        (lambda lines: [lines[0].replace(b'"1:', b'"7:'), *lines[1:]], ":1: was changed"),
        (lambda lines: [*lines[:2], b"{}\n", *lines[2:]], ":3: carries no link"),
    ],
)
def test_what_was_done_to_lines_is_said(record, change, said):
    """The first line that is not as it was written is named, with what became of it."""
    path_of(record).write_bytes(b"".join(change(lines_of(record))))
    (line,) = broken(record)["chain"]
    assert said in line
    with pytest.raises(SetupError, match=re.escape(said)):
        list(read_events(path_of(record)))


def test_a_chain_goes_on_over_a_torn_line_and_a_resume(tmp_path):
    """What a kill leaves is cut off, and the next line is linked to the last whole one."""
    for torn in (b"", b'{"kind":"run_resu', b'{"recorded":1.0,"kind":"run_resumed","link":"9:0'):
        with Ledger.open(tmp_path, clock()) as ledger:
            ledger.extend([ev.RunResumed(), ev.RunResumed()])
            last = ledger.link
        with (tmp_path / "ledger.jsonl").open("ab") as file:
            file.write(torn)
        with Ledger.open(tmp_path, clock()) as ledger:
            assert ledger.link == last
    data = (tmp_path / "ledger.jsonl").read_bytes()
    assert chained(bodies(data)) == data
    assert last.startswith("6:")


def test_an_old_ledger_without_links_is_refused_in_one_line(record):
    """By readers and by writers, and no byte of it is touched."""
    path = path_of(record)
    old = b"\n".join(bodies(path.read_bytes())) + b'\n{"torn'
    path.write_bytes(old)
    with pytest.raises(SetupError, match="carries no link") as read:
        list(read_events(path))
    with (
        pytest.raises(SetupError, match="carries no link") as written,
        Ledger.open(record.path, clock()),
    ):
        pass
    assert "\n" not in f"{read.value}{written.value}"
    assert path.read_bytes() == old
    assert "carries no link" in broken(record)["chain"][0]


# the record against itself


def test_a_record_as_it_was_written_holds(record):
    """Every check holds, the link is the last line's, and the exit code is 0."""
    found = verify(record)
    assert found.holds
    names = [
        "chain",
        "events",
        "scores",
        "candidates",
        "heads",
        "stacks",
        "consensus",
        "merges",
        "projection",
    ]
    assert [check.name for check in found.checks] == names
    assert found.events == len(lines_of(record))


def test_a_run_that_has_not_begun_holds(tmp_path):
    """An empty ledger says nothing that could be wrong."""
    folder = of(make(tmp_path / "repo", {"a": ""}))
    with Ledger.open(folder.path, clock()):
        pass
    assert verify(folder).holds


def test_the_command_says_what_is_broken_and_exits_with_1(record, monkeypatch):
    """As text and as JSON, with the last link to be noted elsewhere."""
    monkeypatch.chdir(record.repo)
    assert command.main(["--run", "lab", "--json"], standalone_mode=False) == 0
    said = CliRunner().invoke(command, ["--run", "lab"], catch_exceptions=False).stdout
    assert f"last link {verify(record).link}" in said
    assert "Keep this link in another place" in said
    git(record.repo, "update-ref", "-d", "refs/heads/swarm/lab/i0")
    assert command.main(["--json"], standalone_mode=False) == 1
    result = CliRunner().invoke(command, ["--json"], catch_exceptions=False)
    facts = json.loads(result.stdout)
    assert not facts["holds"]
    assert [check["name"] for check in facts["checks"] if check["violations"]] == ["heads"]
    assert "BROKEN heads" in CliRunner().invoke(command, [], catch_exceptions=False).stdout


def test_lines_cut_off_at_the_end_show_in_refs_and_merges(record):
    """A chain holds without its end; a candidate's ref, a branch and a merge remember it."""
    lines = lines_of(record)
    cut = next(n for n, line in enumerate(lines) if b'"verdict":"keep"' in line)
    path_of(record).write_bytes(b"".join(lines[:cut]))
    without_projection(record)
    found = broken(record)
    assert "cut off" in found["merges"][0]
    assert "the ledger does not know" in found["candidates"][0]
    assert "is at" in found["heads"][0]
    assert "chain" not in found


def test_an_end_that_moved_nothing_cannot_be_missed(record):
    """The limit that is stated: without its last line, which no ref and no merge knows of."""
    path_of(record).write_bytes(b"".join(lines_of(record)[:-1]))
    without_projection(record)
    assert verify(record).holds


def test_a_ledger_that_was_rewritten_as_a_whole_is_told_by_a_noted_link_alone(record):
    """A forged chain holds in itself; the projection and the merge have the old link."""
    without_projection(record)
    forge(path_of(record), b'"hypothesis":"Raise X"', b'"hypothesis":"Raise Y"')
    assert "rewritten" in broken(record)["merges"][0]
    assert {*broken(record)} == {"merges"}
    without_merge(record)
    assert verify(record).holds


def test_a_score_of_another_harness_is_named(record):
    """Scores of different harnesses are never compared, so one ledger holds those of one."""
    lines = bodies(path_of(record).read_bytes())
    at = [n for n, line in enumerate(lines) if b'"kind":"trial_ended"' in line][3]
    lines[at] = lines[at].replace(b'"harness":"lab"', b'"harness":"mine"')
    path_of(record).write_bytes(chained(lines))
    (said,) = broken(record)["scores"]
    assert f"line {at + 1}: " in said
    assert "harness mine" in said


def test_events_that_could_not_happen_are_named(record):
    """A trial that ends twice, a ledger without its beginning: however well they are linked."""
    lines = bodies(path_of(record).read_bytes())
    at = next(n for n, line in enumerate(lines) if b'"kind":"trial_ended"' in line)
    path_of(record).write_bytes(chained([*lines[: at + 1], *lines[at:]]))
    assert broken(record)["events"][0].startswith(f"line {at + 2}: trial_ended: ")
    path_of(record).write_bytes(chained(lines[1:]))
    (said,) = broken(record)["events"]
    assert said == "line 1: island_opened: a ledger must begin with run_opened"


def test_a_candidate_must_be_held_by_its_ref(record):
    """A ref that is gone, one that holds another commit, one that nobody recorded."""
    tried = "refs/swarm/lab/tried/"
    head = git(record.repo, "rev-parse", "swarm/lab/i0")
    git(record.repo, "update-ref", "-d", f"{tried}1")
    git(record.repo, "update-ref", f"{tried}3", head)
    git(record.repo, "update-ref", f"{tried}99", head)
    missing, other, unknown = broken(record)["candidates"]
    assert missing.startswith(f"{tried}1 holds nothing, not ")
    assert other.startswith(f"{tried}3 holds {head}, not ")
    assert unknown.startswith(f"{tried}99 holds a candidate that the ledger does not know")


def test_a_candidate_whose_object_is_gone_is_named(record):
    """A ref may stand where the commit that it names does not."""
    commit = git(record.repo, "rev-parse", "refs/swarm/lab/tried/1")
    (record.repo / ".git/objects" / commit[:2] / commit[2:]).unlink()
    said = f"refs/swarm/lab/tried/1 holds the lost {commit}, not {commit}"
    assert broken(record)["candidates"] == (said,)
    assert commit in broken(record)["merges"][0]


def test_a_candidate_has_the_parent_that_the_ledger_says(record):
    """Who came from what stands in git, too."""
    lines = bodies(path_of(record).read_bytes())
    at = next(n for n, line in enumerate(lines) if b'"kind":"candidate_admitted"' in line)
    base = json.loads(lines[at])["parent"]
    lines[at] = lines[at].replace(base.encode(), b"0" * 40)
    path_of(record).write_bytes(chained(lines))
    assert f"was made on {base}, not on {'0' * 40}" in broken(record)["candidates"][0]


def test_a_candidate_of_a_killed_coordinator_is_no_fault(record):
    """A commit is made before it is recorded: a proposal still open may have one."""
    lines = bodies(path_of(record).read_bytes())
    at = max(n for n, line in enumerate(lines) if b'"kind":"candidate_admitted"' in line)
    path_of(record).write_bytes(chained(lines[:at]))
    without_projection(record)
    without_merge(record)
    assert verify(record).holds


def test_a_branch_may_be_one_keep_behind_a_coordinator_that_did_not_stop(record):
    """A keep is recorded before its branch moves; after a stop in good order there is no excuse."""
    branch, lines = "refs/heads/swarm/lab/i0", bodies(path_of(record).read_bytes())
    git(record.repo, "update-ref", branch, f"{branch}~")
    assert f"branch {branch[11:]} is at " in broken(record)["heads"][0]
    stop = next(n for n, line in enumerate(lines) if b'"kind":"run_stopped"' in line)
    path_of(record).write_bytes(chained(lines[:stop]))
    assert "heads" not in broken(record)
    git(record.repo, "update-ref", "-d", branch)
    assert "is at no commit" in broken(record)["heads"][0]


def test_a_ledger_that_grows_meanwhile_is_no_fault(record, monkeypatch):
    """What was recorded while git's refs were read is allowed for, a new head too."""
    whole, path, refs = path_of(record).read_bytes(), path_of(record), verification._refs
    lines = lines_of(record)
    cut = next(n for n, line in enumerate(lines) if b'"kind":"candidate_admitted"' in line)
    path.write_bytes(b"".join(lines[:cut]))
    without_projection(record)

    def growing(*args):
        path.write_bytes(whole)
        return refs(*args)

    monkeypatch.setattr(verification, "_refs", growing)
    assert verify(record).holds


@pytest.mark.parametrize(
    ("sql", "where"),
    [
        ("UPDATE nodes SET gain = 9 WHERE gain IS NOT NULL", "in nodes"),
        ("DELETE FROM trials WHERE trial = 't7'", "in trials"),
        ("INSERT INTO coordinators (action) VALUES ('resumed')", "in coordinators"),
        ("CREATE OR REPLACE VIEW kept AS SELECT 1 AS experiment", "in views"),
        ("UPDATE projection SET link = '3:0'", "another ledger"),
        ("DROP TABLE trials", "no record of a run"),
    ],
)
def test_a_projection_that_was_written_to_is_named(record, sql, where):
    """The tables and views are what the ledger comes to, row by row."""
    with duckdb.connect(refresh(record.path)) as con:
        con.execute(sql)
    (said,) = broken(record)["projection"]
    assert where in said


def test_a_projection_may_lag_and_may_be_of_another_version(record):
    """It is brought up to date, or made anew, when it is next asked for."""
    with Ledger.open(record.path, clock(start=2e9)) as ledger:
        ledger.append(ev.RunResumed())
    assert verify(record).holds
    with duckdb.connect(record.path / "lineage.duckdb") as con:
        con.execute("UPDATE projection SET code = 'older'")
        con.execute("DELETE FROM trials")
    assert verify(record).holds
