"""Catching up: who goes to another island's head without a trial, when, and when never."""

import pytest

from analysis.database.queries import ask
from analysis.database.refresh import refresh
from analysis.ledger import Ledger
from harness.contract import Failure, Outcome, Slice
from islands import events as ev
from islands.migration import Migration, sources
from islands.ratchet.policy import RatchetPolicy
from islands.records import Gain, Migrant
from islands.scheduling.catch_up import catch_up
from islands.scheduling.island_steps import CatchUp, next_step
from islands.state.run_state import State
from swarm.project.runs import RunFolder
from swarm.results.verify import verify
from swarm.simulation.mixtures import HARSH
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.world import Conditions
from tests.islands.test_migration import START, TRAIN, TRAINED, lives, puts, texts
from tests.support.histories import clock
from tests.support.laboratory import MemoryLedger, opening
from tests.support.repository import git, make

ALL = Migration("complete")
GAINS = {1: 0.5, 2: 0.3, 3: 0.2, 4: 0.1}


class Told:
    """A state that is told of a run's events, briefly."""

    def __init__(self, *kinds):
        self.state, self.trials = State(), 0
        self.tell(opening(baseline_seeds=1))
        for number, kind in enumerate(kinds):
            name = f"i{number}"
            self.tell(ev.IslandOpened(name, name, "base", "lab", Slice(f"s{number}", kind)))
        self.trial("i0", "base", "baseline", 0)

    def tell(self, *events):
        for event in events:
            self.state.apply(event)

    def trial(self, island, commit, purpose, experiment, failure=None):
        self.trials += 1
        seed, name = self.state.scores.baseline_seeds()[0], f"t{self.trials}"
        on = self.state.islands[island].slice.name
        score = None if failure else 1.0
        start = ev.TrialStarted(name, experiment, island, commit, purpose, seed, 0, on)
        self.tell(
            start,
            ev.TrialEnded(start, Outcome(name, "lab", "namespaces", score=score, failure=failure)),
        )

    def tries(self, island, number, migrant=None, verdict="keep"):
        """Let an island judge a change of its own, or a migrant."""
        head, commit = self.state.islands[island].head, f"c{number}"
        if migrant is None:
            self.tell(ev.ProposalReceived(number, island, "lab", head, f"change {number}"))
        else:
            self.tell(ev.MigrantOffered(number, island, head, migrant))
        self.tell(ev.CandidateAdmitted(number, island, commit, head, 1, 0))
        seeds = self.state.scores.by_commit[head]
        self.state.scores.by_commit[head] = seeds or {self.state.scores.baseline_seeds()[0]: 1.0}
        self.trial(island, commit, "screen", number)
        gain = Gain(GAINS.get(number, 0.05), 0.01, 2, 0.001)
        origin = migrant.origin if migrant is not None else 0
        self.tell(
            ev.VerdictReached(number, island, commit, head, verdict, "so", gain, origin=origin)
        )

    def catches_up(self, island, asked=ALL):
        """Return whom an island catches up with, and let it."""
        event = catch_up(self.state, island, asked)
        if event is not None:
            self.tell(event)
        return event and event.source

    def kept(self, island):
        return [each.experiment for each in self.state.islands[island].kept]


def of(told, island, number):
    """Return a kept change as it travels."""
    (kept,) = (each for each in told.state.islands[island].kept if each.experiment == number)
    where = (island, kept.parent, kept.commit, kept.hypothesis)
    return Migrant(number, kept.origin, *where, kept.gain)


def test_who_stands_where_the_change_was_measured_goes_along_without_a_trial():
    """Nothing is left to measure: head, what it is built on and its score are the other's."""
    told = Told("cpu", "cpu")
    told.tries("i0", 1)
    told.tries("i0", 2)
    event = catch_up(told.state, "i1", ALL)
    assert event == ev.HeadAdopted("i1", "i0", "base", "c2", (1, 2))
    assert isinstance(next_step(told.state, "i1", RatchetPolicy(), ALL), CatchUp)
    trials, claimed = told.state.trials, told.state.keep_tally
    assert told.catches_up("i1") == "i0"
    assert told.kept("i1") == told.kept("i0") == [1, 2]
    assert told.state.islands["i1"].head == "c2"
    assert told.state.gain(told.state.islands["i1"]) == pytest.approx(0.8)
    assert (told.state.trials, told.state.keep_tally) == (trials, claimed)
    assert [each.experiment for each in told.state.islands["i1"].recent_attempts] == [1, 2]
    assert told.state.islands["i1"].endings == {}  # it kept nothing itself
    assert len(told.state.stacks.kept) == 2
    assert told.catches_up("i0") is told.catches_up("i1") is None


