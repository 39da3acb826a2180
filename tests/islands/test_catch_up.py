"""Catching up: the conditions on which an island adopts another's head without a trial."""

import pytest

from analysis.database.queries import ask
from analysis.database.refresh import refresh
from analysis.ledger import Ledger
from harness.contract import Failure, Outcome, Slice
from islands import events as ev
from islands.migration import CONFLICT, Migration, sources
from islands.ratchet.policy import RatchetPolicy
from islands.records import Gain, Migrant
from islands.scheduling.catch_up import catch_up
from islands.scheduling.island_steps import next_step
from islands.scheduling.steps import CatchUp
from islands.state.run_state import State
from swarm.project.runs import RunFolder
from swarm.results.verify import verify
from swarm.simulation.mixtures import HARSH
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.world import Conditions
from tests.support.histories import clock
from tests.support.laboratory import MemoryLedger, opening
from tests.support.migrations import START, TRAIN, TRAINED, conduct, puts, texts
from tests.support.repository import git, make

ALL = Migration("complete")
GAINS = {1: 0.5, 2: 0.3, 3: 0.2, 4: 0.1, 9: -0.01}


class Population:
    """A state to which a test applies a run's events, several at a call."""

    def __init__(self, *kinds):
        self.state, self.trials = State(), 0
        self.apply(opening(baseline_seeds=1))
        for number, kind in enumerate(kinds):
            name = f"i{number}"
            self.apply(ev.IslandOpened(name, name, "base", "lab", Slice(f"s{number}", kind)))
        self.trial("i0", "base", "baseline", 0)

    def apply(self, *events):
        for event in events:
            self.state.apply(event)

    def trial(self, island, commit, purpose, experiment, failure=None):
        self.trials += 1
        seed, name = self.state.scores.baseline_seeds()[0], f"t{self.trials}"
        on = self.state.islands[island].slice.name
        score = None if failure else 1.0
        start = ev.TrialStarted(name, experiment, island, commit, purpose, seed, 0, on)
        self.apply(
            start,
            ev.TrialEnded(start, Outcome(name, "lab", "namespaces", score=score, failure=failure)),
        )

    def judge(self, island, number, migrant=None, verdict="keep"):
        """Let an island judge a change of its own, or a migrant."""
        head, commit = self.state.islands[island].head, f"c{number}"
        if migrant is None:
            self.apply(ev.ProposalReceived(number, island, "lab", head, f"change {number}"))
        else:
            self.apply(ev.MigrantOffered(number, island, head, migrant))
        self.apply(ev.CandidateAdmitted(number, island, commit, head, 1, 0))
        seeds = self.state.scores.by_commit[head]
        self.state.scores.by_commit[head] = seeds or {self.state.scores.baseline_seeds()[0]: 1.0}
        self.trial(island, commit, "screen", number)
        gain = Gain(GAINS.get(number, 0.05), 0.01, 2, 0.001)
        origin = migrant.origin if migrant is not None else 0
        self.apply(
            ev.VerdictReached(number, island, commit, head, verdict, "so", gain, origin=origin)
        )

    def catch_up(self, island, migration=ALL):
        """Let an island catch up; return the island whose head it adopts, None for none."""
        event = catch_up(self.state, island, migration)
        if event is not None:
            self.apply(event)
        return event and event.source

    def next_migrant(self, island):
        """Return the change that an island would be offered on its head."""
        return self.state.migrants.next_migrant(island, ALL, self.state.islands[island].heads)

    def kept(self, island):
        """Return the experiments whose changes are in an island's head."""
        return [change.experiment for change in self.state.islands[island].kept]


def as_migrant(population, island, number):
    """Return a kept change as a migrant."""
    changes = population.state.islands[island].kept
    (kept,) = (change for change in changes if change.experiment == number)
    made = (island, kept.parent, kept.commit, kept.hypothesis)
    return Migrant(number, kept.origin, *made, kept.gain)


