"""Migration: topologies, the choice and timing of migrants, and their verdicts on real git."""

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import Outcome, SetupError, Slice
from islands import events as ev
from islands.git.branches import Branches
from islands.migration import MAX_NEAR_MISSES, REST_INTERVALS, Migrants, Migration, sources
from islands.ratchet.policy import RatchetPolicy
from islands.records import Change, Entry, Gain, Migrant, Proposal
from islands.rng import seed_of
from swarm.agents.base import AgentError
from swarm.agents.llm.prompt import NUDGES, render
from swarm.agents.mutator import Mutator
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.run import Run, inline
from swarm.coordinator.task_tree import run_islands
from swarm.project.program import read_program
from swarm.simulation.metrics import tally
from swarm.simulation.mixtures import HARSH
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.study import StudyCell, study
from swarm.simulation.virtual_time import run_virtual
from swarm.simulation.world import Conditions
from tests.support.laboratory import LabExecutor, MemoryLedger, launch, opening
from tests.support.mutator import brief
from tests.support.repository import git, make

TOPOLOGIES = ("ring", "star", "complete", "random")

# topologies


@given(st.sampled_from(("none", *TOPOLOGIES)), st.integers(1, 12), st.integers(0, 10**9))
def test_sources_follow_the_topology(topology, count, draw):
    """Never the island itself; one in a ring or at random; in a star all, for the first only."""
    names = [f"i{number}" for number in range(count)]
    by_island = {name: sources(topology, names, name, draw) for name in names}
    for name, others in by_island.items():
        assert set(others) <= set(names) - {name}
        assert len(set(others)) == len(others)
    expected = {"none": 0, "ring": 1, "random": 1, "complete": count - 1}.get(topology)
    if topology == "star":
        assert [len(others) for others in by_island.values()] == [count - 1] + [0] * (count - 1)
    else:
        assert {len(others) for others in by_island.values()} == {min(expected, count - 1)}


@given(st.integers(2, 12))
def test_a_ring_visits_all_and_random_draws_every_other_island(count):
    """Following the ring passes each island once; enough draws yield every other island."""
    names = [f"i{number}" for number in range(count)]
    at, seen = names[0], []
    for _ in names:
        (at,) = sources("ring", names, at, 0)
        seen.append(at)
    assert sorted(seen) == sorted(names)
    drawn = {sources("random", names, "i0", draw)[0] for draw in range(count)}
    assert drawn == set(names[1:])


def test_an_unknown_island_raises():
    """A ValueError names it, since the caller is wrong."""
    with pytest.raises(ValueError, match="is not in"):
        sources("ring", ["a", "b"], "c", 0)


# choice and timing


def fold_of(*events):
    """Return the fold of `events`."""
    fold = Migrants()
    for event in events:
        fold.apply(event)
    return fold


def islands(*names):
    """Return the events that open a run of islands."""
    slice_ = Slice("s", "cpu")
    opened = [ev.IslandOpened(name, name, "base", "lab", slice_) for name in names]
    return [ev.RunOpened(**{f: getattr(opening(), f) for f in opening().__slots__}), *opened]


def admitted(island, number):
    """Return the event that a proposal became a commit."""
    return ev.CandidateAdmitted(number, island, f"c{number}", "base", 1, 1)


def change(island, number, gain=0.1, origin=0):
    """Return a change that an island measured."""
    made = (island, "base", f"c{number}", f"change {number}")
    return Migrant(number, origin or number, *made, Gain(gain, 0.01, 2))


def judge(fold, island, number, gain=0.1, reason="gain"):
    """Let an island try a change of its own, which is kept unless there is a `reason`."""
    ending = "kept" if reason == "gain" else "discarded"
    fold.apply(admitted(island, number))
    fold.experiment_ended(number, ending, reason, change(island, number, gain))


def take(fold, island, number, migration):
    """Let an island take and keep the migrant that it is offered, if any; return it."""
    migrant = fold.next_migrant(island, migration)
    if migrant is not None:
        fold.apply(ev.MigrantOffered(number, island, "base", migrant))
        own = replace(migrant, experiment=number, island=island, commit=f"c{number}")
        fold.experiment_ended(number, "kept", "gain", own)
    return migrant


