"""Queries and views of the record, held against the state of the run."""

import shutil

import duckdb
import pytest

from analysis.database.projection.columns import COLUMNS
from analysis.database.projection.tables import TABLES
from analysis.database.projection.views import VIEWS
from analysis.database.queries import ask
from analysis.database.refresh import reading
from analysis.lineage import fold
from harness.contract import SetupError
from islands import events as ev
from tests.support.histories import RECORDED


def test_the_standings_agree_with_the_state(recorded, history):
    """Each island's head, score, gain and counts are those of the folded state, best first."""
    state, rows = history[1], ask(recorded, "FROM standings").named()
    assert len(rows) == len(state.islands)
    assert [row["gain"] for row in rows] == sorted((row["gain"] for row in rows), reverse=True)
    for row in rows:
        island = state.islands[row["island"]]
        assert row["head"] == island.head
        assert row["score"] == pytest.approx(state.scores.mean(island.head))
        assert row["gain"] == pytest.approx(state.gain(island))
        assert row["usd"] == pytest.approx(island.usd)
        assert row["trials"] == island.trials
        assert row["unanswered"] == island.agent_failures
        for ending in ("kept", "discarded", "refused", "outdated"):
            assert row[ending] == island.endings.get(ending, 0)
        assert row["failed"] + row["kept_quarantined"] == island.endings.get("failed", 0)
    assert ask(recorded, "SELECT sigma FROM noise").rows[0] == pytest.approx(
        [state.scores.noise().sigma]
    )


def test_the_views_agree_with_the_events(recorded, history):
    """Kept chain, failures, refusals, reasons and costs, one query each."""
    chain = ask(recorded, "SELECT commit FROM kept WHERE island = 'i0'").rows
    assert chain == tuple((change.commit,) for change in history[1].islands["i0"].kept)
    failures = ask(recorded, "SELECT failure, reason FROM failures").rows
    assert failures == (("crash", "boom [bold]"), ("timeout", "too late"))
    refused = ask(recorded, "SELECT hypothesis, rule FROM refusals").rows
    assert refused == (("Begin", "claimed"), *((RECORDED, "outside"),) * 2)
    times = {row["cause"]: row["count"] for row in ask(recorded, "FROM outcomes_by_reason").named()}
    assert times["rate"] == times["outside"] == 2
    assert times["claimed"] == 1
    usage = ask(recorded, "FROM usage").named()
    spent = {name: island.usd for name, island in history[1].islands.items()}
    assert {row["island"]: row["usd"] for row in usage} == pytest.approx(spent)
    ended = "SELECT count(*), count(usd) FROM experiments WHERE ending IS NOT NULL"
    every = sum(sum(i.endings.values()) for i in history[1].islands.values())
    brought = ask(recorded, "FROM migrations WHERE result IS NOT NULL").rows  # no agent was paid
    assert ask(recorded, ended).rows == ((every, every - len(brought)),)


def test_migrations_are_recorded_with_their_results(recorded, history):
    """The view has the gain at the origin and here; the graph has an edge from the change."""
    offered = [event for event in history[0] if isinstance(event, ev.MigrantOffered)]
    migrations = {row["experiment"]: row for row in ask(recorded, "FROM migrations").named()}
    assert [*migrations] == [event.experiment for event in offered] != []
    graph, verdicts, broken = fold(history[0]), {}, set()
    for event in history[0]:
        if isinstance(event, ev.VerdictReached):
            verdicts[event.experiment] = event
        if isinstance(event, ev.TrialEnded) and event.outcome.failure is not None:
            broken.add(event.started.experiment)
    assert verdicts.keys() & migrations
    assert broken & migrations.keys()
    for event in offered:
        row = migrations[event.experiment]
        assert (row["origin_island"], row["origin_experiment"]) == (
            event.migrant.island,
            event.migrant.experiment,
        )
        assert row["origin_gain"] == event.migrant.gain.mean
        edge = graph.edges[event.migrant.commit, row["node"], "migrated"]
        assert edge["experiment"] == event.experiment
        verdict = verdicts.get(event.experiment)
        if verdict is None:
            # it broke, or the run ended before its verdict
            assert row["result"] == ("failed" if event.experiment in broken else None)
            continue
        assert row["result"] == ("worked" if verdict.verdict == "keep" else "failed")
        assert row["gain"] == edge["gain"] == verdict.gain.mean


def test_views_leave_out_what_is_quarantined_and_what_is_no_request(tmp_path, recorded):
    """A migrated change that was quarantined since did not work; a summary is no proposal asked."""
    with reading(recorded):
        shutil.copy(recorded / "lineage.duckdb", tmp_path / "copy.duckdb")
    with duckdb.connect(tmp_path / "copy.duckdb") as con:
        first = "SELECT experiment, island FROM migrations WHERE result = 'worked' LIMIT 1"
        ((change, island),) = con.execute(first).fetchall()
        counts = "SELECT requests, kept FROM usage WHERE island = ?"
        ((requests, kept),) = con.execute(counts, [island]).fetchall()
        own = "SELECT min(experiment) FROM nodes SEMI JOIN usage USING (island, agent)"
        own += " WHERE ending = 'kept' AND island = ?"
        con.execute(
            f"UPDATE nodes SET quarantined = now() WHERE experiment IN (?, ({own}))",
            [change, island],
        )
        con.execute(
            "INSERT INTO agent_calls BY NAME (SELECT agent, island, 'summary' AS error_kind"
            " FROM agent_calls WHERE island = ? LIMIT 1)",
            [island],
        )
        result = "SELECT result FROM migrations WHERE experiment = ?"
        assert con.execute(result, [change]).fetchall() == [("quarantined",)]
        assert con.execute(counts, [island]).fetchall() == [(requests, kept - 1)]


def test_every_column_has_a_comment_and_one_type(recorded):
    """Tables, views and their columns carry comments; a name has the same type everywhere."""
    with reading(recorded) as con:
        for name in [*TABLES, *VIEWS]:
            for column, kind, *_ in con.execute(f"DESCRIBE {name}").fetchall():
                same = "SELECT ? = typeof(NULL::" + COLUMNS[column].type + ")"
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
def test_a_query_only_reads_the_record(tmp_path, recorded, sql):
    """SQL that writes, reads a file or a Python variable, or is invalid raises a one-line error."""
    secret, out = tmp_path / "secret", tmp_path / "out"
    secret.write_text("a|b\n1|2\n")
    with pytest.raises(SetupError) as refused:
        ask(recorded, sql.format(secret=secret, out=out))
    assert "\n" not in str(refused.value)
    assert not out.exists()
    assert ask(recorded, "SELECT count(*) FROM run").rows == ((1,),)


def test_a_limited_query_tells_whether_rows_were_left_out(recorded):
    """It returns at most `limit` rows, and `more` if there are others."""
    assert len(ask(recorded, "FROM trials", 3).rows) == 3
    assert ask(recorded, "FROM trials", 3).more
    assert not ask(recorded, "FROM islands", 2).more
