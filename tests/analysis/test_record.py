"""The record: ledger, lineage, projection, questions, runs and their commands."""

import csv
import errno
import fcntl
import io
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import networkx as nx
import pytest
from click.testing import CliRunner
from git import Repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.database import refresh as projection
from analysis.database import rows as tables
from analysis.database import schema
from analysis.database.queries import ask
from analysis.database.refresh import Refresher, due, reading, refresh
from analysis.ledger import Ledger, read_events, writer
from analysis.lineage import fold
from harness.contract import SetupError
from islands import events as ev
from islands.records import Gain
from swarm.cli.lineage import lineage
from swarm.cli.query import query
from swarm.cli.status import status
from swarm.project import runs
from tests.support.chain import chained
from tests.support.histories import HOSTILE, clock, events, lived

ROOT = Path(__file__).parents[2]
FUZZ = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="session")
def history(tmp_path_factory):
    """Return the events and the state of a run in which everything went wrong once."""
    return lived(tmp_path_factory.mktemp("lived"), 60)


def write(folder, history):
    """Keep events in a folder's ledger with the times they have."""
    times = iter([event.recorded for event in history])
    with Ledger.open(folder, lambda: next(times)) as ledger:
        ledger.extend(history)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory, history):
    """Return a run folder that holds the whole history: for tests that only read."""
    folder = tmp_path_factory.mktemp("recorded")
    write(folder, history[0])
    return folder


def kept(folder):
    """Return the events that a reader sees."""
    return [event for _, event in read_events(folder / "ledger.jsonl")]