ALL = Migration("complete", every=1)


def test_the_largest_gain_goes_first_and_near_misses_go_last():
    """A near miss migrates once no keep is left; a change without a gain never does."""
    fold = fold_of(*islands("a", "b"))
    judge(fold, "a", 1, 0.9, "near miss: +0.9")
    judge(fold, "a", 2, -0.1, "near miss: -0.1")
    judge(fold, "a", 3, 0.2, "no gain on 2 fresh seeds")
    judge(fold, "a", 4, 0.1)
    judge(fold, "a", 5, 0.3)
    taken = []
    for number in range(10, 20, 2):
        migrant = take(fold, "b", number, ALL)
        taken.append(migrant.experiment if migrant else None)
        judge(fold, "b", number + 1, 0.0, "screened")
        judge(fold, "b", number + 100, 0.0, "screened")
    assert taken == [5, 4, 1, None, None]


def test_near_misses_are_forgotten_and_keeps_never():
    """Only the latest near misses may migrate."""
    fold = fold_of(*islands("a", "b"))
    for number in range(1, MAX_NEAR_MISSES + 4):
        judge(fold, "a", number, 1.0 / number, "near miss")
    assert fold.next_migrant("b", ALL).experiment == 4


def test_the_island_that_stagnated_longest_comes_first():
    """If one island may take a migrant in an interval, the others wait."""
    fold, migration = fold_of(*islands("a", "b", "c")), Migration("complete", every=100, rate=0.1)
    judge(fold, "a", 1)
    for number in (2, 3):
        judge(fold, "c", number, 0.0, "screened")
    judge(fold, "b", 4, 0.0, "screened")
    assert fold.next_migrant("b", migration) is None
    assert take(fold, "c", 10, migration).experiment == 1
    assert fold.next_migrant("b", migration) is None  # one in this interval was enough


def test_a_change_is_never_offered_twice_in_any_form():
    """Neither an island's own change, nor a copy of it that returns, nor one that failed there."""
    fold = fold_of(*islands("a", "b", "c"))
    judge(fold, "a", 1)
    assert take(fold, "b", 2, ALL).experiment == 1
    assert fold.has_met("b", 1)
    assert fold.next_migrant("a", ALL) is None
    migrant = take(fold, "c", 3, Migration("ring", every=1))
    assert (migrant.experiment, migrant.origin, migrant.island) == (2, 1, "b")
    for number in range(10, 40):
        judge(fold, "b", number, 0.0, "screened")
        assert all(fold.next_migrant(island, ALL) is None for island in "abc")


def test_a_pair_does_not_exchange_in_both_directions_at_once():
    """After a to b, b's changes do not reach a in that interval and the next."""
    fold = fold_of(*islands("a", "b"))
    judge(fold, "a", 1)
    assert take(fold, "b", 2, ALL) is not None
    judge(fold, "b", 3)
    waited = 0
    while fold.next_migrant("a", ALL) is None:
        judge(fold, "b", 100 + waited, 0.0, "screened")
        waited += 1
    assert waited > REST_INTERVALS * 2 - 1  # two candidates make an interval of two islands
    assert fold.next_migrant("a", ALL).experiment == 3


