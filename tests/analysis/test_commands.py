"""Run folders, and the commands that read a run: status, lineage, query."""

import csv
import io
import json
import os
from unittest import mock

import duckdb
import networkx as nx
import pytest
from click.testing import CliRunner
from git import Repo
from rich.console import Console

from analysis.lineage import fold
from analysis.untrusted_text import printable
from harness.contract import SetupError
from swarm.cli.lineage import lineage
from swarm.cli.query import query
from swarm.cli.status import status
from swarm.project import runs
from tests.support.histories import RECORDED
from tests.support.record import write


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


def test_runs_are_created_located_and_ignored_by_git(repo, history):
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


def test_the_next_name_is_above_all_earlier_ones(repo):
    """A new run reuses neither the folder, the branches nor the refs of an earlier one."""
    assert runs.next_name(repo) == "run1"
    runs.create(repo, "run2")
    assert runs.next_name(repo) == "run3"
    Repo(repo).git.update_ref("refs/heads/swarm/run7/a", "HEAD")
    assert runs.next_name(repo) == "run8"
    Repo(repo).git.update_ref("refs/swarm/run11/tried/1", "HEAD")
    assert runs.next_name(repo) == "run12"


def output(command, *args):
    """Return what a command prints."""
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_status_shows_the_islands_and_their_experiments(repo, history):
    """In mid-run: heads, open experiments with their trials, and that no coordinator runs."""
    write(runs.create(repo, "run1").path, history[0][:160])
    facts = json.loads(output(status, "--json"))
    assert facts["pid"] is None
    assert facts["run"]["metric"] == "loss"
    assert [trial["purpose"] for island in facts["islands"] for trial in island["trying"]]
    text = output(status)
    assert "killed; `swarm launch` resumes it" in text
    for island in facts["islands"]:
        assert island["head"][:8] in text
        for trial in island["trying"]:
            assert f"#{trial['experiment']} {trial['purpose'] or 'waiting'}: " in text
    write(repo / ".swarm/run1", history[0][160:])
    assert "limit: trials" in output(status)


def test_status_of_a_run_that_has_not_begun(repo):
    """An empty ledger is no error."""
    write(runs.create(repo, "run1").path, [])
    assert output(status, "--run", "run1") == "run run1 has not started\n"


def test_the_lineage_is_printed_as_a_tree_and_as_json(repo, history):
    """The tree has every experiment; the JSON is the graph, or an island's part of it."""
    write(runs.create(repo, "run1").path, history[0])
    graph, text = fold(history[0]), output(lineage)
    for _, data in graph.nodes(data=True):
        if "experiment" in data:
            assert f"#{data['experiment']} {data.get('ending', 'open')}" in text
    assert "\x1b" not in text
    assert "crossed with #1 of " in text
    assert "migrated from #" in text
    whole = nx.node_link_graph(json.loads(output(lineage, "--json")), edges="edges")
    assert nx.utils.graphs_equal(whole, graph)
    (donor,) = {k["island"] for _, k in graph.nodes(data=True) if k.get("experiment") == 1}
    other = {"i0": "i1", "i1": "i0"}[donor]
    part = nx.node_link_graph(
        json.loads(output(lineage, "--json", "--island", other)), edges="edges"
    )
    islands = {data.get("island") for node, data in part.nodes(data=True)}
    assert islands == {None, donor, other}
    donors = {old for old, _ in part.edges()}
    others = {node for node, data in part.nodes(data=True) if data.get("island") == donor}
    assert set() != others <= donors
    with pytest.raises(SetupError, match="--island i9"):
        output(lineage, "--island", "i9")


def test_query_answers_as_table_csv_or_json(repo, history):
    """Each format has the same rows; untrusted text cannot control the terminal."""
    write(runs.create(repo, "run1").path, history[0])
    sql = "SELECT hypothesis, rule FROM refusals WHERE hypothesis LIKE '%X%' ORDER BY experiment"
    rows = json.loads(output(query, sql, "--json"))
    assert [row["hypothesis"] for row in rows] == [RECORDED] * 2
    table = list(csv.reader(io.StringIO(output(query, sql, "--csv"))))
    assert table[0] == ["hypothesis", "rule"]
    assert [row[0] for row in table[1:]] == [RECORDED] * 2
    shown = output(query, sql)
    assert "[red]" in shown
    assert "\x1b" not in shown
    assert json.loads(output(query, "SELECT 'nan'::DOUBLE AS x", "--json")) == [{"x": None}]
    with pytest.raises(SetupError, match="two columns are called a"):
        output(query, "SELECT 1 AS a, 2 AS a", "--json")
    with pytest.raises(SetupError, match="choose one"):
        output(query, "SELECT 1", "--json", "--csv")
    assert len(json.loads(output(query, "FROM trials", "--json", "--limit", "2"))) == 2


