"""What a person sees, as text files that a reviewer reads: tests/snapshots/.

`SWARM_SNAPSHOTS=write pytest tests/cli/test_screens.py` writes them anew.
"""

import io
import os
import re
from pathlib import Path

import pytest
from rich.console import Console

from islands import events as ev
from islands.records import Gain, Usage
from islands.state.run_state import State
from swarm.cli.console import fitted
from swarm.cli.live import LiveView, curve_of
from swarm.project import runs
from swarm.results.commit_policy import CommitPolicy
from swarm.results.merge_message import describe
from swarm.results.selection import select
from tests.support.histories import lived
from tests.support.record import write
from tests.support.repository import make
from tests.support.target import swarm

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"

PURPOSES = ("confirm", "screen")


@pytest.fixture(scope="module", params=[2, 40])
def recorded(request, tmp_path_factory):
    """A recorded run of so many islands: their number, the events and the repository."""
    home = tmp_path_factory.mktemp("screens")
    history, _ = lived(home / "lab", 60, islands=request.param)
    repo = make(home / "repo", {"x.py": "X = 1\n"})
    write(runs.create(repo, "run1").path, history)
    return request.param, history, repo


def assert_seen(name, text):
    """Compare a screen with its snapshot, or write it."""
    path = SNAPSHOTS / f"{name}.txt"
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    if os.environ.get("SWARM_SNAPSHOTS") == "write":
        path.write_text(text)
    assert path.read_text() == text


def test_status_says_who_made_what_is_open_and_how_far_it_is(recorded):
    """A migrant is no change of the island's agent, and what was screened does not wait."""
    _, history, repo = recorded
    ended = {e.experiment for e in history if isinstance(e, ev.VerdictReached | ev.ProposalRefused)}
    ended |= {e.experiment for e in history if isinstance(e, ev.CandidateDropped)}
    moved = {e.experiment for e in history if isinstance(e, ev.MigrantOffered)}
    scored = [e.started for e in history if isinstance(e, ev.TrialEnded) and e.outcome.score]
    tried = {name: {e.experiment for e in scored if e.purpose == name} for name in PURPOSES}
    shown = re.findall(r"(?m)^\w+ \((.+)\) #(\d+) (\w+): X to ", swarm(repo, "status"))
    assert len(shown) > 2 and not {int(number) for _, number, _ in shown} & ended
    for agent, number, stage in shown:
        assert agent == ("migration" if int(number) in moved else "lab")
        confirms, screens = (int(number) in tried[name] for name in PURPOSES)
        assert stage == ("confirming" if confirms else "screened" if screens else "waiting")


@pytest.mark.parametrize("columns", [80, 120])
def test_the_live_view_fits_its_terminal(recorded, columns):
    """24 lines hold any number of islands, and no line is wider than the terminal."""
    islands, history, _ = recorded
    out = io.StringIO()
    view = LiveView(Console(file=io.StringIO(), width=columns))
    state = State()
    for event in history[:-1]:
        state.apply(event)
        view(event, state)
    console = Console(file=out, width=columns, height=24, force_terminal=True, color_system=None)
    view._console, view._started = console, view._started + 1e9
    view._footer = lambda state: "footer"
    console.print(view._frame(state))
    lines = out.getvalue().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= columns
    assert_seen(f"launch-{islands}-islands-{columns}", out.getvalue())


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("status", ["status"]),
        ("lineage", ["lineage", "--kept"]),
        ("query", ["query", "FROM standings LIMIT 5"]),
    ],
)
def test_screens_of_commands(recorded, name, words, columns):
    """Of status, lineage and query, as a terminal of that width shows them."""
    islands, _, repo = recorded
    text = swarm(repo, *words, COLUMNS=str(columns), SWARM_COLUMNS=str(columns))
    assert_seen(f"{name}-{islands}-islands-{columns}", text)


@pytest.fixture(scope="module")
def consensus(recorded):
    """The state of such a run after a stack check and a promotion: one kept change an island."""
    islands, history, _ = recorded
    state, parts = State(), tuple(range(1, islands + 1))
    state.apply(history[0])
    whole = Gain(0.011 * islands, 0.0041, 6, 0.0001)
    told = [
        *(event for number in parts for event in _kept(number)),
        ev.StackCheckStarted(1, "base", parts),
        ev.StackCheckEnded(
            1, "additive", "5" * 40, parts[1:], parts[:1], (), whole, whole,
            Gain(-0.0012, 0.0052, 6), 3, (), whole,
        ),
        ev.PromotionEnded(
            1, 0, "base", "5" * 40, parts[1:], "transfers",
            f"gain {whole.format()} at rung 0 after {whole.format()}", whole, whole,
        ),
        ev.ConsensusDrafted(1, "base", ("c" * 40,)),
        ev.ConsensusMoved(1, "base", "", "c" * 40, parts[1:], ("c" * 40,)),
        ev.SealedScored("c" * 40, "base", whole),
    ]  # fmt: skip
    for event in told:
        state.promotions.apply(event)
    return islands, state


def _kept(number):
    """Return the events of a kept change."""
    subject = f"Raise RATE_{number} from {number}.5 to {number + 1}.25 and halve the warm-up"
    island = f"i{number - 1}"
    usage = Usage(900, 210, 0, 0.0125 * number)
    gain = Gain(0.011, 0.0021, 4, 0.0003)
    return [
        ev.ProposalReceived(number, island, "claude", "base", subject, usage=usage),
        ev.VerdictReached(number, island, f"{number:040x}", "base", "keep", "gain", gain),
    ]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_merge_plan_fits_its_terminal(consensus, columns):
    """It names each change with its gain, the evidence, and how the commit is made."""
    islands, state = consensus
    plan = select(state, "", force=False)
    policy = CommitPolicy().line(len(plan.parts), ("commit-msg",))
    text = fitted(describe(state, plan, (12, 9)) + policy, columns)
    assert max(map(len, text.splitlines())) <= columns
    assert_seen(f"merge-{islands}-islands-{columns}", text)


def test_a_curve_has_a_block_for_each_part():
    """The largest value is the highest, and a long run is thinned."""
    assert curve_of([0.0, 0.5, 1.0]) == "▁▅█"
    assert curve_of([0.0]) == "▁"
    assert len(curve_of(list(range(1000)))) == 40
