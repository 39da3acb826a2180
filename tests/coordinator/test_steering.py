"""Steering: a person's commands during a run on virtual time, and which are refused."""

import asyncio
import math
from dataclasses import replace

import pytest

from harness.contract import SetupError
from islands import events as ev
from islands.events import steering as se
from islands.migration import Migration
from islands.records import Entry, Proposal
from islands.state.run_state import State
from islands.state.steering import Steering
from islands.steering import (
    AddNote,
    DropChange,
    PauseIslands,
    RestartIsland,
    ResumeIslands,
    SetLimits,
    StopLaunch,
    WithdrawNote,
    accept,
    decode_command,
    encode_command,
)
from swarm.agents.llm.prompt import render
from swarm.coordinator.brief import Briefer
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.limits import passed, require_trials_left
from swarm.coordinator.task_tree import run_islands
from swarm.executors.base import VoidError
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import (
    GENOME,
    SECONDS,
    LabAgent,
    LabExecutor,
    MemoryBranches,
    MemoryLedger,
    make_run,
)


def raised(x):
    """Return a proposal that makes the true score better by `x` in all."""
    return Proposal(f"X to {x}", {GENOME: Entry(f"X = {x}\n".encode())})


def steered(tmp_path, *commands, **parts):
    """Return a laboratory run to which `commands` are said, each at its virtual second.

    A command may be a function of the run that returns one.
    """

    async def say(run):
        start = asyncio.get_running_loop().time()
        for n, (when, command) in enumerate(commands):
            await asyncio.sleep(start + when - asyncio.get_running_loop().time())
            run.steer(command(run) if callable(command) else command, f"r{n}")

    async def main():
        run = make_run(tmp_path, **{"limits": RunLimits(trials=40)} | parts)
        talking = asyncio.create_task(say(run))
        await run_islands(run)
        talking.cancel()
        return run

    return run_virtual(main())


def after(run, kind):
    """Return the events after the first one of a kind."""
    events = run.ledger.kept
    place = next(n for n, event in enumerate(events) if isinstance(event, kind))
    return events[place + 1 :]


def agrees(run):
    """Return whether a fresh fold of the ledger gives the state, and branches follow it."""
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    heads = {name: island.head for name, island in run.state.islands.items()}
    return fresh.islands == run.state.islands and run.branches.heads == heads


def test_a_paused_island_starts_no_trial_until_it_is_resumed(tmp_path):
    """The other one goes on; the trial under way ends."""
    pause, resume = (6 * SECONDS, PauseIslands("i0")), (16 * SECONDS, ResumeIslands())
    run = steered(tmp_path, pause, resume)
    later = after(run, se.IslandsPaused)
    place = next(n for n, event in enumerate(later) if isinstance(event, se.IslandsResumed))
    started = [e.island for e in later[:place] if isinstance(e, ev.TrialStarted)]
    assert started and set(started) == {"i1"}
    asked = [e for e in later[:place] if isinstance(e, ev.ProposalReceived) and e.island == "i0"]
    assert len(asked) <= 1  # the call that was under way
    assert any(e.island == "i0" for e in later[place:] if isinstance(e, ev.TrialStarted))
    assert run.state.trials == 40 and agrees(run)


def test_a_launch_stops_once_its_trials_have_ended(tmp_path):
    """No trial starts after the word, paused islands stop too, and nothing is left open."""
    run = steered(tmp_path, (50, PauseIslands("i0")), (6.5 * SECONDS, StopLaunch()))
    later = after(run, se.StopAsked)
    assert not [event for event in later if isinstance(event, ev.TrialStarted)]
    assert later[-1].limit == "person" and not run.state.running
    with pytest.raises(SetupError, match="not running"):
        accept(run.state, StopLaunch(), "r", running=False)
    assert make_again(tmp_path, run).state.trials == 40


def busy_machine(tmp_path, *commands, **parts):
    """Return a run on one slice that others disturb from its sixth trial on, steered so."""
    branches = MemoryBranches()
    faults = {n: VoidError("busy!", "busy") for n in range(6, 99)}
    executor = LabExecutor(branches, faults=faults)
    return steered(tmp_path, *commands, branches=branches, executor=executor, islands=1, **parts)


def test_a_launch_that_pauses_after_a_void_trial_stops_at_once(tmp_path):
    """No trial runs then, so there is nothing to wait for: not even the pause of 320 s."""
    run = busy_machine(tmp_path, (700, StopLaunch()))
    voids = [e for e in run.ledger.kept if isinstance(e, ev.TrialVoided)]
    assert 700 - 320 < voids[-1].recorded < 700 - SECONDS
    stopped = run.ledger.kept[-1]
    assert (stopped.recorded, stopped.limit) == (700.0, "person")
    assert not [e for e in after(run, se.StopAsked) if isinstance(e, ev.TrialStarted)]