def test_an_island_hears_only_of_whom_the_topology_says():
    """In a star the first with all, and all with the first; in a ring each with the one before."""
    told = Told("cpu", "cpu", "cpu")
    told.tries("i1", 1)
    assert catch_up(told.state, "i0", Migration("none")) is None
    assert catch_up(told.state, "i0", Migration("ring")) is None
    assert catch_up(told.state, "i2", Migration("star")) is None
    assert catch_up(told.state, "i0", Migration("star")).source == "i1"
    assert told.catches_up("i2", Migration("ring")) == "i1"
    assert told.catches_up("i0", Migration("ring")) == "i2"
    assert told.kept("i0") == [1]
    told.tries("i0", 2)
    assert told.catches_up("i2", Migration("star")) == "i0"


def test_an_island_that_measures_ends_its_experiment_first():
    """Between experiments it goes; in the middle of one the step is the experiment's."""
    told = Told("cpu", "cpu")
    told.tell(ev.ProposalReceived(9, "i1", "lab", "base", "other"))
    told.tell(ev.CandidateAdmitted(9, "i1", "c9", "base", 1, 0))
    told.trial("i1", "c9", "screen", 9)
    told.tries("i0", 1)
    assert not isinstance(next_step(told.state, "i1", RatchetPolicy(), ALL), CatchUp)
    with pytest.raises(ValueError, match="cannot go"):
        told.tell(ev.HeadAdopted("i1", "i0", "base", "c1", (1,)))
    loss = Gain(-0.1, 0.1, 1)
    told.tell(ev.VerdictReached(9, "i1", "c9", "base", "discard", "no gain", loss))
    assert isinstance(next_step(told.state, "i1", RatchetPolicy(), ALL), CatchUp)


def test_who_has_parted_stays_until_its_own_change_was_judged_beside_the_others():
    """Neither the one behind nor the one ahead: each has what the other has not judged."""
    told = Told("cpu", "cpu", "cpu")
    told.tries("i0", 1)
    told.tries("i1", 2)
    assert told.catches_up("i2") == "i0"  # the one that is further ahead
    assert told.catches_up("i0") is told.catches_up("i1") is None
    told.tries("i2", 3, of(told, "i1", 2))
    assert told.kept("i2") == [1, 3]
    assert told.catches_up("i1") == "i2"  # its own change is there, judged on the other
    assert told.catches_up("i0") in {"i1", "i2"}  # and is measured on what it stands on
    assert told.kept("i0") == told.kept("i1") == [1, 3]
    assert told.state.islands["i1"].head == "c3"


def test_what_was_judged_ahead_and_not_kept_is_left_behind():
    """It gains nothing beside what is there, so that the head without it is the better one."""
    told = Told("cpu", "cpu")
    told.tries("i0", 1)
    told.tries("i1", 4)
    told.tries("i0", 5, of(told, "i1", 4), "discard")
    assert told.catches_up("i1") == "i0"
    assert told.kept("i1") == [1]
    (left,) = [each for each in told.state.islands["i1"].recent_attempts if each.experiment == 4]
    assert left.ending == "outdated"
    assert told.state.keep_tally.count == 2  # it was claimed, and stays a claim
    told.trial("i1", "c4", "promotion", 0, Failure("invalid", "it peeks"))
    told.tell(told.state.quarantines.next_event())
    assert told.state.keep_tally.count == 1
    assert told.state.islands["i1"].endings == {"kept": 0, "failed": 1}
    assert told.state.islands["i1"].head == "c1"  # which is not built on it


def test_one_of_those_on_a_head_judges_for_all_of_them():
    """What is on trial, or was judged, on a head or what that is built on is not taken again."""
    told = Told("cpu", "cpu", "cpu")
    told.tries("i0", 1)
    told.catches_up("i2")
    told.tries("i1", 4)
    migrant = told.state.migrants.next_migrant("i2", ALL, told.state.islands["i2"].heads)
    assert migrant.experiment == 4
    assert told.state.migrants.next_migrant("i0", ALL, told.state.islands["i0"].heads) == migrant
    told.tell(ev.MigrantOffered(5, "i2", "c1", migrant))
    assert told.state.migrants.next_migrant("i0", ALL, told.state.islands["i0"].heads) is None


