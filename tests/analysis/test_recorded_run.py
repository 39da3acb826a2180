"""Every question to the record of a real run on the flagship, which a busy machine measured."""

import io
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner
from rich.console import Console

from analysis import lineage_tree, open_run
from analysis.database.refresh import strays
from analysis.lineage import fold
from analysis.pictures import bars, kinds, lanes, progress, tree
from analysis.pictures.style import MAX_TITLE, island_names
from harness.contract import SetupError
from swarm.cli.main import swarm
from tests.support.record import events_in
from tests.support.recorded_run import RUN, recorded_run


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Return the repository of the recorded run."""
    repo = tmp_path_factory.mktemp("night")
    recorded_run(repo)
    return repo


def test_it_is_a_run_of_many_experiments_whose_graph_the_tables_hold(night):
    """The lineage of the ledger equals the one that is read from DuckDB."""
    with open_run(night) as run:
        (tried, kept), *_ = run.sql(
            "SELECT count(experiment), count(*) FILTER (ending = 'kept') FROM nodes"
        ).fetchall()
        assert tried >= 150
        assert kept == 3
        graph = fold(events_in(run.folder))
        assert dict(run.graph.nodes(data=True)) == dict(graph.nodes(data=True))
        assert sorted(run.graph.edges(keys=True)) == sorted(graph.edges(keys=True))
        assert strays(run.folder) == ""


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("FROM nowhere", "Catalog Error: Table with name nowhere does not exist!"),
        ("SELECT nothing FROM run", "Binder Error:"),
        ("DROP TABLE nodes", "a question only reads"),
        ("SELECT 1; SELECT 2", "one question at a time"),
    ],
)
def test_a_query_that_cannot_be_answered_is_one_line(night, query, line):
    """As documented: a notebook catches one kind of error, and no traceback of DuckDB's."""
    with open_run(night) as run:
        with pytest.raises(SetupError) as caught:
            run.sql(query)
        assert str(caught.value).startswith(line)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["status"], "2.0656"),
        (["runs"], RUN),
        (["lineage", "--kept"], "#55"),
        (["lineage", "#55"], "#36"),
        (["why", "#55"], "+0.0588 ± 0.0040"),
        (["tried", "PAIR_LR"], "#48"),
        (["tried", "--like", "#48"], "#61"),
        (["ablation"], "#36"),
        (["cost"], "mutator"),
        (["compare", RUN, RUN], "#36"),
        (["transfer"], "promot"),
        (["migrations"], "#48"),
        (["query", "SELECT sum(count)::INTEGER AS n FROM voids"], "19"),
        (["report", "--out", "night.md"], "night.md"),
        (["plot", "progress", "--out", "night.svg"], "night.svg"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_question_is_answered(night, monkeypatch, words, found):
    """As a person asks it, in the run's repository."""
    monkeypatch.chdir(night)
    answer = CliRunner(env={"COLUMNS": "200"}).invoke(swarm, words)
    assert answer.exit_code == 0, answer.output
    assert found in answer.output


def test_a_long_run_is_drawn_by_strips_and_few_names(night, monkeypatch):
    """The lanes' shares are those of all trials; what is left out is said."""
    with open_run(night) as run:
        each = re.findall("<text[^>]*>([^<]*%[^<]*)<", kinds.svg("slices", run.source))
        monkeypatch.setattr(lanes, "MAX_TRIALS", 10)
        strips = kinds.svg("slices", run.source)
        monkeypatch.setattr(tree, "MAX_NAMES", 1)
        named = kinds.svg("lineage", run.source)
    assert len(each) == 5
    assert re.findall("<text[^>]*>([^<]*%[^<]*)<", strips) == each
    assert "<image" in strips
    assert "the 12 that gained most of 3 are named" in named


def test_a_legend_of_many_islands_and_changes_stays_short(night, monkeypatch):
    """One line stands for islands whose colours repeat; only the best of many changes are named."""
    assert island_names(["a", "b"]) == ["a", "b"]
    assert island_names(list("abcdefgh")) == ["each of 8 islands", *[""] * 7]
    monkeypatch.setattr(progress, "MAX_NUMBERS", 1)
    monkeypatch.setattr(progress, "MAX_NAMES_OF_MANY", 1)
    with open_run(night) as run:
        (named,) = re.findall("<text[^>]*>(#[^<]* [^<]*)<", kinds.svg("progress", run.source))
    assert named.startswith("#36 ")


def test_a_title_is_whole_beside_long_names(night, monkeypatch):
    """It is broken into lines, none longer than the narrowest panel."""
    monkeypatch.setattr(bars, "MAX_BARS", 1)
    with open_run(night) as run:
        drawn = kinds.figure("ablation", run.source)
    lines = drawn.axes[0].get_title(loc="left").splitlines()
    assert " ".join(lines).endswith("the 1 that are worth most of its 2 changes")
    assert max(map(len, lines)) <= MAX_TITLE


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_all_that_is_written_lies_inside_the_picture(night, kind):
    """Each panel leaves room for its names, title and labels, and for those beside it."""
    with open_run(night) as run:
        drawn = kinds.figure(kind, run.source)
    edges = [panel.get_tightbbox() for panel in drawn.axes]
    assert min(edge.x0 for edge in edges) >= 0
    assert max(edge.x1 for edge in edges) <= drawn.bbox.x1
    assert min(edge.y0 for edge in edges) >= 0
    assert max(edge.y1 for edge in edges) <= drawn.bbox.y1


def test_two_panels_do_not_touch(night, monkeypatch):
    """Costs in dollars stand beside slice time, with room for their agents' names."""
    with open_run(night) as run:
        paid = [replace(cost, usd=1.0) for cost in run.cost()]
        monkeypatch.setattr(bars, "cost_by_agent", lambda con: paid)
        left, right = kinds.figure("cost", run.source).axes
    assert left.get_tightbbox().x1 < right.get_tightbbox().x0


def test_evidence_outlives_the_objects(tmp_path, monkeypatch):
    """Where git has a change no longer, its evidence is shown, and why there is no diff."""
    folder = recorded_run(tmp_path)
    for ref in (tmp_path / ".git").glob("objects/pack/*"):
        ref.unlink()
    assert folder.exists()
    monkeypatch.chdir(tmp_path)
    answer = CliRunner(env={"COLUMNS": "200"}).invoke(swarm, ["why", "#55"])
    assert answer.exit_code == 0, answer.output
    assert "git has no diff of it" in answer.output
    assert "+0.0588" in answer.output


def test_commands_import_matplotlib_without_its_tables_of_properties():
    """The replaced function is the one that lists the properties in matplotlib's docstrings."""
    program = """
from analysis.pictures.quick_import import skip_docstring_tables
{}
from matplotlib.lines import Line2D
print(len(Line2D.set.__doc__))
"""
    lengths = [
        int(subprocess.check_output([sys.executable, "-c", program.format(first)], text=True))
        for first in ("", "skip_docstring_tables()")
    ]
    assert lengths[0] > 1000 > lengths[1]


@pytest.mark.parametrize("words", [["--kept"], ["--kept", "--island", "b"], ["--island", "b"]])
def test_an_island_shows_the_changes_that_its_head_is_built_on(night, monkeypatch, words):
    """Island b adopted the head of a, and with it both changes of a."""
    monkeypatch.chdir(night)
    told = CliRunner().invoke(swarm, ["lineage", *words]).output
    own = re.split(r"(?m)^.── b$", told)[1]
    assert re.findall(r"(#\d+) kept", own) == ["#48", "#36", "#55"]
    assert own.count("kept by a") == 2


def test_an_island_that_kept_nothing_itself_shows_what_it_stands_on(night):
    """Its line is not `nothing on b`: the head that it adopted is its own."""
    with open_run(night) as run:
        graph = run.graph
        graph.remove_node(run.why("#48").node)
        heads = [run.why(change).node for change in ("#36", "#55")]
    console = Console(file=io.StringIO(), width=120)
    others = [node for node, data in graph.nodes(data=True) if data.get("ending") != "kept"]
    graph.remove_nodes_from(node for node in others if graph.nodes[node]["kind"] != "base")
    console.print(lineage_tree.tree(graph, {"a": heads, "b": heads, "c": []}))
    told = console.file.getvalue()
    assert told.count("kept by a") == 2
    assert "nothing on c" in told


def test_the_picture_has_a_ring_for_the_head_that_an_island_adopted(night):
    """On the row of b, over the change of a that is its head."""
    with open_run(night) as run:
        drawn = kinds.figure("lineage", run.source)
    rings = [dots for dots in drawn.axes[0].collections if not len(dots.get_facecolor())]
    spots = [tuple(map(float, spot)) for dots in rings for spot in dots.get_offsets()]
    assert (3.0, 1.0) in spots