def test_without_a_topology_nothing_migrates():
    """With topology none nothing is offered, whatever was kept."""
    fold = fold_of(*islands("a", "b"))
    judge(fold, "a", 1)
    assert fold.next_migrant("b", Migration("none")) is None


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_simulated_run_keeps_all_rules_of_migration(topology):
    """Interval, rate, rest, topology and origins, counted from the ledger by other means."""
    migration = Migration(topology, every=2, rate=0.5)
    plan = RunPlan(RatchetPolicy(), 4, 300, migration=migration)
    one = simulate_run(Conditions(HARSH, sigma=0.25), plan, 3)
    names, met, went, takers = [], {}, {}, Counter()
    own, offered, origins = 0, 0, {}
    for event in one.events:
        interval = own // (2 * 4)
        match event:
            case ev.IslandOpened():
                names.append(event.island)
                met[event.island] = set()
            case ev.ProposalReceived():
                origins[event.experiment] = event.experiment
            case ev.MigrantOffered():
                migrant, offered = event.migrant, offered + 1
                origins[event.experiment] = migrant.origin
                assert migrant.origin == origins[migrant.experiment]
                assert migrant.island in sources("complete", names, event.island, 0)
                if topology in {"ring", "star"}:
                    assert migrant.island in sources(topology, names, event.island, 0)
                assert migrant.origin not in met[event.island]
                met[event.island].add(migrant.origin)
                takers[interval, event.island] += 1
                back = went.get((event.island, migrant.island), -REST_INTERVALS - 1)
                assert interval - back > REST_INTERVALS
                went[migrant.island, event.island] = interval
            case ev.CandidateAdmitted() if origins[event.experiment] == event.experiment:
                own += 1
            case ev.VerdictReached() if event.verdict == "keep":
                met[event.island].add(origins[event.experiment])
    assert offered > 5
    assert set(takers.values()) == {1}
    assert max(Counter(interval for interval, _ in takers).values()) <= 2


def test_two_runs_of_one_seed_migrate_alike():
    """Their ledgers are equal byte for byte."""
    plan = RunPlan(RatchetPolicy(), 3, 120, migration=Migration("random", every=2))
    one, two = (simulate_run(Conditions(HARSH, sigma=0.5), plan, 5) for _ in range(2))
    assert [ev.encode(event) for event in one.events] == [ev.encode(event) for event in two.events]
    assert any(isinstance(event, ev.MigrantOffered) for event in one.events)


def test_the_prior_of_proposals_ignores_migrants():
    """It is learnt from the screens of the run's own proposals alone."""
    plan = RunPlan(RatchetPolicy(null_rate=0.0), 3, 200, migration=Migration("complete"))
    one = simulate_run(Conditions(HARSH, sigma=0.25), plan, 2)
    brought = {e.experiment for e in one.events if isinstance(e, ev.MigrantOffered)}
    ended = [e.started for e in one.events if isinstance(e, ev.TrialEnded)]
    scored = {
        e.started.trial
        for e in one.events
        if isinstance(e, ev.TrialEnded) and not e.outcome.failure
    }
    own = [t for t in ended if t.purpose == "screen" and t.experiment not in brought]
    assert len(one.state.screens) == sum(t.trial in scored for t in own)
    assert brought


def test_a_change_that_migrated_is_one_part_of_a_stack():
    """However many islands keep it, the stack has it once, as the first island kept it."""
    plan = RunPlan(RatchetPolicy(null_rate=0.0), 3, 200, migration=Migration("complete"))
    one = simulate_run(Conditions(HARSH, sigma=0.25), plan, 2)
    origins = Counter(change.origin for change in one.state.keeps.values())
    claims = one.state.stacks.kept
    assert max(origins.values()) > 1
    assert len(claims) == len(origins)
    for claim in claims.values():
        assert claim.beside < set(claims)


def test_separate_runs_report_the_best_claim_and_count_all_trials():
    """They divide the trials, are independent, and the largest claim is the result."""
    plan = RunPlan(RatchetPolicy(), 1, 120, runs=3)
    cell = StudyCell("r", "harsh", Conditions(HARSH, sigma=0.25), plan)
    (result,) = study([cell], 1, 7, 1, lambda: None)
    seed = seed_of(7, "night", 0)
    single = replace(plan, trials=40, runs=1)
    runs = [tally(simulate_run(cell.conditions, single, seed_of(seed, "run", k))) for k in range(3)]
    assert result.claimed.mean == max(run.claimed for run in runs)
    assert result.trials.mean == sum(run.trials for run in runs) == 120
    assert result.keeps.mean == sum(run.keeps for run in runs)


# verdicts on real git


class Sums(LabExecutor):
    """Scores a commit by the sum of all numbers that its genome names."""

    async def run(self, trial):
        await asyncio.sleep(self.seconds)
        self.trials.append(trial)
        worth = sum(
            float(line.partition("=")[2])
            for entry in self.branches.files(trial.commit).values()
            for line in entry.data.decode().splitlines()
            if "=" in line
        )
        return self.outcome(trial, 10.0 - worth)

    def outcome(self, trial, score):
        """Return a scored outcome, with a noise that depends on the seed and the commit."""
        noise = Random(f"{trial.seed}/{trial.commit}").gauss(0, 0.01)
        return Outcome(
            trial.id, "lab", "namespaces", score=score + noise, seconds={"budget": self.seconds}
        )