def test_an_island_on_the_changes_parent_adopts_it_without_a_trial():
    """It takes the other's head, chain and score; nothing remains to be measured."""
    population = Population("cpu", "cpu")
    population.judge("i0", 1)
    population.judge("i0", 2)
    event = catch_up(population.state, "i1", ALL)
    assert event == ev.HeadAdopted("i1", "i0", "base", "c2", (1, 2))
    assert isinstance(next_step(population.state, "i1", RatchetPolicy(), ALL), CatchUp)
    trials, claimed = population.state.trials, population.state.keep_tally
    assert population.catch_up("i1") == "i0"
    assert population.kept("i1") == population.kept("i0") == [1, 2]
    assert population.state.islands["i1"].head == "c2"
    assert population.state.gain(population.state.islands["i1"]) == pytest.approx(0.8)
    assert (population.state.trials, population.state.keep_tally) == (trials, claimed)
    assert [attempt.experiment for attempt in population.state.islands["i1"].recent_attempts] == [
        1,
        2,
    ]
    assert population.state.islands["i1"].endings == {}  # it kept nothing itself
    assert len(population.state.stacks.kept) == 2
    assert population.catch_up("i0") is population.catch_up("i1") is None


def test_an_island_adopts_heads_only_along_the_topology():
    """In a star through the first island; in a ring from the one before."""
    population = Population("cpu", "cpu", "cpu")
    population.judge("i1", 1)
    assert catch_up(population.state, "i0", Migration("none")) is None
    assert catch_up(population.state, "i0", Migration("ring")) is None
    assert catch_up(population.state, "i2", Migration("star")) is None
    assert catch_up(population.state, "i0", Migration("star")).source == "i1"
    assert population.catch_up("i2", Migration("ring")) == "i1"
    assert population.catch_up("i0", Migration("ring")) == "i2"
    assert population.kept("i0") == [1]
    population.judge("i0", 2)
    assert population.catch_up("i2", Migration("star")) == "i0"


def test_an_island_ends_its_open_experiment_first():
    """It catches up between experiments, never during one."""
    population = Population("cpu", "cpu")
    population.apply(ev.ProposalReceived(9, "i1", "lab", "base", "other"))
    population.apply(ev.CandidateAdmitted(9, "i1", "c9", "base", 1, 0))
    population.trial("i1", "c9", "screen", 9)
    population.judge("i0", 1)
    assert not isinstance(next_step(population.state, "i1", RatchetPolicy(), ALL), CatchUp)
    with pytest.raises(ValueError, match="cannot go"):
        population.apply(ev.HeadAdopted("i1", "i0", "base", "c1", (1,)))
    loss = Gain(-0.1, 0.1, 1)
    population.apply(ev.VerdictReached(9, "i1", "c9", "base", "discard", "no gain", loss))
    assert isinstance(next_step(population.state, "i1", RatchetPolicy(), ALL), CatchUp)


def test_a_diverged_island_stays_until_the_other_has_judged_its_change():
    """Neither of two catches up while each has a change that the other has not judged."""
    population = Population("cpu", "cpu", "cpu")
    population.judge("i0", 1)
    population.judge("i1", 2)
    assert population.catch_up("i2") == "i0"  # the one that is further ahead
    assert population.catch_up("i0") is population.catch_up("i1") is None
    population.judge("i2", 3, as_migrant(population, "i1", 2))
    assert population.kept("i2") == [1, 3]
    assert population.catch_up("i1") == "i2"  # which has judged its change
    assert population.catch_up("i0") in {"i1", "i2"}  # whose change was measured on the head of i0
    assert population.kept("i0") == population.kept("i1") == [1, 3]
    assert population.state.islands["i1"].head == "c3"


def test_a_change_that_the_other_judged_and_discarded_is_dropped():
    """It gains nothing on the other head, so its island adopts that head without it."""
    population = Population("cpu", "cpu")
    population.judge("i0", 1)
    population.judge("i1", 4)
    population.judge("i0", 5, as_migrant(population, "i1", 4), "discard")
    assert population.catch_up("i1") == "i0"
    assert population.kept("i1") == [1]
    attempts = population.state.islands["i1"].recent_attempts
    (dropped,) = [attempt for attempt in attempts if attempt.experiment == 4]
    assert dropped.ending == "outdated"
    assert population.state.keep_tally.count == 2  # it was claimed, and stays a claim
    population.trial("i1", "c4", "promotion", 0, Failure("invalid", "it peeks"))
    population.apply(population.state.quarantines.next_event())
    assert population.state.keep_tally.count == 1
    assert population.state.islands["i1"].endings == {"kept": 0, "quarantined": 1}
    assert population.state.islands["i1"].head == "c1"  # which is not built on it


def test_an_island_follows_one_whose_change_gains_nothing_on_its_own_worse_head():
    """The two changes do the same, and the other does it better."""
    population = Population("cpu", "cpu")
    population.judge("i0", 4)
    population.judge("i1", 1)
    assert population.catch_up("i0") is None
    population.judge("i0", 5, as_migrant(population, "i1", 1), "discard")
    assert population.catch_up("i1") is None
    assert population.catch_up("i0") == "i1"
    assert population.kept("i0") == [1]