@pytest.mark.parametrize("there", ["cuda", "mps"])
def test_no_island_goes_where_another_class_of_device_measured(there):
    """A gain on other hardware is a claim there: here it is brought, and judged."""
    told = Told("cpu", there)
    told.tries("i1", 1)
    assert told.catches_up("i0") is None
    assert told.state.migrants.next_migrant("i0", ALL, ("base",)).experiment == 1


def test_a_head_that_is_set_apart_takes_back_all_who_caught_up_with_it():
    """They fall back with its maker, no island adopts it, and its claim is taken back once."""
    told = Told("cpu", "cpu", "cpu")
    told.tries("i0", 1)
    told.tries("i0", 2)
    told.catches_up("i1")
    told.trial("i0", "c2", "promotion", 0, Failure("invalid", "it peeks"))
    found = told.state.quarantines.next_event()
    assert {(each.island, each.new) for each in found.heads} == {("i0", "c1"), ("i1", "c1")}
    told.tell(found)
    assert told.kept("i0") == told.kept("i1") == [1]
    assert told.state.keep_tally.count == 1
    assert told.state.islands["i0"].endings == {"kept": 1, "failed": 1}
    assert told.state.islands["i1"].endings == {}
    assert told.catches_up("i2") in {"i0", "i1"}
    assert told.kept("i2") == [1]
    with pytest.raises(ValueError, match="is quarantined"):
        told.tell(ev.HeadAdopted("i2", "i0", "c1", "c2", (2,)))


@pytest.mark.parametrize("topology", ["ring", "star", "complete", "random"])
def test_a_night_catches_up_by_the_rules(topology):
    """Counted from the ledger: never in mid-experiment, never past a change that is not judged."""
    plan = RunPlan(RatchetPolicy(), 4, 300, migration=Migration(topology))
    one = simulate_run(Conditions(HARSH, sigma=0.25), plan, 3)
    names = [event.island for event in one.events if isinstance(event, ev.IslandOpened)]
    chains = {name: [] for name in names}
    made, origins, gains, judged = {}, {}, {}, set()
    caught, state = 0, State()
    for event in one.events:
        match event:
            case ev.ProposalReceived():
                origins[event.experiment] = event.experiment
            case ev.MigrantOffered():
                origins[event.experiment] = event.migrant.origin
            case ev.CandidateAdmitted() | ev.CandidateRebased():
                made[event.experiment] = (event.parent, event.commit)
            case ev.VerdictReached() if event.gain is not None:
                judged.add((origins[event.experiment], made[event.experiment][0]))
                gains[event.experiment] = event.gain.mean
                if event.verdict == "keep":
                    chains[event.island].append(event.experiment)
            case ev.HeadAdopted():
                caught += 1
                assert state.islands[event.island].experiment is None
                heard = sources(topology, names, event.island, 0)
                if topology != "random":
                    assert event.source in (heard or names[:1])  # in a star, the first's head
                old, new = chains[event.island], chains[event.source]
                heads = {"", *(made[each][1] for each in new)} | {made[new[0]][0]}
                held = {origins[each] for each in new}
                for each in old:
                    origin = origins[each]
                    assert origin in held or any((origin, head) in judged for head in heads)
                assert sum(gains[each] for each in new) > sum(gains[each] for each in old)
                assert event.changes == tuple(each for each in new if each not in old)
                assert event.new == made[new[-1]][1]
                chains[event.island] = [*new]
        state.apply(event)
    assert caught > 5
    assert {n: [k.experiment for k in i.kept] for n, i in one.state.islands.items()} == chains


# on real git


IDEAS = (puts(TRAINED, "A = 1", "A = 2"), lambda genome: None)
BOTH = (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "E = 1", "E = 2"))


def refs(repo):
    """Return all refs of the run with their commits."""
    where = ("refs/heads/swarm", "refs/swarm")
    listed = git(repo, "for-each-ref", "--format=%(refname) %(objectname)", *where)
    return dict(line.split(" ") for line in listed.splitlines())