class Maker:
    """Makes one change if its head still lacks it, then proposes what is worse.

    A port is answered by `port`: files, or an AgentError for each time it is asked.
    """

    name = "lab"

    def __init__(self, made, port=None):
        self.made, self.port, self.ports = made, port, []

    async def propose(self, brief):
        await asyncio.sleep(1.0)
        if brief.port is not None:
            self.ports.append(brief.port)
            answer = self.port(brief, len(self.ports))
            if isinstance(answer, AgentError):
                raise answer
            return Proposal("port", answer)
        files = self.made(brief.genome)
        if files:
            return Proposal("its own idea", files)
        worse = Entry(f"J = {-0.5 - brief.experiment / 1000}\n".encode())
        return Proposal("worse", {"genome/idle.txt": worse})

    def learn(self, attempt):
        pass


TRAIN = "A = 1\nB = 1\nC = 1\nD = 1\nE = 1\n"
START = {
    "genome/train.py": TRAIN,
    "genome/extra.py": "X = 1\nY = 1\nZ = 1\nW = 1\nV = 1\n",
    "genome/idle.txt": "idle\n",
}


def puts(path, old, new):
    """Return an agent's idea: replace `old` by `new` in `path` (or where that went)."""

    def made(genome):
        text = genome.get(path, "")
        return {path: Entry(text.replace(old, new).encode())} if old in text else None

    return made


def renames(old, new, before, after):
    """Return the idea to move a file, changing a line of it."""

    def made(genome):
        if old not in genome:
            return None
        return {old: None, new: Entry(genome[old].replace(before, after).encode())}

    return made


def deletes(path):
    """Return the idea to delete a file, which is a gain where its numbers are below zero."""
    return lambda genome: {path: None} if path in genome else None


def gives_up(brief, times):
    """Answer a port as the mutator does where nothing fits."""
    return AgentError("unapplied", "it does not fit")


def conduct(repo, ideas, port=gives_up, trials=44, topology="ring", **parts):
    """Conduct a run of two islands on real git, on virtual time; return it."""

    async def main():
        branches = Branches(repo, "lab", ("genome",))
        plan = launch(
            repo.parent,
            limits=RunLimits(trials=trials),
            ratchet=RatchetPolicy(null_rate=0.0),
            migration=Migration(topology, every=2),
            base=git(repo, "rev-parse", "main"),
            genome=("genome",),
        )
        plan = replace(plan, entry="genome/train.py")
        run = Run(
            launch=plan,
            branches=branches,
            executor=Sums(branches, seconds=20.0),
            agents={f"i{n}": Maker(idea, port) for n, idea in enumerate(ideas)},
            offload=inline,
            now=lambda: asyncio.get_running_loop().time(),
            **{"ledger": MemoryLedger(), **parts},
        )
        await run_islands(run)
        return run

    return run_virtual(main())


def results(run):
    """Return each migrant's verdict, or the rule that refused it, by the island it came to."""
    rules = {}
    experiments = {e.experiment: e for e in run.ledger.kept if isinstance(e, ev.MigrantOffered)}
    for event in run.ledger.kept:
        if isinstance(event, ev.ProposalRefused) and event.experiment in experiments:
            rules[event.island] = event.rule
        if isinstance(event, ev.VerdictReached) and event.experiment in experiments:
            rules[event.island] = event.verdict
    return rules


def texts(run, island):
    """Return an island's head as text by path."""
    files = run.branches.files(run.state.islands[island].head)
    return {path: entry.data.decode() for path, entry in files.items()}


TRAINED, EXTRA = "genome/train.py", "genome/extra.py"