@pytest.mark.parametrize(
    ("limits", "ends"), [({"minutes": 12}, 720 - SECONDS), ({"trials": 1}, 700)]
)
def test_a_limit_set_during_a_pause_ends_it(tmp_path, limits, ends):
    """Fewer minutes end it at the last moment for a trial, too few trials at once."""
    run = busy_machine(tmp_path, (700, SetLimits(limits)), limits=RunLimits(minutes=60))
    (limit,) = limits
    assert run.ledger.kept[-1].limit == limit
    pauses = [e.recorded for e in run.ledger.kept if isinstance(e, ev.TrialVoided)]
    begun = [e.recorded for e in run.ledger.kept if isinstance(e, ev.TrialStarted)]
    assert begun[-1] <= ends and pauses[-1] <= 720
    assert run.ledger.kept[-1].recorded == pytest.approx(720 if limit == "minutes" else 700)


def test_a_check_goes_on_when_the_launch_gets_more_minutes(tmp_path):
    """It was to end with the minutes that the launch had when it began."""
    branches = MemoryBranches()
    executor = LabExecutor(branches)
    check = executor.check

    async def slow(trial):
        await asyncio.sleep(400.0)
        return await check(trial)

    executor.check = slow
    run = steered(
        tmp_path,
        (60, SetLimits({"minutes": 60})),
        branches=branches,
        executor=executor,
        checks=("pytest",),
        limits=RunLimits(minutes=5, trials=8),
    )
    assert run.limit == "trials" and run.state.base_checked


def make_again(tmp_path, run):
    """Return a run that resumes the ledger of one."""
    parts = {"ledger": MemoryLedger(run.ledger.kept), "branches": run.branches}
    return steered(tmp_path, (1, ResumeIslands()), **parts)


def test_a_note_stands_in_the_briefs_of_its_island_until_it_is_withdrawn(tmp_path):
    """Quoted in the rules' part of the prompt, line by line, as the person's words."""
    said = [
        (1, AddNote("try shorter\nwarmups")),
        (2, AddNote("leave\tX alone", "i1")),
        (3, AddNote("gone")),
        (4, WithdrawNote(3)),
    ]
    run = steered(tmp_path, *said, limits=RunLimits(trials=6))
    brief = {
        name: Briefer(run.branches.files, "").brief(run.state, name, 9) for name in ("i0", "i1")
    }
    assert brief["i0"].notes == ("try shorter\nwarmups",)
    assert brief["i1"].notes == ("try shorter\nwarmups", "leave\tX alone")
    prompt = render(brief["i1"], 4000)
    assert prompt.system.endswith("> try shorter\n> warmups\n\n> leave\tX alone")


def kept_first(run):
    """Return the first change that a run kept, and the base's head."""
    return next(iter(run.state.keeps.values()))


def climbing():
    """Return agents of which the first makes three good steps, the second none."""
    steps = {n: raised(x) for n, x in enumerate((0.2, 0.4, 0.6), 1)}
    return {"i0": LabAgent(script=steps), "i1": LabAgent(step=0.0001)}


def test_an_island_restarts_from_a_change_that_it_had_kept(tmp_path):
    """Its open experiment ends within a trial; it stays there though another island leads."""
    back = (45 * SECONDS, lambda run: RestartIsland(kept_first(run).commit[:9], "i0"))
    migration = Migration("complete")
    run = steered(
        tmp_path, back, agents=climbing(), migration=migration, limits=RunLimits(trials=130)
    )
    (asked,) = [e for e in run.ledger.kept if isinstance(e, se.RestartAsked)]
    until = after(run, se.RestartAsked)
    until = until[: [isinstance(e, se.IslandRestarted) for e in until].index(True)]
    assert sum(isinstance(e, ev.TrialStarted) and e.island == "i0" for e in until) <= 1
    later = after(run, se.IslandRestarted)
    screened = [e for e in later if isinstance(e, ev.CandidateAdmitted | ev.CandidateRebased)]
    assert next(e.parent for e in screened if e.island == "i0") == asked.commit
    assert run.state.islands["i0"].heads[1] == asked.commit
    assert agrees(run)