def child(code, *args):
    """Start a Python process on `code`, its pipes open."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True)


# the ledger


@FUZZ
@given(batch=st.lists(events(), max_size=4))
def test_every_event_reads_back_as_itself(tmp_path_factory, batch):
    """Whatever text and numbers an event holds, it comes back equal, stamped, and in order."""
    folder = tmp_path_factory.mktemp("run")
    with Ledger.open(folder, clock()) as ledger:
        stamped = ledger.extend(batch)
        assert list(ledger.events()) == stamped
    assert kept(folder) == stamped
    assert [event.recorded for event in stamped] == sorted({e.recorded for e in stamped})


@pytest.mark.parametrize(
    "event",
    [
        ev.VerdictReached(1, "a", "c", "base", "keep", "", Gain(float("nan"), 1.0, 3)),
        ev.VerdictReached(1, "a", "c", "base", "keep", "", Gain(1.0, float("inf"), 3)),
        ev.ProposalReceived(1, "a", "m", "base", "half a pair \ud800"),
    ],
)
def test_what_would_not_read_back_does_not_go_in(tmp_path, event):
    """A NaN, an infinity or half a surrogate pair raises and leaves the ledger as it was."""
    with Ledger.open(tmp_path, clock()) as ledger:
        ledger.append(ev.RunResumed())
        before = (tmp_path / "ledger.jsonl").read_bytes()
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
            ledger.extend([ev.RunResumed(), event])
        assert (tmp_path / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize(("version", "age"), [(None, "an older"), (1, "an older"), (99, "a newer")])
def test_a_ledger_of_another_format_is_refused_in_one_line(tmp_path, history, version, age):
    """Readers and writers name the file and both formats; nothing is changed."""
    opened = json.loads(ev.encode(history[0][0]))
    assert opened["format"] == ev.FORMAT
    del opened["format"]
    if version is not None:
        opened["format"] = version
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(chained([json.dumps(opened).encode()]))
    before = path.read_bytes()
    with pytest.raises(SetupError, match=f"{path}:1: {age} swarm") as read:
        list(read_events(path))
    with pytest.raises(SetupError, match=f"{path}:1: {age} swarm"), Ledger.open(tmp_path, clock()):
        pass
    assert f"format {version or 1}; this one reads format {ev.FORMAT}" in str(read.value)
    assert "\n" not in str(read.value)
    assert path.read_bytes() == before


def test_reading_goes_on_from_any_offset(tmp_path, history):
    """The offset that comes with an event is where the rest begins."""
    write(tmp_path, history[0])
    found = list(read_events(tmp_path / "ledger.jsonl"))
    for at in range(0, len(found), 7):
        rest = read_events(tmp_path / "ledger.jsonl", found[at][0])
        assert list(rest) == found[at + 1 :]


@FUZZ
@given(cut=st.integers(0, 3_000))
def test_a_torn_line_is_left_out_and_cut_off_but_never_a_whole_one(tmp_path_factory, history, cut):
    """Cut anywhere, a ledger has the events whose lines are whole, and goes on from there."""
    folder = tmp_path_factory.mktemp("run")
    write(folder, history[0][:12])
    path = folder / "ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    assert len(kept(folder)) == sum(at < cut for at in ends)
    with Ledger.open(folder, clock()) as ledger:
        ledger.append(ev.RunResumed())
    # where only the newline was missing, the event is whole and stays
    assert kept(folder)[:-1] == history[0][: sum(at <= cut for at in ends)]
    assert path.read_bytes().startswith(whole[:cut].rpartition(b"\n")[0])


def test_a_torn_tail_longer_than_a_block_is_cut_off(tmp_path):
    """However much of a line was written, all of it goes, and nothing before it."""
    write(tmp_path, [ev.RunResumed()])
    path = tmp_path / "ledger.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + b'{"kind":"' + bytes(200_000))
    with Ledger.open(tmp_path, clock()):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", [b"", b"{}", b'{"kind":"moved"}', b'{"kind":"run_res'])
def test_a_broken_line_in_the_middle_is_named(tmp_path, line):
    """A line that nobody wrote stops every reader with file and line, and none is dropped."""
    write(tmp_path, [ev.RunResumed(), ev.RunResumed()])
    path = tmp_path / "ledger.jsonl"
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, line, second, b""]))
    offset = len(first) + 1
    for start in (0, offset):
        with pytest.raises(SetupError, match=r"ledger\.jsonl:2: carries no link"):
            list(read_events(path, start))
    with Ledger.open(tmp_path, clock()) as ledger, pytest.raises(SetupError, match=":2:"):
        list(ledger.events())


def test_a_second_coordinator_is_refused_with_the_first_ones_pid(tmp_path):
    """Two processes cannot write one ledger; the lock ends with its holder, killed or not."""
    code = (
        "import sys, time; from pathlib import Path; from analysis.ledger import Ledger\n"
        "with Ledger.open(Path(sys.argv[1]), time.time):\n"
        "    print('open', flush=True); sys.stdin.read()\n"
    )
    with child(code, tmp_path) as holder:
        assert holder.stdout.readline() == "open\n"
        assert writer(tmp_path) == holder.pid
        with pytest.raises(SetupError, match=f"pid {holder.pid}"), Ledger.open(tmp_path, clock()):
            pass
        holder.send_signal(signal.SIGKILL)
    assert writer(tmp_path) is None
    with Ledger.open(tmp_path, clock()):
        assert writer(tmp_path) == os.getpid()
    assert writer(tmp_path) is None


def test_a_file_system_without_locks_is_named_in_one_line(tmp_path, monkeypatch):
    """Where flock is refused, the error names the lock file and the fix."""

    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with (
        pytest.raises(SetupError, match=r"lock: this file system refuses locks .* local disk$"),
        Ledger.open(tmp_path, clock()),
    ):
        pass


def test_a_killed_writer_loses_nothing_that_it_was_told_is_kept(tmp_path):
    """After kill -9 at any moment every acknowledged event is there, once and in order."""
    code = (
        "import sys; from pathlib import Path; from analysis.ledger import Ledger\n"
        "from tests.support.histories import clock; from islands import events as ev\n"
        "with Ledger.open(Path(sys.argv[1]), clock()) as ledger:\n"
        "    for number in range(int(sys.argv[2]), 10**9):\n"
        "        ledger.append(ev.ProposalRefused(number, 'a', 'rule', 'x' * 5000))\n"
        "        print(number, flush=True)\n"
    )
    told = -1
    for last in (3, 17):
        with child(code, tmp_path, told + 1) as victim:
            while int(victim.stdout.readline()) < told + last:
                pass
            victim.send_signal(signal.SIGKILL)
            acknowledged = [int(line) for line in victim.stdout]
        told = max(acknowledged, default=told + last)
        with Ledger.open(tmp_path, clock()) as ledger:
            numbers = [event.experiment for event in ledger.events()]
        assert numbers == list(range(len(numbers)))
        assert numbers[-1] >= told
        told = numbers[-1]


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path):
    """A line that did not fit is taken back; with room again, the ledger goes on."""
    path = tmp_path / "ledger.jsonl"
    big = ev.ProposalRefused(1, "a", "rule", "x" * 5_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Ledger.open(tmp_path, clock()) as ledger:
        first = ledger.append(ev.RunResumed())
        before = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1_000, limits[1]))
        try:
            with pytest.raises(SetupError, match="free some space"):
                ledger.append(big)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before
        assert kept(tmp_path) == [first]
        assert [*kept(tmp_path), ledger.append(big)] == kept(tmp_path)


# the lineage


def test_the_lineage_agrees_with_the_state(history):
    """Heads, their chains, their scores and all endings are those of the run's own fold."""
    graph, state = fold(history[0]), history[1]
    for name, island in state.islands.items():
        mine = [known for _, known in graph.nodes(data=True) if known.get("island") == name]
        chain = [island.opened.head, *(change.commit for change in island.kept)]
        assert chain[-1] == island.head
        assert all(graph.has_edge(*pair, "kept_as_head") for pair in nx.utils.pairwise(chain))
        assert [graph.nodes[node]["step"] for node in chain] == list(range(len(chain)))
        assert graph.nodes[island.head]["score"] == pytest.approx(state.scores.mean(island.head))
        for ending, count in island.endings.items():
            assert sum(known.get("ending") == ending for known in mine) == count
    assert graph.nodes["base"]["score"] == pytest.approx(state.scores.mean("base"))