def test_no_island_goes_back_to_a_head_that_its_own_is_built_on():
    """A change that was kept for being shorter may cost a little."""
    population = Population("cpu", "cpu")
    population.judge("i0", 1)
    assert population.catch_up("i1") == "i0"
    population.judge("i1", 9)
    assert population.catch_up("i1") is None
    assert population.kept("i1") == [1, 9]


@pytest.mark.parametrize("ported", [True, False])
def test_of_two_heads_whose_changes_conflict_the_better_one_is_adopted(ported):
    """Once the agent that was asked to port the change has answered, and that was judged."""
    population = Population("cpu", "cpu")
    population.judge("i0", 4)
    population.judge("i1", 1)
    migrant, head = as_migrant(population, "i1", 1), population.state.islands["i0"].head
    population.apply(
        ev.MigrantOffered(5, "i0", head, migrant), ev.ProposalRefused(5, "i0", CONFLICT, "in a.py")
    )
    assert population.catch_up("i0") is population.catch_up("i1") is None
    if ported:
        port = ev.ProposalReceived(6, "i0", "lab", head, "both", origin=1)
        population.apply(port, ev.CandidateAdmitted(6, "i0", "c6", head, 1, 0))
        assert population.catch_up("i0") is None
        population.trial("i0", "c6", "screen", 6)
        loss = Gain(-0.1, 0.1, 1)
        population.apply(
            ev.VerdictReached(6, "i0", "c6", head, "discard", "no gain", loss, origin=1)
        )
    else:
        population.apply(ev.AgentFailed(6, "i0", "lab", "malformed", "no port", origin=1))
    assert population.catch_up("i1") is None
    assert population.catch_up("i0") == "i1"
    assert not population.state.migrants.ports


def test_one_island_on_a_head_judges_a_migrant_for_all_on_it():
    """A change on trial, or judged, on a head or an ancestor of it is not offered there again."""
    population = Population("cpu", "cpu", "cpu")
    population.judge("i0", 1)
    population.catch_up("i2")
    population.judge("i1", 4)
    migrant = population.next_migrant("i2")
    assert migrant.experiment == 4
    assert population.next_migrant("i0") == migrant
    population.apply(ev.MigrantOffered(5, "i2", "c1", migrant))
    assert population.next_migrant("i0") is None


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_no_island_adopts_a_head_measured_on_another_device_class(device):
    """The change comes as a migrant and is judged again."""
    population = Population("cpu", device)
    population.judge("i1", 1)
    assert population.catch_up("i0") is None
    assert population.state.migrants.next_migrant("i0", ALL, ("base",)).experiment == 1


def test_islands_that_adopted_a_quarantined_head_fall_back():
    """They fall back with its maker, none adopts it again, and its claim is uncounted once."""
    population = Population("cpu", "cpu", "cpu")
    population.judge("i0", 1)
    population.judge("i0", 2)
    population.catch_up("i1")
    population.trial("i0", "c2", "promotion", 0, Failure("invalid", "it peeks"))
    event = population.state.quarantines.next_event()
    assert {(head.island, head.new) for head in event.heads} == {("i0", "c1"), ("i1", "c1")}
    population.apply(event)
    assert population.kept("i0") == population.kept("i1") == [1]
    assert population.state.keep_tally.count == 1
    assert population.state.islands["i0"].endings == {"kept": 1, "quarantined": 1}
    assert population.state.islands["i1"].endings == {}
    assert population.catch_up("i2") in {"i0", "i1"}
    assert population.kept("i2") == [1]
    with pytest.raises(ValueError, match="is quarantined"):
        population.apply(ev.HeadAdopted("i2", "i0", "c1", "c2", (2,)))


