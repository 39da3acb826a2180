"""Run-level steps: stack checks, promotions, the consensus.

islands/scheduling/run_steps.py decides what comes next. A step is recorded once it is done, so a
killed coordinator repeats nothing that is recorded: a promotion without a verdict is resumed, and a
consensus without its event is built again, to the same commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.contract import SetupError
from islands import events as ev
from islands import trailers
from islands.genome.categories import categories
from islands.git.branches import changed_files
from islands.promotion import consensus
from islands.promotion.attempt import PromotionRequest
from islands.promotion.state import Attribution, Promotions
from islands.records import CheckRequest, Conflict, Contender, Entry, TrialRequest
from islands.scheduling.island_steps import out_of_ideas
from islands.scheduling.run_steps import (
    BuildConsensus,
    DraftConsensus,
    PromoteStep,
    RunStep,
    ScoreSealed,
    SettleMerges,
    StackStep,
    next_of_stack,
)
from islands.stacking.check import Assemble, Claim, EndCheck
from islands.stacking.design import budget
from swarm.coordinator.run import Run

SPARE_TRIALS = 4
"""Trials that each island's open experiment may still take when the last stack check starts."""


async def execute(run: Run, step: RunStep) -> None:  # noqa: C901 - one case for each kind
    """Execute a step other than a trial."""
    match step:
        case StackStep(parts):
            start_stack_check(run, parts)
        case Assemble():
            await assemble_stack(run, step)
        case EndCheck(judged):
            run.record(judged)
        case PromoteStep(request):
            await start_promotion(run, request)
        case SettleMerges():
            end_promotion(run)
        case DraftConsensus(promoted):
            await draft_consensus(run, promoted)
        case BuildConsensus(promoted):
            await build_consensus(run, promoted)
        case ScoreSealed(scored):
            if run.state.promotions.sealed is None:
                run.record(scored)
        case TrialRequest() | CheckRequest():
            raise ValueError("trials and checks are run by the island loop")


def start_stack_check(run: Run, parts: tuple[int, ...]) -> None:
    """Record the start of a stack check."""
    run.record(run.state.stacks.opening(run.state.run.base, parts, run.state.scores.noise().pair))


def stack_check_fits(run: Run, parts: tuple[int, ...]) -> bool:
    """Return whether a whole stack check, run on one slice, fits into the launch's limits."""
    cost = budget(len(parts))
    return run.limits.fits(cost, cost * run.state.run.rungs[0].seconds)


def last_stack_check(run: Run) -> StackStep | None:
    """Return the check to start now because later none would fit, None if one still would."""
    stacks, policy = run.state.stacks, run.launch.stacking
    parts = stacks.due(policy, run.limits.limits.trials or run.state.trials, last=True)
    if not parts or not stack_check_fits(run, parts):
        return None
    cost, spare = budget(len(parts)), SPARE_TRIALS * len(run.launch.islands)
    roomy = run.limits.fits(cost + spare, (cost + SPARE_TRIALS) * run.state.run.rungs[0].seconds)
    finished = out_of_ideas(run.state, (island.name for island in run.launch.islands))
    return None if roomy and not finished else StackStep(parts)


def trials_reserved(run: Run) -> bool:
    """Return whether the open stack check needs all trials that are left, and can have them now."""
    check, max_trials = run.state.stacks.open, run.limits.limits.trials
    if check is None or max_trials is None:
        return False
    active = (i.name for i in run.launch.islands if i.name not in run.state.steering.paused)
    if not check.running and not any(next_of_stack(run.state, name) for name in active):
        return False
    open_ = sum(island.experiment is not None for island in run.state.islands.values())
    return run.state.trials + check.cost + 2 * open_ >= max_trials


async def close_early(run: Run) -> None:
    """End the open stack check on the trials it has, since no more can start."""
    while (check := run.state.stacks.open) is not None and not check.running:
        step = check.early()
        if step is None or isinstance(step, TrialRequest | CheckRequest):
            return
        await execute(run, step)