CASES = {
    "lines apart": (
        (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "E = 1", "E = 2")),
        ["keep"],  # by the island that is first offered the other's; the other then adopts its head
    ),
    "adjacent lines": (
        (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "B = 1", "B = 2")),
        ["conflict", "conflict"],
    ),
    "the same line": (
        (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "A = 1", "A = 3")),
        ["conflict", "conflict"],
    ),
    "the same line alike": (
        (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "A = 1", "A = 2")),
        ["present", "present"],
    ),
    "one renames what the other edits": (
        (renames(EXTRA, "genome/moved.py", "X = 1", "X = 2"), puts(EXTRA, "V = 1", "V = 2")),
        ["keep"],  # by the island that is first offered the other's; the other then adopts its head
    ),
    "one deletes what the other edits": (
        (deletes(EXTRA), puts(EXTRA, "V = -1", "V = 2")),
        ["conflict", "conflict"],
    ),
}


def repository(tmp_path, case):
    """Make the repository that a case begins with."""
    files = dict(START)
    if "deletes" in case:
        files[EXTRA] = files[EXTRA].replace("1", "-1")
    return make(tmp_path / "repo", files)


@pytest.mark.parametrize("case", CASES)
def test_changes_of_two_islands_meet_and_get_the_right_verdict(tmp_path, case):
    """No case stops the run, refs and ledger agree, and a change that works on both is on both."""
    ideas, wanted = CASES[case]
    repo = repository(tmp_path, case)
    run = conduct(repo, ideas)
    assert list(results(run).values()) == wanted
    assert run.state.trials == 44
    for name, island in run.state.islands.items():
        assert git(repo, "rev-parse", f"refs/heads/swarm/lab/{name}") == island.head
    held = git(repo, "for-each-ref", "--format=%(objectname)", "refs/swarm/lab/tried").split()
    candidates = [e.commit for e in run.ledger.kept if isinstance(e, ev.CandidateAdmitted)]
    assert sorted(held) == sorted(candidates)
    if wanted == ["keep"]:
        assert texts(run, "i0") == texts(run, "i1")
    if "renames" in case:
        assert texts(run, "i1")["genome/moved.py"] == "X = 2\nY = 1\nZ = 1\nW = 1\nV = 2\n"


def test_a_conflict_becomes_a_port_task_with_both_sides_once(tmp_path):
    """The agent sees the change and its own head; its answer is judged like any proposal."""

    def port(brief, times):
        assert brief.port.before[TRAINED] == TRAIN
        assert brief.genome[TRAINED] != TRAIN
        if times == 1:
            return AgentError("rate", "slow down", retry_after=30.0)
        text = brief.genome[TRAINED]
        for line in ("A = ", "B = "):
            text = text.replace(f"{line}1", f"{line}2")
        return {TRAINED: Entry(text.encode())}

    ideas, _ = CASES["adjacent lines"]
    run = conduct(repository(tmp_path, ""), ideas, port)
    assert (
        texts(run, "i0")[TRAINED]
        == texts(run, "i1")[TRAINED]
        == TRAIN.replace("A = 1\nB = 1", "A = 2\nB = 2")
    )
    ported = [e for e in run.ledger.kept if isinstance(e, ev.ProposalReceived) and e.origin]
    assert Counter(e.island for e in ported) == {"i0": 1, "i1": 1}
    failures = [e for e in run.ledger.kept if isinstance(e, ev.AgentFailed) and e.origin]
    assert {(e.island, e.error_kind) for e in failures} == {("i0", "rate"), ("i1", "rate")}
    for island in run.state.islands.values():
        assert len({kept.origin for kept in island.kept}) == len(island.kept) == 2


def test_a_conflict_that_cannot_be_ported_is_recorded_and_asked_once(tmp_path):
    """One answer ends the port, whatever it is."""
    ideas, _ = CASES["the same line"]
    run = conduct(repository(tmp_path, ""), ideas)
    failed = [e for e in run.ledger.kept if isinstance(e, ev.AgentFailed)]
    assert Counter((e.island, bool(e.origin)) for e in failed) == {("i0", True): 1, ("i1", True): 1}
    assert [len(agent.ports) for agent in run.agents.values()] == [1, 1]
    assert not run.state.migrants.ports