def test_failures_and_refusals_are_nodes(history):
    """What broke stands under its commit, what was refused under its number, both with reasons."""
    graph = fold(history[0])
    nodes = dict(graph.nodes(data=True))
    broke = [known for known in nodes.values() if known.get("ending") == "failed"]
    refused = {node: known for node, known in nodes.items() if known.get("ending") == "refused"}
    assert {known["failure"] for known in broke} == {"crash", "timeout"}
    assert all(known["kind"] == "candidate" and "gain" not in known for known in broke)
    assert all(node == f"experiment/{known['experiment']}" for node, known in refused.items())
    assert {"outside"} <= {known["rule"] for known in refused.values()} <= {"outside", "present"}
    assert all(graph.has_edge(known["parent"], n, "proposed_from") for n, known in refused.items())


def test_a_crossing_joins_both_of_its_parents(history):
    """A proposal whose notes name a candidate's number has an edge from it, after admission too."""
    graph = fold(history[0])
    crossed = [(a, b) for a, b, key in graph.edges(keys=True) if key == "crossed_with"]
    assert len(crossed) == 2
    for donor, node in crossed:
        assert graph.nodes[donor]["experiment"] == 1
        assert graph.nodes[node]["hypothesis"] == "Cross X"
        assert graph.has_edge(graph.nodes[node]["parent"], node, "proposed_from")


def test_a_merge_is_the_heads_child():
    """What came home has a node of its own, and an edge from the head that it was."""
    opened = ev.IslandOpened("a", "swarm/run1/a", "base", "m", ev.Slice("s", "cpu"))
    graph = fold([opened, ev.Merged("a", "base", "merge", "main", recorded=5.0)])
    assert graph.nodes["merge"] == {"kind": "merge", "island": "a", "recorded": 5.0}
    assert graph.has_edge("base", "merge", "merged_as")


# the projection


@pytest.fixture(scope="session")
def database():
    """Return a connection to an empty database in memory; roll back what is done in it."""
    with duckdb.connect() as con:
        schema.create(con)
        yield con


