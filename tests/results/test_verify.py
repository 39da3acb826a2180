"""The ledger's chain, and the damage to a record that `swarm verify` reports."""

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
from swarm.project.runs import RunFolder, fold
from swarm.results import verify as verification
from swarm.results.git_merge import merge_commit
from swarm.results.merge_message import merge_message
from swarm.results.selection import select
from swarm.results.verify import verify
from swarm.simulation.virtual_time import run_virtual
from tests.support.chain import bodies, chained, forge
from tests.support.histories import clock
from tests.support.laboratory import GENOME, LabAgent, make_run
from tests.support.repository import git, make

KEPT = Proposal("Raise X", {GENOME: Entry(b"X = 0.5\n")})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return the folder of a run on a real repository: one change was kept and merged."""
    home = tmp_path_factory.mktemp("original")
    folder = run_folder(make(home / "repo", {GENOME: "X = 0.0\n", ".gitignore": ".swarm\n"}))
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
        state = fold(event for _, event in read_events(folder.ledger))
        note = merge_message(state, select(state, "i0", force=True), (1, 1), ledger.link)
        commit = merge_commit(
            Plumbing(folder.repo, worktree=True), "main", island.head, note, (GENOME,)
        )
        ledger.append(ev.Merged("i0", island.head, commit, "main"))
    refresh(folder.path)
    return folder


@pytest.fixture
def record(original, tmp_path):
    """Return a copy of that run for one test."""
    return run_folder(shutil.copytree(original.repo, tmp_path / "repo"))


def run_folder(repo):
    """Return the folder of run lab in `repo`."""
    folder = repo / ".swarm/lab"
    folder.mkdir(parents=True, exist_ok=True)
    return RunFolder(repo, "lab")


def ledger_path(folder):
    """Return the path of a run's ledger."""
    return folder.path / "ledger.jsonl"


def violations(folder):
    """Return the violations of each check that fails."""
    return {check.name: check.violations for check in verify(folder).checks if check.violations}


def lines_of(folder):
    """Return a ledger's lines, newlines included."""
    return ledger_path(folder).read_bytes().splitlines(keepends=True)


def undo_merge(folder):
    """Undo the merge, whose commit carries a link of the ledger."""
    git(folder.repo, "reset", "-q", "--hard", "main~")


def claim_evidence(folder, text):
    """Say in the merge's message what evidence its scores are."""
    message = git(folder.repo, "log", "-1", "--format=%B")
    git(folder.repo, "commit", "-q", "--amend", "-m", f"{message}\nSwarm-Evidence: {text}")


def delete_projection(folder):
    """Delete lineage.duckdb, which the ledger can always rebuild."""
    (folder.path / "lineage.duckdb").unlink()


# the chain


def test_links_hash_the_events_before_them(record):
    """Each line ends in its number and 128 bits of sha256 over the link before and its event."""
    data = ledger_path(record).read_bytes()
    assert chained(bodies(data)) == data
    assert json.loads(data.splitlines()[-1])["link"] == verify(record).link


def test_no_event_has_a_field_called_link():
    """So the `link` in a line is always the ledger's."""
    for kind in typing.get_args(ev.Event):
        assert "link" not in {field.name for field in dataclasses.fields(kind)}


@pytest.fixture(scope="module")
def untouched(original):
    """Return the bytes of a complete ledger."""
    return ledger_path(original).read_bytes()


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_any_changed_byte_is_reported_with_its_line(tmp_path_factory, untouched, data):
    """In any line, newline and link included; only the last newline is exempt."""
    at = data.draw(st.integers(0, len(untouched) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != untouched[at]))
    path = tmp_path_factory.mktemp("run") / "ledger.jsonl"
    path.write_bytes(untouched[:at] + bytes([byte]) + untouched[at + 1 :])
    with pytest.raises(SetupError, match=rf":{untouched.count(10, 0, at) + 1}: ") as error:
        list(read_events(path))
    assert "\n" not in str(error.value)


def test_a_changed_last_newline_makes_a_torn_line(record):
    """The last line then reads like the remains of a kill, and does not count."""
    path = ledger_path(record)
    before = path.read_bytes()
    path.write_bytes(before[:-1] + b" ")
    assert verify(record).events == before.count(b"\n") - 1