def test_a_dropped_change_is_left_with_all_that_is_built_on_it(tmp_path):
    """On its island and on the one that adopted it; agents are told the truth about it."""
    drop = (45 * SECONDS, lambda run: DropChange(kept_first(run).experiment))
    migration = Migration("complete")
    run = steered(
        tmp_path, drop, agents=climbing(), migration=migration, limits=RunLimits(trials=110)
    )
    (quarantine,) = [e for e in run.ledger.kept if isinstance(e, ev.CommitQuarantined)]
    assert (quarantine.trial, len(quarantine.heads)) == ("", 2)
    assert "a person dropped" in quarantine.reason
    assert not run.state.quarantines.commits & {i.head for i in run.state.islands.values()}
    reasons = {
        e.reason for e in after(run, ev.CommitQuarantined) if isinstance(e, ev.VerdictReached)
    }
    assert not any("invalid" in reason for reason in reasons)
    shown = [a for i in run.state.islands.values() for a in i.recent_attempts]
    assert not any("invalid" in attempt.reason for attempt in shown)
    assert agrees(run)


@pytest.mark.parametrize("kind", ["restart", "drop", "stop", "limits"])
def test_what_follows_from_a_command_survives_a_kill_right_after_it(tmp_path, kind):
    """The coordinator that resumes goes on as if the one before had lived."""
    commands = {
        "restart": lambda run: RestartIsland(kept_first(run).commit, "i0"),
        "drop": lambda run: DropChange(kept_first(run).experiment),
        "stop": StopLaunch(),
        "limits": SetLimits({"trials": 95.0}),
    }
    parts = {"agents": climbing(), "limits": RunLimits(trials=110)}
    run = steered(tmp_path, (45 * SECONDS, commands[kind]), **parts)
    place = next(n for n, e in enumerate(run.ledger.kept) if getattr(e, "request", ""))
    parts = {"ledger": MemoryLedger(run.ledger.kept[: place + 1]), "branches": run.branches}
    at_kill = State()
    at_kill.apply_all(run.ledger.kept[: place + 1])
    run.branches.heads = {name: island.head for name, island in at_kill.islands.items()}
    again = steered(tmp_path, agents=climbing(), limits=RunLimits(trials=110), **parts)
    later = again.ledger.kept[place + 1 :]
    first = {type(event) for event in later}
    if kind == "restart":
        assert se.IslandRestarted in first
    if kind == "drop":
        assert isinstance(later[1], ev.CommitQuarantined)  # the first thing after the resume
    assert again.state.trials == (95 if kind == "limits" else 110)
    assert agrees(again)


@pytest.mark.parametrize("limit", ["trials", "stop_at", "stall"])
def test_limits_hold_from_the_next_trial_on(tmp_path, limit):
    """Also those that the launch had not."""
    values = {"trials": 20.0, "stop_at": 1.95, "stall": 3.0}
    set_ = (15 * SECONDS, SetLimits({limit: values[limit]}))
    agents = {name: LabAgent(script={1: raised(0.1)}) for name in ("i0", "i1")}
    run = steered(tmp_path, set_, agents=agents, limits=RunLimits(trials=200))
    reached = {"trials": "trials", "stop_at": "score", "stall": "stall"}[limit]
    assert run.ledger.kept[-1].limit == reached
    assert run.state.trials < 60


def test_the_later_word_on_a_limit_wins(quiet):
    """The launch's own options over earlier launches', a command over both; None lifts."""
    steering = Steering()
    steering.apply(se.LimitsSet({"trials": 9.0, "usd": None}))
    plan = RunLimits(trials=5, usd=1.0, minutes=2.0, asked=frozenset({"trials"}))
    assert plan.over(steering) == replace(plan, trials=9, usd=None)
    steering.apply(ev.RunResumed())
    assert plan.over(steering) == replace(plan, usd=None)