def contents(con):
    """Return the rows of every table of the record, in one order."""
    return {
        name: con.execute(f"SELECT {', '.join(table.columns)} FROM {name} ORDER BY ALL").fetchall()
        for name, table in schema.TABLES.items()
    }


@settings(FUZZ, max_examples=8)
@given(cuts=st.sets(st.integers(0, 190), max_size=5))
def test_the_projection_is_the_fold_however_it_was_cut(database, recorded, history, cuts):
    """Taken in by any steps, the tables hold the lineage and the rows of one fold at once."""
    database.begin()
    try:
        for start, end in nx.utils.pairwise([0, *sorted(cuts), len(history[0])]):
            tables.project(database, history[0][start:end])
        assert nx.utils.graphs_equal(tables.load_graph(database), fold(history[0]))
        found = contents(database)
    finally:
        database.rollback()
    with reading(recorded) as con:
        assert found == contents(con) | {"projection": []}


_VALUES = {
    "VARCHAR": st.text(),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "INTEGER": st.integers(-(2**31), 2**31 - 1),
    "TIMESTAMP": st.integers(0, 4 * 10**15).map(lambda microseconds: microseconds / 1e6),
    "JSON": st.dictionaries(
        st.text(), st.text() | st.floats(allow_nan=False, allow_infinity=False)
    ),
}


def known(table):
    """Return a strategy for what is known of a node or an edge: any of the table's columns."""
    columns = schema.TABLES[table].columns[schema.TABLES[table].keys :]
    values = {name: _VALUES[schema.COLUMNS[name].type] for name in columns}
    return st.fixed_dictionaries({}, optional=values)