@pytest.mark.parametrize(
    ("change", "message"),
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
def test_changed_lines_are_reported(record, change, message):
    """The message names the first line that differs, and how: missing, moved or changed."""
    ledger_path(record).write_bytes(b"".join(change(lines_of(record))))
    (line,) = violations(record)["chain"]
    assert message in line
    with pytest.raises(SetupError, match=re.escape(message)):
        list(read_events(ledger_path(record)))


def test_a_chain_continues_after_a_torn_line_and_a_resume(tmp_path):
    """A torn line is cut off, and the next line is linked to the last complete one."""
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
    """Readers and writers refuse it, and change no byte of it."""
    path = ledger_path(record)
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
    assert "carries no link" in violations(record)["chain"][0]


# consistency of the record


def test_an_untouched_record_holds(record):
    """Every check is there and holds, and all lines count."""
    report = verify(record)
    assert report.holds
    names = [
        "chain",
        "events",
        "scores",
        "candidates",
        "heads",
        "stacks",
        "consensus",
        "merges",
        "objects",
        "anchors",
        "projection",
    ]
    assert [check.name for check in report.checks] == names
    assert report.events == len(lines_of(record))


def test_a_run_that_has_not_begun_holds(tmp_path):
    """An empty ledger has no violations."""
    folder = run_folder(make(tmp_path / "repo", {"a": ""}))
    with Ledger.open(folder.path, clock()):
        pass
    assert verify(folder).holds


def test_the_command_reports_violations_and_exits_with_1(record, monkeypatch):
    """It reports as text and as JSON, and prints the last link with the advice to note it."""
    monkeypatch.chdir(record.repo)
    assert command.main(["--run", "lab", "--json"], standalone_mode=False) == 0
    text = CliRunner().invoke(command, ["--run", "lab"], catch_exceptions=False).stdout
    assert f"last link {verify(record).link}" in text
    assert "Keep this link in another place" in text
    git(record.repo, "update-ref", "-d", "refs/heads/swarm/lab/i0")
    assert command.main(["--json"], standalone_mode=False) == 1
    result = CliRunner().invoke(command, ["--json"], catch_exceptions=False)
    facts = json.loads(result.stdout)
    assert not facts["holds"]
    assert [check["name"] for check in facts["checks"] if check["violations"]] == ["heads"]
    assert "BROKEN heads" in CliRunner().invoke(command, [], catch_exceptions=False).stdout


def test_lines_cut_off_at_the_end_show_in_refs_and_merges(record):
    """The chain holds without its end; a candidate's ref, a branch and a merge reveal the cut."""
    lines = lines_of(record)
    cut = next(n for n, line in enumerate(lines) if b'"verdict":"keep"' in line)
    ledger_path(record).write_bytes(b"".join(lines[:cut]))
    delete_projection(record)
    lines_by_check = violations(record)
    assert "cut off" in lines_by_check["merges"][0]
    assert "the ledger does not know" in lines_by_check["candidates"][0]
    assert "is at" in lines_by_check["heads"][0]
    assert "chain" not in lines_by_check


def test_a_cut_that_no_ref_shows_is_not_detected(record):
    """The stated limit: a last line without a ref or a merge can be cut off unnoticed."""
    ledger_path(record).write_bytes(b"".join(lines_of(record)[:-1]))
    delete_projection(record)
    assert verify(record).holds


def test_a_ledger_that_was_rewritten_shows_only_in_a_noted_link(record):
    """A forged chain is consistent; only the merge's commit still has the old link."""
    delete_projection(record)
    forge(ledger_path(record), b'"hypothesis":"Raise X"', b'"hypothesis":"Raise Y"')
    assert "rewritten" in violations(record)["merges"][0]
    assert {*violations(record)} == {"merges"}
    undo_merge(record)
    assert verify(record).holds


def test_a_merge_must_say_what_evidence_its_scores_are(record):
    """One that claims another, or that hides that a process of a candidate's printed them."""
    claim_evidence(record, "verified")
    assert violations(record) == {}
    claim_evidence(record, "reported")
    (reason,) = violations(record)["merges"]
    assert reason.endswith("reported; the ledger says verified")


def test_a_merge_may_not_hide_that_scores_were_reported(tmp_path, record):
    """A merge without the trailer counts as verified, as those of older versions are."""
    forge(ledger_path(record), b'"evidence":"verified"', b'"evidence":"reported"')
    link = lines_of(record)[-2].decode().rpartition('"link":"')[2].partition('"')[0]
    text = git(record.repo, "log", "-1", "--format=%B")
    text = re.sub("Swarm-Ledger: .*", f"Swarm-Ledger: {link}", text)
    message = re.sub("Swarm-Evidence: .*\n", "", text)
    git(record.repo, "commit", "-q", "--amend", "-m", message)
    (reason,) = violations(record)["merges"]
    assert reason.endswith("says Swarm-Evidence: nothing; the ledger says reported")


@pytest.mark.parametrize(
    ("line", "instead", "says"),
    [
        (r"Swarm-Gain: .*", "Swarm-Gain: +0.9±0.01", r"says Swarm-Gain: \+0.9±0.01; the ledger"),
        (r"Swarm-Kept: (\S+) .*", r"Swarm-Kept: \1 gain=+9±0.1", "says Swarm-Kept"),
        (r"Swarm-Seeds: .*\n", "", "says Swarm-Seeds: nothing"),
        (r"Swarm-Forced: .*\n", "", "has nothing behind it"),
        (r"Swarm-Ledger: .*\n", "", "carries no link of the ledger"),
    ],
)
def test_a_merge_that_says_more_than_the_ledger_is_named(record, line, instead, says):
    """Trailers are computed again from the events up to the merge's link, and compared."""
    text = git(record.repo, "log", "-1", "--format=%B", "main")
    forged = re.sub(line, instead, text)
    assert forged != text
    git(record.repo, "commit", "--amend", "-q", "-m", forged)
    (found,) = violations(record)["merges"]
    assert re.search(says, found)


def test_objects_that_git_shows_in_place_of_others_are_named(record):
    """`git replace` on a candidate changes what people see, not what the record holds."""
    commit = git(record.repo, "rev-parse", "swarm/lab/i0").strip()
    git(record.repo, "replace", commit, "main")
    (found,) = violations(record)["objects"]
    assert f"git replace -d {commit}" in found


def test_a_record_behind_a_link_is_refused(record):
    """What a link leads to can be exchanged between two looks."""
    ledger = ledger_path(record)
    ledger.rename(record.repo / "elsewhere")
    ledger.symlink_to(record.repo / "elsewhere")
    with pytest.raises(SetupError, match="is a link"):
        verify(record)


@pytest.mark.parametrize("place", ["{tmp}/anchor", "tag:noted"])
def test_an_anchor_shows_a_ledger_that_was_rewritten_whole(record, tmp_path, monkeypatch, place):
    """Links and refs agree with each other, but not with a link noted elsewhere."""
    monkeypatch.chdir(record.repo)
    place = place.format(tmp=tmp_path)
    noted = CliRunner().invoke(command, ["--anchor", place], catch_exceptions=False)
    assert f"noted {verify(record).link}" in noted.stdout
    undo_merge(record)
    delete_projection(record)
    forge(ledger_path(record), b'"hypothesis":"Raise X"', b'"hypothesis":"Raise Y"')
    result = CliRunner().invoke(command, ["--anchor", place, "--json"], catch_exceptions=False)
    broken = [check["name"] for check in json.loads(result.stdout)["checks"] if check["violations"]]
    assert broken == ["anchors"]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (".swarm/x", "lies in .swarm"),
        ("/nowhere/x", "No such file"),
        ("tag:a b", "git allows no such tag"),
        ("tag:taken", "there is such a tag"),
    ],
)
def test_a_place_that_takes_no_anchor_is_refused(record, monkeypatch, place, says):
    """One line names the option and what to choose."""
    monkeypatch.chdir(record.repo)
    git(record.repo, "tag", "taken")
    with pytest.raises(SetupError, match=re.escape(says)):
        command.main(["--anchor", place], standalone_mode=False)