def test_a_command_is_taken_once(tmp_path):
    """One that a killed coordinator had recorded is answered, not recorded again."""
    run = steered(tmp_path, (1, AddNote("a")), limits=RunLimits(trials=6))
    before = len(run.ledger.kept)
    assert run.steer(AddNote("a"), "r0").number == 1
    assert len(run.ledger.kept) == before


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (AddNote("hello", "zz"), "'zz': no such island; islands of lab: i0, i1"),
        (AddNote("  "), "a note needs words"),
        (AddNote("x" * 2001), "at most 2000 characters and this one 2001"),
        (AddNote("\x1b[2J"), "take out its control characters"),
        (WithdrawNote(4), "note 4: no such note; notes in force: none"),
        (PauseIslands("zz"), "no such island"),
        (ResumeIslands("i0"), "i0 is not paused"),
        (ResumeIslands(), "no island is paused"),
        (RestartIsland("base", "i0"), "base is the head of i0 already"),
        (RestartIsland("beefbeef", "i0"), "not the base of lab and kept by none"),
        (RestartIsland("b", "i0"), "give more characters"),
        (DropChange(10**6), "#1000000: no such experiment in lab"),
        (DropChange(1), "#1 is not kept"),
        (SetLimits({}), "name a limit"),
        (SetLimits({"minutes": -1.0}), "--minutes -1: a limit is a number above zero, or none"),
        (
            SetLimits({"minutes": 1e308}),
            "--minutes 1e+308: a limit is a number up to 1e+12, or none",
        ),
        (SetLimits({"usd": 0.0}), "--usd 0: a limit is a number above zero, or none"),
        (SetLimits({"trials": 0.5}), "--trials 0.5: a limit is a whole number above zero, or none"),
        (SetLimits({"tokens": 1.5}), "--tokens 1.5: a limit is a whole number above zero, or none"),
        (SetLimits({"stall": 0.2}), "--stall 0.2: a limit is a whole number above zero, or none"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(quiet, command, line):
    """Before anything is recorded."""
    with pytest.raises(SetupError) as refusal:
        accept(quiet, command, "r", running=True)
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Return the state of a run that has kept nothing."""
    agents = {name: LabAgent(step=0.0001) for name in ("i0", "i1")}
    folder = tmp_path_factory.mktemp("quiet")
    return steered(folder, limits=RunLimits(trials=8), agents=agents).state


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_limit_is_a_number_that_json_has(value):
    """Else null would travel to the coordinator, and lift the limit."""
    with pytest.raises(SetupError, match=r"--usd (nan|inf): a limit is a number"):
        SetLimits({"usd": value})
    with pytest.raises(SetupError, match="--usd nan: a limit is a number"):
        decode_command(b'{"command": "limits", "limits": {"usd": NaN}}')


def test_commands_travel_as_json():
    """Anything else is refused in a line."""
    for command in (AddNote("a\n\u202eb", "i0"), SetLimits({"usd": None}), StopLaunch()):
        assert decode_command(encode_command(command)) == command
    for wrong in (b"{", b"[]", b'{"command": "rm"}', b'{"command": "drop", "experiment": "x"}'):
        with pytest.raises(SetupError, match="not a steering command"):
            decode_command(wrong)


def finished(tmp_path, *limits):
    """Return the state of a run after 6 trials, with limits that a person has set since."""
    run = steered(tmp_path, limits=RunLimits(trials=6))
    for each in limits:
        run.state.apply(se.LimitsSet(each, "r"))
    return run.state


def test_used_up_trials_are_refused_with_what_lifts_the_limit_in_force(tmp_path):
    """That of program.md, or that of `swarm limits`; a new one in program.md holds over both."""
    past, plan = finished(tmp_path / "a"), RunLimits(trials=6)
    with pytest.raises(SetupError, match=r"raise `trials` under `limits` in program\.md"):
        require_trials_left(plan, past)
    require_trials_left(RunLimits(trials=7), past)
    past = finished(tmp_path / "b", {"trials": 3.0})
    for program in (plan, RunLimits(trials=9)):
        with pytest.raises(SetupError, match=r"limit is 3: .* or `swarm limits --trials N` \(or"):
            require_trials_left(program, past)
    require_trials_left(RunLimits(trials=9), past, se.ProgramRevised("c", (), ("trials",)))
    with pytest.raises(SetupError, match=r"limit is 5: .* in program.md and commit it"):
        require_trials_left(RunLimits(trials=5), past, se.ProgramRevised("c", (), ("trials",)))
    require_trials_left(plan, finished(tmp_path / "c", {"trials": None}))


def test_trials_that_a_command_asks_for_hold_over_what_was_set_before_it(tmp_path):
    """Of `swarm limits` on a stopped run: `launch --trials N` and `promote` begin after it."""
    past = finished(tmp_path, {"trials": 3.0})
    asked = frozenset({"trials"})
    require_trials_left(RunLimits(trials=9, asked=asked), past)
    require_trials_left(RunLimits(asked=asked), past)


def test_limits_that_a_run_has_reached_are_named(tmp_path):
    """Those that are lifted, of time, or further away are not."""
    state = finished(tmp_path)
    best = min(state.scores.mean(island.head) for island in state.islands.values())
    near = {"trials": 6.0, "tokens": 10.0**12, "usd": None, "minutes": 1.0, "stop_at": best}
    assert passed(near, state) == ["6 trials", "a head with that score"]
    assert passed({"trials": 7.0, "stop_at": best - 1}, state) == []
    assert passed({"stall": 1.0}, state) == [f"{state.claimless} trials without a claim"]
