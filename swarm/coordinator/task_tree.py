"""The one task tree: opens or resumes a run, runs every island's loop, records how it stopped.

Every step is recorded before the next one, so a run that was stopped anywhere resumes from its
ledger. A step without an event counts as not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial

from harness.contract import HarnessError, SetupError
from islands import events as ev
from islands.records import RunLimit
from islands.state.population import Experiment
from islands.steering import decode_command
from swarm.coordinator.brief import Briefer
from swarm.coordinator.candidates import CandidateMaker, change_of, code_added
from swarm.coordinator.inbox import POLL_S, CommandReply
from swarm.coordinator.island_loop import IslandLoop, NextRunStep
from swarm.coordinator.proposer import Proposer, abandoned_call
from swarm.coordinator.run import Run
from swarm.coordinator.summaries import keep_summaries


async def run_islands(run: Run) -> RunLimit | None:
    """Run all islands until a limit is reached and return which one.

    Raises SetupError for what the user must fix, HarnessError where nothing can be measured.
    """
    await _until_done(run, partial(_islands, run))
    run.record(ev.RunStopped(_reason(run.limit), run.limit))
    return run.limit


async def run_steps_only(
    run: Run, next_of: NextRunStep, begin: Callable[[], Awaitable[None]]
) -> None:
    """Resume a stopped run, call `begin`, then execute the run-level steps of `next_of` alone.

    No agent is asked and no experiment is continued. Raises as `run_islands` does.
    """

    async def steps() -> None:
        await begin()
        await _loops(run, lambda loop: loop.run_steps_only(next_of))

    await _until_done(run, steps)
    run.record(ev.RunStopped(_reason(run.limit) if run.limit else "done", run.limit))


async def _until_done(run: Run, work: Callable[[], Awaitable[None]]) -> None:
    """Open or resume the run and do `work`; record it as stopped if that is cut short.

    Nothing is recorded where a resume is refused: the record keeps why the run stopped before.
    """
    last_sign = await _read(run)
    try:
        await _begin(run, last_sign)
        await work()
    except asyncio.CancelledError:
        run.record(ev.RunStopped("interrupted"))
        raise
    except (SetupError, HarnessError) as error:
        run.record(ev.RunStopped(f"error: {error}"))
        raise


def _reason(limit: RunLimit | None) -> str:
    return _REASONS.get(limit, f"limit: {limit}")


_REASONS: Mapping[RunLimit | None, str] = {
    "ideas": "out of ideas: no agent has anything left to try",
    "score": "a head has the score that was to be reached",
    "stall": "no claim in as many trials as it was given",
    "person": "stopped by `swarm stop`",
}


async def _islands(run: Run) -> None:
    await _loops(run, lambda loop: loop.run_experiments(), keep_summaries)


async def _no_summaries(run: Run, briefer: Briefer) -> None:
    """Ask nobody: for steps that a person asks for by hand."""


async def _loops(
    run: Run,
    start: Callable[[IslandLoop], Coroutine[None, None, None]],
    summaries: Callable[[Run, Briefer], Coroutine[None, None, None]] = _no_summaries,
) -> None:
    briefer = Briefer(run.branches.files, run.launch.prose)
    try:
        async with asyncio.TaskGroup() as tree:
            beside = [
                tree.create_task(_take_commands(run)),
                tree.create_task(summaries(run, briefer)),
            ]
            async with asyncio.TaskGroup() as group:
                for island in run.launch.islands:
                    proposer = Proposer(run, briefer, CandidateMaker(run, island))
                    loop = IslandLoop(run, island, proposer)
                    group.create_task(start(loop), name=island.name)
            for task in beside:
                task.cancel()
    # not `except*`: what Python 3.11.2 raises inside one comes out in a group again
    except BaseExceptionGroup as group_error:
        if (cause := stopping_error(group_error)) is None:
            raise
        error = cause
    else:
        return
    raise error from None


async def _take_commands(run: Run) -> None:
    """Carry out the commands that people send while the islands run."""
    while run.inbox is not None:
        for request in await run.offload(run.inbox.waiting):
            try:
                reply = CommandReply(run.steer(decode_command(request.command), request.id))
            except SetupError as error:
                reply = CommandReply(refused=str(error))
            await run.offload(run.inbox.answer, request, reply)
            await run.branch_sync.advance()
        await asyncio.sleep(POLL_S)


def stopping_error(group: BaseExceptionGroup[BaseException]) -> SetupError | HarnessError | None:
    """Return the first error of `group` that a user is told in a line; None if any is a bug."""
    ours, bugs = group.split((SetupError, HarnessError))
    if ours is None or bugs is not None:
        return None
    inner: BaseException = ours
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner if isinstance(inner, SetupError | HarnessError) else None


async def _read(run: Run) -> float:
    """Fold the ledger and return when its last event was recorded.

    Raises SetupError where the run cannot be resumed as it is launched now.
    """
    last_sign = 0.0
    for event in run.ledger.events():
        run.fold(event)
        last_sign = event.recorded
    if run.state.opened is not None:
        _check_unchanged(run.state.opened, run.launch.opening)
        await run.branch_sync.restore()
    return last_sign


async def _begin(run: Run, last_sign: float) -> None:
    """Record that the run begins or goes on, and settle what the last coordinator left open."""
    if run.state.opened is None:
        run.record(run.launch.opening)
    else:
        run.record(ev.RunResumed())
        if run.launch.revision is not None:
            run.record(run.launch.revision)
    for island in run.launch.islands:
        if island.name not in run.state.islands:
            branch, base = run.branches.branch(island.name), run.state.run.base
            run.record(ev.IslandOpened(island.name, branch, base, island.agent, island.slice))
        state = run.state.islands[island.name]
        if (state.slice, state.home) != (island.slice, island.slice):
            run.record(
                ev.IslandReassigned(island.name, island.slice, "launched so", permanent=True)
            )
    run.record_quarantines()
    await run.branch_sync.restore()
    run.bound_budget()
    _settle(run, last_sign)


def _check_unchanged(opened: ev.RunOpened, now: ev.RunOpened) -> None:
    """Raise SetupError if the run measures something else now: scores would not compare."""
    for name in ("task", "data", "metric", "direction", "genome", "checks", "rungs", "harness"):
        before, after = getattr(opened, name), getattr(now, name)
        if before != after:
            raise SetupError(
                f"run {opened.run} was opened with {name} {before!r}, and it is {after!r} now;"
                " put it back, or start a new run with --new"
            )


def _settle(run: Run, last_sign: float) -> None:
    """Record an end for what the last coordinator left open: trials, agent calls, proposals.

    `last_sign`: when it recorded its last event.
    """
    for trial in list(run.state.running.values()):
        run.record(ev.TrialVoided(trial, "the coordinator stopped", "lost", last_sign))
    for call in list(run.state.calls.open.values()):
        run.record(abandoned_call(call))
    for island in run.state.islands.values():
        for open_ in [e for e in (island.experiment, *island.queue) if e is not None]:
            if open_.state == "proposed":
                _settle_proposal(run, open_)


def _settle_proposal(run: Run, open_: Experiment) -> None:
    """Record a proposal as admitted if it was committed, else as lost."""
    number, island, branches = open_.number, open_.island, run.branches
    commit = branches.tried(number)
    if commit is not None:
        added, removed = branches.numstat(open_.parent, commit)
        code = code_added(run, open_.parent, commit)
        change = "" if open_.null else change_of(run, open_.parent, commit)
        run.record(
            ev.CandidateAdmitted(number, island, commit, open_.parent, added, removed, code, change)
        )
    elif not run.state.migrants.is_migrant(number):  # else the migrant is applied again
        lost = "the coordinator stopped before it was admitted"
        run.record(ev.ProposalRefused(number, island, "lost", lost))