@pytest.mark.parametrize("topology", ["ring", "star", "complete", "random"])
def test_a_simulated_run_catches_up_by_the_rules(topology):
    """From the ledger: never during an experiment, never past a change that is not judged."""
    plan = RunPlan(RatchetPolicy(), 4, 160, migration=Migration(topology))
    one = simulate_run(Conditions(HARSH, sigma=0.25), plan, 3)
    names = [event.island for event in one.events if isinstance(event, ev.IslandOpened)]
    chains = {name: [] for name in names}
    made, origins, gains, judged = {}, {}, {}, set()
    caught, state = 0, State()

    def all_judged(changes, on):
        """Return whether all `changes` are in the head that `on` make, or were judged there."""
        heads = {"base", *(made[n][1] for n in on)}
        held = {origins[n] for n in on}
        return all(
            origins[n] in held or any((origins[n], head) in judged for head in heads)
            for n in changes
        )

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
                allowed = sources(topology, names, event.island, 0)
                if topology != "random":
                    assert event.source in (allowed or names[:1])  # in a star, the first's head
                old, new = chains[event.island], chains[event.source]
                assert all_judged(old, new) or all_judged(new, old)
                assert sum(gains[n] for n in new) > sum(gains[n] for n in old)
                assert event.changes == tuple(n for n in new if n not in old)
                assert event.new == made[new[-1]][1]
                chains[event.island] = [*new]
        state.apply(event)
    assert caught > 3
    assert {n: [k.experiment for k in i.kept] for n, i in one.state.islands.items()} == chains


# on real git


IDEAS = (puts(TRAINED, "A = 1", "A = 2"), lambda genome: None)
BOTH = (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "E = 1", "E = 2"))


def refs(repo):
    """Return all refs of the run with their commits."""
    prefixes = ("refs/heads/swarm", "refs/swarm")
    listed = git(repo, "for-each-ref", "--format=%(refname) %(objectname)", *prefixes)
    return dict(line.split(" ") for line in listed.splitlines())


def test_a_change_reaches_another_island_without_a_trial(tmp_path):
    """Its branch moves to the very commit, what waited there is rebased, no migrant is tried."""
    repo = make(tmp_path / "repo", START)
    run = conduct(repo, IDEAS, topology="complete")
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


def test_two_diverged_islands_converge(tmp_path):
    """One judges what the other kept, the other adopts its head: one commit has both changes."""
    repo = make(tmp_path / "repo", START)
    run = conduct(repo, BOTH, topology="complete")
    heads = {island.head for island in run.state.islands.values()}
    assert len(heads) == 1
    assert texts(run, "i0")[TRAINED] == TRAIN.replace("A = 1", "A = 2").replace("E = 1", "E = 2")
    assert any(isinstance(event, ev.HeadAdopted) for event in run.ledger.kept)


def test_a_kill_around_a_catch_up_resumes_to_the_same_end(tmp_path):
    """Killed before the event, after it with the branch not yet moved, and with it moved."""
    repo, shots = make(tmp_path / "repo", START), []
    options = {"topology": "complete", "trials": 30}
    whole = conduct(repo, IDEAS, watch=lambda *_: shots.append(refs(repo)), **options)
    events = whole.ledger.kept
    (at,) = (n for n, event in enumerate(events) if isinstance(event, ev.HeadAdopted))
    branch, ends = "refs/heads/swarm/lab/i1", refs(repo)
    moved = {**shots[at], branch: events[at].new}
    assert shots[at][branch] == events[at].old
    for cut, then in ((at, shots[at - 1]), (at + 1, shots[at]), (at + 1, moved)):
        deletes = "".join(f"delete {ref}\n" for ref in refs(repo) if ref not in then)
        updates = "".join(f"update {ref} {commit}\n" for ref, commit in then.items())
        git(repo, "update-ref", "--stdin", stdin=(deletes + updates).encode())
        run = conduct(repo, IDEAS, ledger=MemoryLedger(events[:cut]), **options)
        for name, island in run.state.islands.items():
            assert island.head == whole.state.islands[name].head
            branch = f"refs/heads/swarm/lab/{name}"
            assert refs(repo)[branch] == island.head == ends[branch]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return the folder of a run in which two islands diverged and converged, and its state."""
    repo = make(tmp_path_factory.mktemp("real") / "repo", {**START, ".gitignore": ".swarm\n"})
    folder = RunFolder(repo, "lab")
    folder.path.mkdir(parents=True)
    with Ledger.open(folder.path, clock()) as ledger:
        run = conduct(repo, BOTH, topology="complete", ledger=ledger)
    refresh(folder.path)
    return folder, run.state


def test_the_record_is_sound_and_has_every_head(recorded):
    """`swarm verify` finds nothing wrong; heads, chains and standings are those of the fold."""
    folder, state = recorded
    checks = verify(folder).checks
    assert len(checks) > 0
    assert [check.violations for check in checks if check.violations] == []
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
        sql = f"SELECT experiment FROM kept WHERE island = '{name}'"
        chain = [number for (number,) in ask(folder.path, sql).rows]
        assert chain == [change.experiment for change in island.kept]