async def assemble_stack(run: Run, step: Assemble) -> None:
    """Commit the stack of the step's parts, and record the commit or the conflict."""
    async with run.lock(f"stack check {step.check}"):  # else two islands write its refs
        check = run.state.stacks.open
        if check is None or check.event.number != step.check:
            return
        if frozenset(step.parts) in {*check.made, *check.stuck}:
            return  # another island assembled it meanwhile
        when = int(check.event.recorded)
        assembled = await run.offload(_assemble_stack, run, step, dict(check.claims), when)
        if run.state.stacks.open is check:  # else a part was quarantined meanwhile
            run.record(assembled)


def _assemble_stack(
    run: Run, step: Assemble, claims: Mapping[int, Claim], when: int
) -> ev.StackCheckAssembled:
    tip = step.base
    for place, part in enumerate(step.parts, 1):
        claim = claims[part]
        files = run.branches.apply_change(claim.parent, claim.commit, tip)
        if isinstance(files, Conflict):
            paths = ", ".join(files.paths)
            return ev.StackCheckAssembled(step.check, step.parts, "", paths, step.base, part)
        name = "-".join(map(str, step.parts[:place]))
        values: trailers.Values = {"Run": run.state.run.run, "Experiment": part}
        subject = _attribution(run.state.promotions, part).hypothesis.strip().partition("\n")[0]
        text = f"{subject[:100] or 'Change'}\n\n{trailers.write(values)}"
        tip = run.branches.commit_under_ref(f"stacks/{step.check}/{name}", tip, files, text, when)
    return ev.StackCheckAssembled(step.check, step.parts, tip, base=step.base)


def promotion_fits(run: Run, request: PromotionRequest) -> bool:
    """Return whether a whole promotion fits into the launch's limits."""
    trials, rung = run.launch.promotion.trials, run.state.run.rungs[request.rung]
    slices = len({island.slice.name for island in run.launch.islands})
    return run.limits.fits(trials, trials * rung.seconds / max(1, slices))


async def start_promotion(run: Run, request: PromotionRequest, *, alone: bool = False) -> None:
    """Start a promotion: of the stack `alone`, or with its parts and the best near misses."""
    promotions, policy = run.state.promotions, run.launch.promotion
    contenders = (
        () if alone else await run.offload(_categorised, run, promotions.contenders(request))
    )
    # while this one read files, another island may have started one, or a part been quarantined
    if promotions.open is not None or not promotions.is_sound(request):
        return
    hidden_left = policy.hidden - len(promotions.hidden_queries)
    run.record(
        ev.PromotionStarted(
            number=promotions.count() + 1,
            rung=request.rung,
            base=request.base,
            commit=request.commit,
            parts=request.parts,
            before=request.before,
            contenders=contenders,
            seeds=policy.seeds,
            trials=policy.trials,
            hidden="hidden" in run.launch.splits and hidden_left > 0,
            timed=run.state.time_use.whole,
            stack=request.stack,
        )
    )


async def rebase_consensus(run: Run, onto: str) -> None:
    """Rebase the consensus on `onto`, the target branch's new head, and start to measure it.

    Raises SetupError if it conflicts with `onto`, or if `onto` holds all of it already.
    """
    promotions = run.state.promotions
    built = promotions.consensus
    if built is None:
        raise ValueError("there is no consensus to rebase")
    promoted = promotions.promotion_of(built)
    files = await run.offload(run.branches.apply_change, built.base, built.commit, onto)
    if isinstance(files, Conflict):
        paths = ", ".join(files.paths)
        raise SetupError(
            f"conflict in {paths}: {run.state.run.target} has changed there too; merge"
            f" {built.commit[:12]} by hand"
        )
    if not files:
        raise SetupError(f"{run.state.run.target} has all of the consensus: nothing to merge")
    ref, text = f"promotions/{promotions.count() + 1}", f"Rebase the consensus on {onto[:12]}\n"
    commit = await run.offload(
        run.branches.commit_under_ref, ref, onto, files, text, int(built.recorded)
    )
    request = PromotionRequest(promoted.rung, onto, commit, built.parts, promoted.after)
    await start_promotion(run, request, alone=True)


def end_promotion(run: Run) -> None:
    """Record the verdict of the open promotion."""
    open_ = run.state.promotions.open
    if open_ is not None:
        run.record(open_.judged(run.state.run.rungs[open_.event.rung].seconds))