def test_a_score_of_another_harness_is_named(record):
    """A ledger holds scores of one harness, since those of two are never compared."""
    lines = bodies(ledger_path(record).read_bytes())
    at = [n for n, line in enumerate(lines) if b'"kind":"trial_ended"' in line][3]
    lines[at] = lines[at].replace(b'"harness":"lab"', b'"harness":"mine"')
    ledger_path(record).write_bytes(chained(lines))
    (line,) = violations(record)["scores"]
    assert f"line {at + 1}: " in line
    assert "harness mine" in line


def test_impossible_events_are_named(record):
    """A trial that ends twice, or a missing first line, though the links are right."""
    lines = bodies(ledger_path(record).read_bytes())
    at = next(n for n, line in enumerate(lines) if b'"kind":"trial_ended"' in line)
    ledger_path(record).write_bytes(chained([*lines[: at + 1], *lines[at:]]))
    assert violations(record)["events"][0].startswith(f"line {at + 2}: trial_ended: ")
    ledger_path(record).write_bytes(chained(lines[1:]))
    (line,) = violations(record)["events"]
    assert line == "line 1: island_opened: a ledger must begin with run_opened"


def test_a_candidate_must_be_held_by_its_ref(record):
    """Reported: a missing ref, one that holds another commit, one without an event."""
    tried = "refs/swarm/lab/tried/"
    head = git(record.repo, "rev-parse", "swarm/lab/i0")
    git(record.repo, "update-ref", "-d", f"{tried}1")
    git(record.repo, "update-ref", f"{tried}3", head)
    git(record.repo, "update-ref", f"{tried}99", head)
    missing, other, unknown = violations(record)["candidates"]
    assert missing.startswith(f"{tried}1 holds nothing, not ")
    assert other.startswith(f"{tried}3 holds {head}, not ")
    assert unknown.startswith(f"{tried}99 holds a candidate that the ledger does not know")


