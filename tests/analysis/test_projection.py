"""The projection of the ledger into lineage.duckdb, refreshed by any process at any time."""

import fcntl
import os

import duckdb
import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.database import refresh as projection
from analysis.database.projection import schema
from analysis.database.projection.columns import COLUMNS
from analysis.database.projection.graph_rows import load_graph, save_graph
from analysis.database.projection.project import project
from analysis.database.projection.tables import TABLES
from analysis.database.queries import ask
from analysis.database.refresh import Refresher, due, reading, refresh
from analysis.lineage import fold
from islands import events as ev
from tests.support.record import child, write

FUZZ = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


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
        for name, table in TABLES.items()
    }


@settings(FUZZ, max_examples=4)
@given(cuts=st.sets(st.integers(0, 190), max_size=5))
def test_the_projection_is_the_fold_however_it_is_batched(database, recorded, history, cuts):
    """Projected in batches of any size, the tables equal those of one single batch."""
    database.begin()
    try:
        for start, end in nx.utils.pairwise([0, *sorted(cuts), len(history[0])]):
            project(database, history[0][start:end])
        assert nx.utils.graphs_equal(load_graph(database), fold(history[0]))
        batched = contents(database)
    finally:
        database.rollback()
    with reading(recorded) as con:
        assert batched == contents(con) | {"projection": []}


_VALUES = {
    "VARCHAR": st.text(),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "INTEGER": st.integers(-(2**31), 2**31 - 1),
    "TIMESTAMP": st.integers(0, 4 * 10**15).map(lambda microseconds: microseconds / 1e6),
    "JSON": st.dictionaries(
        st.text(), st.text() | st.floats(allow_nan=False, allow_infinity=False)
    ),
}


def attributes(table):
    """Return a strategy for the attributes of a node or an edge: any of the table's columns."""
    columns = TABLES[table].columns[TABLES[table].keys :]
    values = {name: _VALUES[COLUMNS[name].type] for name in columns}
    return st.fixed_dictionaries({}, optional=values)


@settings(FUZZ, max_examples=25)
@given(
    data=st.data(), nodes=st.dictionaries(st.text(), attributes("nodes"), min_size=1, max_size=3)
)
def test_a_lineage_survives_the_database_exactly(database, data, nodes):
    """Saved and loaded, twice over, every node, edge and attribute is equal to the bit."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(nodes.items())
    names = st.sampled_from(sorted(nodes))
    for _ in range(data.draw(st.integers(0, 3))):
        ends = data.draw(names), data.draw(names), data.draw(st.text())
        graph.add_edge(*ends, **data.draw(attributes("edges")))
    database.begin()
    try:
        for _ in range(2):
            save_graph(graph, database)
            assert nx.utils.graphs_equal(load_graph(database), graph)
    finally:
        database.rollback()


@pytest.mark.parametrize("strange", [{"colour": "red"}, {"reason": None}])
def test_an_attribute_without_a_column_is_refused(database, strange):
    """An unknown attribute or a None raises an error that names it."""
    graph = nx.MultiDiGraph()
    graph.add_node("a", kind="base", **strange)
    with pytest.raises(ValueError, match=next(iter(strange))):
        save_graph(graph, database)


def test_a_long_reader_blocks_no_refresh_and_keeps_its_snapshot(tmp_path, history):
    """While another process holds the database open, the ledger grows and is projected again."""
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


def test_a_foreign_writer_does_not_lock_readers_out(tmp_path, history):
    """A database that another program writes to is rebuilt from the ledger and replaced."""
    write(tmp_path, history[0][:100])
    code = (
        "import duckdb, sys; con = duckdb.connect(sys.argv[1]); con.execute('DELETE FROM trials')\n"
        "print('deleted', flush=True); sys.stdin.read()\n"
    )
    with child(code, refresh(tmp_path)) as writer:
        assert writer.stdout.readline() == "deleted\n"
        assert ask(tmp_path, "SELECT count(*) FROM trials").rows[0][0] > 0
        writer.stdin.close()


def test_concurrent_refreshes_never_move_the_file_back(tmp_path, history):
    """While other processes refresh, a reader sees the number of events only grow."""
    code = (
        "import sys; from pathlib import Path; from analysis.database.refresh import refresh\n"
        "print('ready', flush=True)\n"
        "for _ in range(4): refresh(Path(sys.argv[1]))\n"
    )
    write(tmp_path, history[0][:10])
    path, seen = refresh(tmp_path), 0
    refreshers = [child(code, tmp_path) for _ in range(2)]
    for refresher in refreshers:
        refresher.stdout.readline()
    for start in range(10, len(history[0]), 20):
        write(tmp_path, history[0][start : start + 20])
        with projection._attached(path, "READ_ONLY") as con:
            (now,) = con.execute("SELECT events FROM projection").fetchone()
        assert now >= seen
        seen = now
    for refresher in refreshers:
        with refresher:
            pass
        assert refresher.returncode == 0
    refresh(tmp_path)
    assert ask(tmp_path, "SELECT events FROM projection").rows == ((len(history[0]),),)
    assert not list(tmp_path.glob("refresh-*"))


def test_a_refresh_that_was_overtaken_lets_the_newer_file_stand(tmp_path, history, monkeypatch):
    """A refresh does not replace a file that another process brought further."""
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


def test_folders_of_dead_refreshes_are_removed_and_those_in_use_are_not(tmp_path, history):
    """A work folder without a lock belongs to no process and is deleted."""
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
def test_a_projection_of_another_ledger_is_rebuilt(tmp_path, history, spoil):
    """So is one that is broken or was made by other code."""
    write(tmp_path, history[0])
    spoil(refresh(tmp_path))
    assert ask(tmp_path, "SELECT events FROM projection").rows == ((len(history[0]),),)


def test_an_event_that_was_rolled_back_leaves_the_projection(tmp_path, history):
    """If an append failed after a reader had seen its line, the database is rebuilt."""
    write(tmp_path, history[0][:40])
    refresh(tmp_path)
    path = tmp_path / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]))
    write(tmp_path, [ev.RunResumed()] * 40)
    assert ask(tmp_path, "SELECT events FROM projection").rows == ((77,),)


def test_refreshing_with_the_ledger_costs_a_constant_per_event():
    """All refreshes of the coordinator together write at most 21 times what the last one does."""
    refresher, written, last = Refresher(), 0, 0
    for events_now in range(100_000):
        if refresher.due(events_now):
            written, last = written + events_now, events_now
    assert 0 < written <= 21 * last
    assert not due(499, 0)
    assert due(500, 0)
    assert not due(20_999, 20_000)
    assert due(21_000, 20_000)