async def draft_consensus(run: Run, promoted: ev.PromotionEnded) -> None:
    """Commit the parts of a promoted stack one by one, so that trials can check each commit."""
    async with run.lock(consensus.NAME):  # else two islands write its refs
        drafted = run.state.promotions.drafted
        if drafted is None or drafted.promotion != promoted.number:
            changes = await run.offload(_write_parts, run, promoted)
            run.record(ev.ConsensusDrafted(promoted.number, promoted.base, tuple(changes)))


async def build_consensus(run: Run, promoted: ev.PromotionEnded) -> None:
    """Record the promoted stack as the consensus, then move the consensus branch to it."""
    async with run.lock(consensus.NAME):
        promotions = run.state.promotions
        if promotions.unbuilt_promotion() != promoted or promotions.drafted is None:
            return
        changes: list[str] = list(promotions.drafted.changes)
        broken = [not promotions.prefix_runs.get(commit, True) for commit in changes]
        if any(broken):
            changes = await run.offload(_write_parts, run, promoted, broken)
            if promotions.unbuilt_promotion() != promoted:
                return  # a part was quarantined meanwhile
        old = promotions.branch
        run.record(
            ev.ConsensusMoved(
                promotion=promoted.number,
                base=promoted.base,
                old=old,
                commit=changes[-1],
                parts=promoted.parts,
                changes=tuple(changes),
            )
        )
        await run.branch_sync.move(consensus.NAME, changes[-1], old)


def _categorised(run: Run, contenders: list[Contender]) -> tuple[Contender, ...]:
    """Return the contenders with the categories of what each changes."""
    return tuple(
        replace(
            contender,
            kinds=categories(_text(run, contender.parent), _text(run, contender.commit)),
        )
        for contender in contenders
    )


def _text(run: Run, commit: str) -> dict[str, str]:
    files = run.branches.files(commit)
    return {path: entry.data.decode(errors="replace") for path, entry in files.items()}


def _write_parts(run: Run, promoted: ev.PromotionEnded, broken: Sequence[bool] = ()) -> list[str]:
    """Write one commit for each part and return them; one for all parts if some conflict.

    `broken` says after which parts the genome does not run: these are committed with the next one.
    """
    promotions, name = run.state.promotions, run.state.run.run
    wanted = run.branches.files(promoted.commit)
    steps = _one_by_one(run, promoted)
    if not steps or dict(steps[-1][1]) != dict(wanted):
        makers = [_attribution(promotions, part) for part in promoted.parts]
        steps = [(consensus.stack_message(name, promoted, makers), wanted)]
    folder = "joined" if any(broken) else consensus.NAME  # of refs
    tip, before, commits, texts = promoted.base, run.branches.files(promoted.base), list[str](), ""
    for place, (text, files) in enumerate(steps):
        texts = f"{texts}\n{text}" if texts else text
        if place < len(broken) and broken[place]:
            continue
        ref, changed = f"{folder}/{promoted.number}/{place + 1}", changed_files(before, files)
        tip = run.branches.commit_under_ref(ref, tip, changed, texts, int(promoted.recorded))
        commits.append(tip)
        before, texts = files, ""
    return commits


def _one_by_one(run: Run, promoted: ev.PromotionEnded) -> list[tuple[str, Mapping[str, Entry]]]:
    """Return each part's commit message and the genome after it; nothing if one conflicts."""
    promotions, name = run.state.promotions, run.state.run.run
    tip, now = promoted.base, dict(run.branches.files(promoted.base))
    steps = list[tuple[str, Mapping[str, Entry]]]()
    for place, part in enumerate(promoted.parts, 1):
        change = promotions.changes.get(part)
        if change is None:
            return []
        files = run.branches.apply_change(change.parent, change.commit, tip)
        if isinstance(files, Conflict):
            return []
        if not files:
            continue  # another part made the same change
        text = consensus.message(name, promoted, change, _attribution(promotions, part))
        after = {**now, **files}
        now = {path: entry for path, entry in after.items() if entry is not None}
        tip = run.branches.commit_under_ref(
            f"drafts/{promoted.number}/{place}", tip, files, text, int(promoted.recorded)
        )
        steps.append((text, dict(now)))
    return steps


def _attribution(promotions: Promotions, part: int) -> Attribution:
    return promotions.attributions.get(part, consensus.UNKNOWN)