def test_a_candidate_whose_object_is_gone_is_named(record):
    """A ref can outlive the commit that it names."""
    commit = git(record.repo, "rev-parse", "refs/swarm/lab/tried/1")
    (record.repo / ".git/objects" / commit[:2] / commit[2:]).unlink()
    line = f"refs/swarm/lab/tried/1 holds the lost {commit}, not {commit}"
    assert violations(record)["candidates"] == (line,)
    assert commit in violations(record)["merges"][0]


def test_a_candidate_with_another_parent_is_named(record):
    """The ledger's parent of a candidate must be its parent in git."""
    lines = bodies(ledger_path(record).read_bytes())
    at = next(n for n, line in enumerate(lines) if b'"kind":"candidate_admitted"' in line)
    base = json.loads(lines[at])["parent"]
    lines[at] = lines[at].replace(base.encode(), b"0" * 40)
    ledger_path(record).write_bytes(chained(lines))
    assert f"was made on {base}, not on {'0' * 40}" in violations(record)["candidates"][0]


def test_a_candidate_of_a_killed_coordinator_is_allowed(record):
    """A commit is made before it is recorded, so a pending proposal may have one."""
    lines = bodies(ledger_path(record).read_bytes())
    at = max(n for n, line in enumerate(lines) if b'"kind":"candidate_admitted"' in line)
    ledger_path(record).write_bytes(chained(lines[:at]))
    delete_projection(record)
    undo_merge(record)
    assert verify(record).holds


def test_a_branch_may_be_one_keep_behind_a_coordinator_that_did_not_stop(record):
    """A keep is recorded before its branch moves; after a regular stop both must agree."""
    branch, lines = "refs/heads/swarm/lab/i0", bodies(ledger_path(record).read_bytes())
    git(record.repo, "update-ref", branch, f"{branch}~")
    assert f"branch {branch[11:]} is at " in violations(record)["heads"][0]
    stop = next(n for n, line in enumerate(lines) if b'"kind":"run_stopped"' in line)
    ledger_path(record).write_bytes(chained(lines[:stop]))
    assert "heads" not in violations(record)
    git(record.repo, "update-ref", "-d", branch)
    assert "is at no commit" in violations(record)["heads"][0]


def test_a_branch_may_be_missing_until_the_coordinator_has_made_it(record):
    """An island is recorded before its branch is made: a coordinator may be killed in between."""
    lines = bodies(ledger_path(record).read_bytes())
    first = next(n for n, line in enumerate(lines) if b'"kind":"trial_started"' in line)
    ledger_path(record).write_bytes(chained(lines[:first]))
    git(record.repo, "update-ref", "-d", "refs/heads/swarm/lab/i0")
    assert "heads" not in violations(record)


def test_a_ledger_that_grows_meanwhile_is_allowed(record, monkeypatch):
    """Events recorded while git's refs are read count, a new head included."""
    whole, path, refs = ledger_path(record).read_bytes(), ledger_path(record), verification._refs
    lines = lines_of(record)
    cut = next(n for n, line in enumerate(lines) if b'"kind":"candidate_admitted"' in line)
    path.write_bytes(b"".join(lines[:cut]))
    delete_projection(record)

    def growing(*args):
        path.write_bytes(whole)
        return refs(*args)

    monkeypatch.setattr(verification, "_refs", growing)
    assert verify(record).holds


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("UPDATE nodes SET gain = 9 WHERE gain IS NOT NULL", "in nodes"),
        ("DELETE FROM trials WHERE trial = 't7'", "in trials"),
        ("INSERT INTO coordinators (action) VALUES ('resumed')", "in coordinators"),
        ("CREATE OR REPLACE VIEW kept AS SELECT 1 AS experiment", "in views"),
        ("UPDATE projection SET link = '3:0'", "another ledger"),
        ("DROP TABLE trials", "no record of a run"),
    ],
)
def test_an_edited_projection_is_named(record, sql, place):
    """Each row of tables and views must be the one that the ledger gives."""
    with duckdb.connect(refresh(record.path)) as con:
        con.execute(sql)
    (line,) = violations(record)["projection"]
    assert place in line


def test_a_projection_may_lag_or_be_of_another_version(record):
    """The next query updates or rebuilds it."""
    with Ledger.open(record.path, clock(start=2e9)) as ledger:
        ledger.append(ev.RunResumed())
    assert verify(record).holds
    with duckdb.connect(record.path / "lineage.duckdb") as con:
        con.execute("UPDATE projection SET code = 'older'")
        con.execute("DELETE FROM trials")
    assert verify(record).holds