@settings(FUZZ, max_examples=25)
@given(data=st.data(), nodes=st.dictionaries(st.text(), known("nodes"), min_size=1, max_size=3))
def test_a_lineage_survives_the_database_exactly(database, data, nodes):
    """Saved and loaded, twice over, every node, edge and attribute is equal to the bit."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(nodes.items())
    names = st.sampled_from(sorted(nodes))
    for _ in range(data.draw(st.integers(0, 3))):
        ends = data.draw(names), data.draw(names), data.draw(st.text())
        graph.add_edge(*ends, **data.draw(known("edges")))
    database.begin()
    try:
        for _ in range(2):
            tables.save_graph(graph, database)
            assert nx.utils.graphs_equal(tables.load_graph(database), graph)
    finally:
        database.rollback()


@pytest.mark.parametrize("strange", [{"colour": "red"}, {"reason": None}])
def test_an_attribute_that_cannot_be_kept_is_refused(database, strange):
    """Nothing of a lineage is lost in silence."""
    graph = nx.MultiDiGraph()
    graph.add_node("a", kind="base", **strange)
    with pytest.raises(ValueError, match=next(iter(strange))):
        tables.save_graph(graph, database)


def test_a_reader_that_stays_delays_nobody_and_keeps_what_it_sees(tmp_path, history):
    """While another process holds the database open, the ledger grows and is projected anew."""
    code = (
        "import sys; from pathlib import Path; from analysis.database.refresh import reading\n"
        "with reading(Path(sys.argv[1])) as con:\n"
        "    for _ in range(2):\n"
        "        print(*con.execute('SELECT count(*) FROM trials').fetchone(), flush=True)\n"
        "        sys.stdin.readline()\n"
    )
    write(tmp_path, history[0][:100])
    with child(code, tmp_path) as reader:
        before = int(reader.stdout.readline())
        write(tmp_path, history[0][100:])
        refresh(tmp_path)
        (now,) = ask(tmp_path, "SELECT count(*) FROM trials").rows[0]
        print(file=reader.stdin, flush=True)
        assert int(reader.stdout.readline()) == before < now
        reader.stdin.close()


def test_a_user_of_duckdb_who_writes_keeps_nobody_out(tmp_path, history):
    """A file lent to a writer is replaced by one made anew, and holds no more than the ledger."""
    write(tmp_path, history[0][:100])
    code = (
        "import duckdb, sys; con = duckdb.connect(sys.argv[1]); con.execute('DELETE FROM trials')\n"
        "print('deleted', flush=True); sys.stdin.read()\n"
    )
    with child(code, refresh(tmp_path)) as vandal:
        assert vandal.stdout.readline() == "deleted\n"
        assert ask(tmp_path, "SELECT count(*) FROM trials").rows[0][0] > 0
        vandal.stdin.close()


def test_refreshes_at_once_never_take_the_file_back(tmp_path, history):
    """While other processes refresh without end, whoever looks sees the record only grow."""
    code = (
        "import sys; from pathlib import Path; from analysis.database.refresh import refresh\n"
        "print('ready', flush=True)\n"
        "for _ in range(8): refresh(Path(sys.argv[1]))\n"
    )
    write(tmp_path, history[0][:10])
    path, seen = refresh(tmp_path), 0
    at_work = [child(code, tmp_path) for _ in range(2)]
    for each in at_work:
        each.stdout.readline()
    for start in range(10, len(history[0]), 20):
        write(tmp_path, history[0][start : start + 20])
        with projection._attached(path, "READ_ONLY") as con:
            (now,) = con.execute("SELECT events FROM projection").fetchone()
        assert now >= seen
        seen = now
    for each in at_work:
        with each:
            pass
        assert each.returncode == 0
    refresh(tmp_path)
    assert ask(tmp_path, "SELECT events FROM projection").rows == ((len(history[0]),),)
    assert not list(tmp_path.glob("refresh-*"))


def test_a_refresh_that_was_overtaken_lets_the_newer_file_stand(tmp_path, history, monkeypatch):
    """What another process put in place meanwhile is further on, and stays."""
    write(tmp_path, history[0][:50])
    bring_up = projection._brought_up

    def overtaken(*paths):
        mine = bring_up(*paths)
        monkeypatch.setattr(projection, "_brought_up", bring_up)
        write(tmp_path, history[0][50:])
        refresh(tmp_path)
        return mine

    monkeypatch.setattr(projection, "_brought_up", overtaken)
    with projection._attached(refresh(tmp_path), "READ_ONLY") as con:
        assert con.execute("SELECT events FROM projection").fetchone() == (len(history[0]),)


def test_what_dead_refreshes_left_is_removed_and_what_live_ones_use_is_not(tmp_path, history):
    """A private copy goes with the process that held it."""
    write(tmp_path, history[0])
    dead, live = tmp_path / "refresh-dead", tmp_path / "refresh-live"
    for room in (dead, live):
        room.mkdir()
        (room / "lineage.duckdb").write_bytes(b"half a copy")
    held = os.open(live, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    refresh(tmp_path)
    assert not dead.exists()
    assert (live / "lineage.duckdb").exists()
    os.close(held)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no database"),
        lambda path: path.write_bytes(path.read_bytes()[:20_000]),
        lambda path: duckdb.connect(path).execute("DROP TABLE projection").close(),
        lambda path: duckdb.connect(path).execute("UPDATE projection SET code = 'old'").close(),
        lambda path: duckdb.connect(path).execute("UPDATE projection SET bytes = 10**9").close(),
        lambda path: duckdb.connect(path).execute("UPDATE projection SET link = ''").close(),
    ],
)
def test_a_projection_that_is_not_this_ledgers_is_made_anew(tmp_path, history, spoil):
    """Broken, of other code or of another ledger: the file is only ever a projection."""
    write(tmp_path, history[0])
    spoil(refresh(tmp_path))
    assert ask(tmp_path, "SELECT events FROM projection").rows == ((len(history[0]),),)


def test_an_event_that_was_taken_back_leaves_the_projection(tmp_path, history):
    """Where an append failed after a reader had seen its line, the file is made anew."""
    write(tmp_path, history[0][:40])
    refresh(tmp_path)
    path = tmp_path / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]))
    write(tmp_path, [ev.RunResumed()] * 40)
    assert ask(tmp_path, "SELECT events FROM projection").rows == ((77,),)


def test_refreshing_with_the_ledger_costs_a_constant_per_event():
    """All refreshes of the coordinator together write at most twice what the last one does."""
    refresher, written, last = Refresher(), 0, 0
    for events_now in range(100_000):
        if refresher.due(events_now):
            written, last = written + events_now, events_now
    assert 0 < written <= 2 * last
    assert not due(499, 0)
    assert due(500, 0)
    assert not due(1_999, 1_000)
    assert due(2_000, 1_000)


# questions


def test_the_standings_are_the_states(recorded, history):
    """Each island's head, score, gain and counts are those of the run's own fold, best first."""
    state, rows = history[1], ask(recorded, "FROM standings").named()
    assert [row["gain"] for row in rows] == sorted((row["gain"] for row in rows), reverse=True)
    for row in rows:
        island = state.islands[row["island"]]
        assert row["head"] == island.head
        assert row["score"] == pytest.approx(state.scores.mean(island.head))
        assert row["gain"] == pytest.approx(state.gain(island))
        assert row["usd"] == pytest.approx(island.usd)
        assert row["trials"] == island.trials
        assert row["unanswered"] == island.agent_failures
        for ending in ("kept", "discarded", "failed", "refused", "outdated"):
            assert row[ending] == island.endings.get(ending, 0)
    assert ask(recorded, "SELECT sigma FROM noise").rows[0] == pytest.approx(
        [state.scores.noise().sigma]
    )


def test_the_views_say_what_happened(recorded, history):
    """Kept chain, failures, refusals, reasons and costs come out of the record in a word."""
    chain = ask(recorded, "SELECT commit FROM kept WHERE island = 'i0'").rows
    assert chain == tuple((change.commit,) for change in history[1].islands["i0"].kept)
    failures = ask(recorded, "SELECT failure, reason FROM failures").rows
    assert failures == (("crash", "boom [bold]"), ("timeout", "too late"))
    assert (
        ask(recorded, "SELECT hypothesis, rule FROM refusals").rows == ((HOSTILE, "outside"),) * 2
    )
    times = {row["cause"]: row["count"] for row in ask(recorded, "FROM outcomes_by_reason").named()}
    assert times["rate"] == times["outside"] == 2
    usage = ask(recorded, "FROM usage").named()
    spent = {name: island.usd for name, island in history[1].islands.items()}
    assert {row["island"]: row["usd"] for row in usage} == pytest.approx(spent)
    ended = "SELECT count(*), count(usd) FROM experiments WHERE ending IS NOT NULL"
    every = sum(sum(i.endings.values()) for i in history[1].islands.values())
    brought = ask(recorded, "FROM migrations WHERE result IS NOT NULL").rows  # no agent was paid
    assert ask(recorded, ended).rows == ((every, every - len(brought)),)


def test_migrations_stand_in_the_record_with_what_became_of_them(recorded, history):
    """A view has each with its gains there and here; the graph an edge from the change to it."""
    offered = [event for event in history[0] if isinstance(event, ev.MigrantOffered)]
    told = {row["experiment"]: row for row in ask(recorded, "FROM migrations").named()}
    assert [*told] == [event.experiment for event in offered] != []
    graph, verdicts = fold(history[0]), {}
    for event in history[0]:
        if isinstance(event, ev.VerdictReached):
            verdicts[event.experiment] = event
    for event in offered:
        row = told[event.experiment]
        assert (row["origin_island"], row["origin_experiment"]) == (
            event.migrant.island,
            event.migrant.experiment,
        )
        assert row["origin_gain"] == event.migrant.gain.mean
        edge = graph.edges[event.migrant.commit, row["node"], "migrated"]
        assert edge["experiment"] == event.experiment
        verdict = verdicts.get(event.experiment)
        if verdict is None:
            assert row["result"] is None  # the run ended before it
            continue
        assert row["result"] == ("worked" if verdict.verdict == "keep" else "failed")
        assert row["gain"] == edge["gain"] == verdict.gain.mean


def test_every_column_says_what_it_means_and_has_one_type(recorded):
    """Tables, views and their columns carry comments; a name has the same type everywhere."""
    with reading(recorded) as con:
        for name in [*schema.TABLES, *schema.VIEWS]:
            for column, kind, *_ in con.execute(f"DESCRIBE {name}").fetchall():
                same = "SELECT ? = typeof(NULL::" + schema.COLUMNS[column].type + ")"
                assert con.execute(same, [kind]).fetchone() == (True,), f"{name}.{column}"
        silent = "SELECT count(*) FROM duckdb_{}() WHERE comment IS NULL AND NOT internal"
        for kind in ("tables", "views", "columns"):
            assert con.execute(silent.format(kind)).fetchone() == (0,)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE run",
        "INSERT INTO run (run) VALUES ('x')",
        "COPY run TO '{out}'",
        "ATTACH '{out}'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "PRAGMA database_list",
        "SELECT 1; SELECT 2",
        "",
        "FROM read_text('{secret}')",
        "FROM '{secret}'",
        "FROM glob('{secret}')",
        "FROM read_csv('{secret}', sep = '|')",
        "SELECT * FROM query('FROM read_text(''{secret}'')')",
        "FROM statements",
        "SELEC 1",
        "SELECT nope FROM run",
        "SELECT 'a'::INTEGER",
    ],
)
def test_a_question_only_reads_the_record(tmp_path, recorded, sql):
    """What writes, reaches a file or a variable of ours, or is no SQL ends in one clear line."""
    secret, out = tmp_path / "secret", tmp_path / "out"
    secret.write_text("a|b\n1|2\n")
    with pytest.raises(SetupError) as refused:
        ask(recorded, sql.format(secret=secret, out=out))
    assert "\n" not in str(refused.value)
    assert not out.exists()
    assert ask(recorded, "SELECT count(*) FROM run").rows == ((1,),)


def test_a_limit_says_that_there_was_more(recorded):
    """As many rows as asked for, and whether any were left."""
    assert len(ask(recorded, "FROM trials", 3).rows) == 3
    assert ask(recorded, "FROM trials", 3).more
    assert not ask(recorded, "FROM islands", 2).more


# runs and commands


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """Return a git repository, with the working directory in it."""
    root = tmp_path / "repo"
    below = root / "below"
    below.mkdir(parents=True)
    repo = Repo.init(root)
    repo.git.execute(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-m", "0"]
    )
    monkeypatch.chdir(below)
    return root


def test_runs_are_made_found_and_ignored_by_git(repo, history):
    """The default is the run active last, from anywhere in the repository; git sees none of it."""
    with pytest.raises(SetupError, match="no run yet"):
        runs.locate(None)
    for name in ("one", "two"):
        write(runs.create(repo, name).path, history[0][:3])
    os.utime(repo / ".swarm/one/ledger.jsonl", (2e9, 2e9))
    assert runs.locate(None) == runs.RunFolder(repo, "one")
    assert runs.locate("two").path == repo / ".swarm/two"
    assert runs.create(repo, "two") == runs.locate("two")
    assert Repo(repo).git.status("--porcelain", "--untracked-files=all") == ""
    with pytest.raises(SetupError, match="existing runs: one, two"):
        runs.locate("three")
    with pytest.raises(SetupError, match="not in a git repository"):
        runs.locate(None, start=repo.parent)


@pytest.mark.parametrize(
    "name", ["..", "a..b", ".a", "-a", "a/b", "a b", "a.lock", "a.", "a~1", "a\n", "x" * 65, "é"]
)
def test_a_name_that_no_branch_can_have_is_refused(repo, name):
    """A run's name is part of its branches' names, and nothing but a name."""
    with pytest.raises(SetupError, match="a run's name"):
        runs.create(repo, name)
    with pytest.raises(SetupError, match="a run's name"):
        runs.locate(name)


def test_the_next_name_is_above_all_that_left_a_trace(repo):
    """Neither a folder nor a branch of an earlier run is taken up by a new one."""
    assert runs.next_name(repo) == "run1"
    runs.create(repo, "run2")
    assert runs.next_name(repo) == "run3"
    Repo(repo).git.update_ref("refs/heads/swarm/run7/a", "HEAD")
    assert runs.next_name(repo) == "run8"
    Repo(repo).git.update_ref("refs/swarm/run11/tried/1", "HEAD")
    assert runs.next_name(repo) == "run12"


def said(command, *args):
    """Return what a command prints."""
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_status_says_how_islands_stand_and_what_is_tried(repo, history):
    """In mid-run: heads, open experiments with their trials, and that nobody is at work."""
    write(runs.create(repo, "run1").path, history[0][:160])
    facts = json.loads(said(status, "--json"))
    assert facts["pid"] is None
    assert facts["run"]["metric"] == "loss"
    assert [each["purpose"] for island in facts["islands"] for each in island["trying"]]
    text = said(status)
    assert "killed; `swarm launch` resumes it" in text
    for island in facts["islands"]:
        assert island["head"][:8] in text
        for each in island["trying"]:
            assert f"#{each['experiment']} {each['purpose'] or 'waiting'}: " in text
    write(repo / ".swarm/run1", history[0][160:])
    assert "limit: trials" in said(status)


def test_status_of_a_run_that_has_not_begun(repo):
    """An empty ledger is no error."""
    write(runs.create(repo, "run1").path, [])
    assert said(status) == "run run1 has not started\n"


def test_the_lineage_is_drawn_and_handed_out(repo, history):
    """Every experiment stands in the tree; the JSON is the graph, an island's part of it too."""
    write(runs.create(repo, "run1").path, history[0])
    graph, text = fold(history[0]), said(lineage)
    for _, known_ in graph.nodes(data=True):
        if "experiment" in known_:
            assert f"#{known_['experiment']} {known_.get('ending', 'open')}" in text
    assert "\x1b" not in text
    assert "crossed with #1 of " in text
    assert "migrated from #" in text
    whole = nx.node_link_graph(json.loads(said(lineage, "--json")), edges="edges")
    assert nx.utils.graphs_equal(whole, graph)
    (donor,) = {k["island"] for _, k in graph.nodes(data=True) if k.get("experiment") == 1}
    other = {"i0": "i1", "i1": "i0"}[donor]
    part = nx.node_link_graph(json.loads(said(lineage, "--json", "--island", other)), edges="edges")
    islands = {known_.get("island") for node, known_ in part.nodes(data=True)}
    assert islands == {None, donor, other}
    donors = {old for old, _ in part.edges()}
    others = {node for node, known_ in part.nodes(data=True) if known_.get("island") == donor}
    assert set() != others <= donors
    with pytest.raises(SetupError, match="--island i9"):
        said(lineage, "--island", "i9")


def test_query_answers_as_table_csv_or_json(repo, history):
    """The same rows each way; what others wrote cannot steer the terminal."""
    write(runs.create(repo, "run1").path, history[0])
    sql = "SELECT hypothesis, rule FROM refusals ORDER BY experiment"
    rows = json.loads(said(query, sql, "--json"))
    assert [row["hypothesis"] for row in rows] == [HOSTILE] * 2
    table = list(csv.reader(io.StringIO(said(query, sql, "--csv"))))
    assert table[0] == ["hypothesis", "rule"]
    assert [row[0] for row in table[1:]] == [HOSTILE] * 2
    shown = said(query, sql)
    assert "[red]" in shown
    assert "\x1b" not in shown
    assert json.loads(said(query, "SELECT 'nan'::DOUBLE AS x", "--json")) == [{"x": None}]
    with pytest.raises(SetupError, match="two columns are called a"):
        said(query, "SELECT 1 AS a, 2 AS a", "--json")
    with pytest.raises(SetupError, match="choose one"):
        said(query, "SELECT 1", "--json", "--csv")
    assert len(json.loads(said(query, "FROM trials", "--json", "--limit", "2"))) == 2