def test_the_mutator_ports_values_and_gives_up_if_none_fits():
    """It matches values in the syntax tree, where git sees conflicting lines."""
    head = {"train.py": "def f():\n    a = 0.5\n    b = 3.0\n    return a * b\n"}
    before = {"train.py": head["train.py"].replace("3.0", "1.0")}
    gain = Gain(0.1, 0.01, 2)
    value = {"train.py": before["train.py"].replace("0.5", "0.7")}
    port_brief = replace(brief(head), port=Change(4, "b", "more a", gain, before, value))
    (entry,) = asyncio.run(Mutator().propose(port_brief)).files.values()
    assert entry.data.decode() == head["train.py"].replace("0.5", "0.7")
    body = {"train.py": "def f():\n    c = 1\n    return [c for _ in range(3)]\n"}
    port_brief = replace(brief(head), port=Change(4, "b", "another way", gain, before, body))
    with pytest.raises(AgentError, match="does not fit"):
        asyncio.run(Mutator().propose(port_brief))


def test_a_port_prompt_shows_the_change():
    """It has the diff, the hypothesis and the instruction, and no nudge."""
    before, after = {"train.py": "a = 1\n"}, {"train.py": "a = 2\n"}
    port = Change(4, "b", "Double a", Gain(0.1, 0.01, 2), before, after)
    plain = render(brief({"train.py": "a = 5\n"})).request
    shown = render(replace(brief({"train.py": "a = 5\n"}), port=port)).request
    assert "-a = 1\n+a = 2" in shown
    assert '"Double a"' in shown
    assert "Make that change to the files above" in shown
    assert not any(nudge in shown for nudge in NUDGES)
    assert any(nudge in plain for nudge in NUDGES)


# killed runs


def test_a_migration_that_is_killed_anywhere_resumes_to_the_same_end(tmp_path):
    """After any event, with the refs as they were then or just before the next event."""
    ideas, _ = CASES["lines apart"]
    repo, shots = repository(tmp_path, ""), []
    short = {"trials": 30, "topology": "star"}

    def refs():
        prefixes = ("refs/heads/swarm", "refs/swarm")
        listed = git(repo, "for-each-ref", "--format=%(refname) %(objectname)", *prefixes)
        return dict(line.split(" ") for line in listed.splitlines())

    whole = conduct(repo, ideas, watch=lambda *_: shots.append(refs()), **short)
    events = whole.ledger.kept
    (begun,) = (n for n, event in enumerate(events) if isinstance(event, ev.MigrantOffered))
    number = events[begun].experiment
    mine = [n for n, event in enumerate(events) if getattr(event, "experiment", 0) == number]
    for cut in sorted({n + 1 for n in mine} | {mine[-1] + 2}):
        for then in [shots[cut - 1], shots[cut]][shots[cut - 1] == shots[cut] :]:
            deletes = "".join(f"delete {ref}\n" for ref in refs() if ref not in then)
            updates = "".join(f"update {ref} {commit}\n" for ref, commit in then.items())
            git(repo, "update-ref", "--stdin", stdin=(deletes + updates).encode())
            run = conduct(repo, ideas, ledger=MemoryLedger(events[:cut]), **short)
            assert results(run) == results(whole) == {"i0": "keep"}
            for name, island in run.state.islands.items():
                assert texts(run, name) == texts(whole, name)
                assert refs()[f"refs/heads/swarm/lab/{name}"] == island.head


# program.md


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("{topology: rings}", "4: migration.topology must be none, ring, star, complete or random"),
        ("{every: 0}", "4: migration.every must be a whole number from 1"),
        ("{rate: 0}", "4: migration.rate must be a share above 0, 1 at most"),
        ("{rate: 1.5}", "4: migration.rate must be a share above 0, 1 at most"),
        ("{often: 3}", "4: migration.often is no key"),
        ("ring", "4: migration must be settings"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(value, complaint):
    """The error names file, line, key and the valid values."""
    front = f"---\ntask: packing\ngenome: [genome/]\nmigration: {value}\n---\n\nPack.\n"
    with pytest.raises(SetupError) as refused:
        read_program(front, "program.md", None)
    assert str(refused.value).startswith(f"program.md:{complaint}")