def test_a_change_reaches_another_island_without_a_trial(tmp_path):
    """Its branch moves to the very commit, what waited there is rebased, no migrant is tried."""
    repo = make(tmp_path / "repo", START)
    run = lives(repo, IDEAS, topology="complete")
    events = run.ledger.kept
    (caught,) = (event for event in events if isinstance(event, ev.HeadAdopted))
    assert (caught.island, caught.source) == ("i1", "i0")
    assert not any(isinstance(event, ev.MigrantOffered) for event in events)
    heads = {name: island.head for name, island in run.state.islands.items()}
    assert heads["i0"] == heads["i1"] == caught.new
    for name, head in heads.items():
        assert git(repo, "rev-parse", f"refs/heads/swarm/lab/{name}") == head
    after = events[events.index(caught) :]
    rebased = [event for event in after if isinstance(event, ev.CandidateRebased)]
    assert {(event.island, event.parent) for event in rebased} >= {("i1", caught.new)}


def test_two_islands_that_parted_come_together_again(tmp_path):
    """One judges what the other kept, the other goes there: both changes on one and one commit."""
    repo = make(tmp_path / "repo", START)
    run = lives(repo, BOTH, topology="complete")
    heads = {island.head for island in run.state.islands.values()}
    assert len(heads) == 1
    assert texts(run, "i0")[TRAINED] == TRAIN.replace("A = 1", "A = 2").replace("E = 1", "E = 2")
    assert any(isinstance(event, ev.HeadAdopted) for event in run.ledger.kept)


def test_a_kill_around_a_catch_up_goes_on_to_the_same_end(tmp_path):
    """Before the event, after it with the branch where it was, and with the branch moved."""
    repo, shots = make(tmp_path / "repo", START), []
    asked = {"topology": "complete", "trials": 30}
    whole = lives(repo, IDEAS, watch=lambda *_: shots.append(refs(repo)), **asked)
    events = whole.ledger.kept
    (at,) = (n for n, event in enumerate(events) if isinstance(event, ev.HeadAdopted))
    branch, ends = "refs/heads/swarm/lab/i1", refs(repo)
    moved = {**shots[at], branch: events[at].new}
    assert shots[at][branch] == events[at].old
    for cut, then in ((at, shots[at - 1]), (at + 1, shots[at]), (at + 1, moved)):
        gone = "".join(f"delete {ref}\n" for ref in refs(repo) if ref not in then)
        there = "".join(f"update {ref} {commit}\n" for ref, commit in then.items())
        git(repo, "update-ref", "--stdin", stdin=(gone + there).encode())
        run = lives(repo, IDEAS, ledger=MemoryLedger(events[:cut]), **asked)
        for name, island in run.state.islands.items():
            assert island.head == whole.state.islands[name].head
            branch = f"refs/heads/swarm/lab/{name}"
            assert refs(repo)[branch] == island.head == ends[branch]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folder of a run in which two islands parted and came together, and its state."""
    repo = make(tmp_path_factory.mktemp("real") / "repo", {**START, ".gitignore": ".swarm\n"})
    folder = RunFolder(repo, "lab")
    folder.path.mkdir(parents=True)
    with Ledger.open(folder.path, clock()) as ledger:
        run = lives(repo, BOTH, topology="complete", ledger=ledger)
    refresh(folder.path)
    return folder, run.state


def test_the_record_holds_and_says_where_everybody_is(recorded):
    """`swarm verify` finds nothing; the tables have heads, chains and standings as the fold has."""
    folder, state = recorded
    assert [check.violations for check in verify(folder).checks if check.violations] == []
    rows = ask(folder.path, "FROM catch_ups").named()
    assert rows
    for row in rows:
        assert row["head"] != row["before"]
        assert row["parts"]
    standings = {row["island"]: row for row in ask(folder.path, "FROM standings").named()}
    for name, island in state.islands.items():
        assert standings[name]["head"] == island.head
        assert standings[name]["gain"] == pytest.approx(state.gain(island))
        assert standings[name]["kept"] == island.endings.get("kept", 0)
        told = f"SELECT experiment FROM kept WHERE island = '{name}'"
        chain = [number for (number,) in ask(folder.path, told).rows]
        assert chain == [each.experiment for each in island.kept]