def test_the_lineage_is_thinned_cut_to_a_change_and_exported(repo, history, tmp_path):
    """--kept, --limit, a change, and four formats, which hold the same nodes and edges."""
    write(runs.create(repo, "run1").path, history[0])
    graph = fold(history[0])
    kept = [n for n, data in graph.nodes(data=True) if data.get("ending") == "kept"]
    text = output(lineage, "--kept")
    assert "discarded" not in text
    assert all(f"#{graph.nodes[node]['experiment']} kept" in text for node in kept)
    last = max(data.get("experiment", 0) for _, data in graph.nodes(data=True))
    assert f"#{last} " in output(lineage, "--limit", "1")
    assert f"#{last} " not in text or last in {graph.nodes[n]["experiment"] for n in kept}
    with mock.patch("swarm.cli.lineage.MAX_SHOWN", 3):
        short = output(lineage)
    numbers = {data["experiment"] for _, data in graph.nodes(data=True) if "experiment" in data}
    latest = {*sorted(numbers)[-3:], *(graph.nodes[node]["experiment"] for node in kept)}
    assert all(f"#{number} " in short for number in latest)
    assert f"left out: {len(numbers - latest)} earlier experiments that were not kept" in short
    number = graph.nodes[kept[-1]]["experiment"]
    cut = nx.node_link_graph(json.loads(output(lineage, f"#{number}", "--json")), edges="edges")
    assert set(cut) == {kept[-1], *nx.ancestors(graph, kept[-1]), *nx.descendants(graph, kept[-1])}
    output(lineage, "--format", "graphml", "--out", str(tmp_path / "x.graphml"))
    again = nx.read_graphml(tmp_path / "x.graphml", force_multigraph=True)
    assert (set(again), again.number_of_edges()) == (set(graph), graph.number_of_edges())
    for node, data in graph.nodes(data=True):
        shown = {name: _flat(value) for name, value in data.items()}
        assert {name: _flat(value) for name, value in again.nodes[node].items()} == shown
    whole = nx.node_link_graph(json.loads(output(lineage, "--json")), edges="edges")
    assert nx.utils.graphs_equal(whole, graph)
    island = nx.node_link_graph(
        json.loads(output(lineage, "--island", "i0", "--json")), edges="edges"
    )
    assert 0 < len(island) < len(whole)
    assert all(whole.nodes[node] == data for node, data in island.nodes(data=True))
    dot = output(lineage, "--format", "dot")
    assert dot.count(" -> ") == graph.number_of_edges()
    assert "\x1b" not in dot
    output(lineage, "--format", "parquet", "--out", str(tmp_path / "p"))
    rows = duckdb.connect().execute(f"SELECT count(*) FROM '{tmp_path}/p/edges.parquet'")
    assert rows.fetchall() == [(graph.number_of_edges(),)]
    for wrong, words in ((("--out", "x"), "--format"), (("--format", "parquet"), "--out")):
        with pytest.raises(SetupError, match=words):
            output(lineage, *wrong)


def _flat(value):
    """Return a value as GraphML holds it: numbers and printable text, other values as JSON."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return printable(value, keep="\n\t") if isinstance(value, str) else value


def test_a_result_fits_the_screen_or_goes_down_the_page(repo, history):
    """Wide rows are records with short values; --wide and --json shorten nothing."""
    write(runs.create(repo, "run1").path, history[0])
    narrow = CliRunner(env={"COLUMNS": "80"})
    with mock.patch("swarm.cli.query.wide_console", return_value=Console(width=80)):
        tall = narrow.invoke(query, ["FROM kept LIMIT 1"], catch_exceptions=False).stdout
        flat = narrow.invoke(query, ["SELECT island, gain FROM kept"]).stdout
        wide = narrow.invoke(query, ["FROM kept LIMIT 1", "--wide"]).stdout
    (row,) = json.loads(output(query, "FROM kept LIMIT 1", "--json"))
    assert tall.startswith("row 1\n")
    assert f" {row['commit'][:10]}\n" in tall
    assert row["commit"] not in tall
    assert f" {row['gain']:.6g}\n" in tall
    assert flat.split("\n")[0].split() == ["island", "gain"]
    assert max(map(len, flat.split("\n"))) <= 80
    assert row["commit"] in wide
    assert str(row["gain"]) in wide
