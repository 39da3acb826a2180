"""Run-level work: stacks are checked, promotions begun and judged, the consensus is built.

What comes next is decided in islands/scheduling/run_steps.py; a step is recorded once it is done,
and nothing
is done twice where a coordinator was killed in between: a promotion without its verdict is gone on
with, and a consensus without its event is built again, to the very same commits.
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
from islands.records import Conflict, Contender, Entry, TrialRequest
from islands.scheduling.run_steps import (
    BuildConsensus,
    DraftConsensus,
    PromoteStep,
    RunStep,
    ScoreSealed,
    SettleMerges,
    StackStep,
)
from islands.stacking.check import Assemble, Claim, EndCheck
from islands.stacking.design import budget
from swarm.coordinator.run import Run

SPARE_TRIALS = 4
"""Trials an island that an experiment may still take when the last stack check is to begin."""


async def execute(run: Run, step: RunStep) -> None:  # noqa: C901 - one line for each
    """Do a step other than a trial."""
    match step:
        case StackStep(parts):
            start_stack_check(run, parts)
        case Assemble():
            await assemble_stack(run, step)
        case EndCheck(judged):
            run.record(judged)
        case PromoteStep(wish):
            await start_promotion(run, wish)
        case SettleMerges():
            end_promotion(run)
        case DraftConsensus(promoted):
            await draft_consensus(run, promoted)
        case BuildConsensus(promoted):
            await build_consensus(run, promoted)
        case ScoreSealed(scored):
            if run.state.promotions.sealed is None:
                run.record(scored)
        case TrialRequest():
            raise ValueError("trials are for the island's loop")


def start_stack_check(run: Run, parts: tuple[int, ...]) -> None:
    """Begin a stack check."""
    run.record(run.state.stacks.opening(run.state.run.base, parts, run.state.scores.noise().pair))


def stack_check_fits(run: Run, parts: tuple[int, ...]) -> bool:
    """Return whether a whole stack check, all on one slice, fits into what the launch has left."""
    cost = budget(len(parts))
    return run.limits.fits(cost, cost * run.state.run.rungs[0].seconds)


def last_stack_check(run: Run) -> StackStep | None:
    """Return the check to begin now because soon there is no room for it, None for none."""
    known, policy = run.state.stacks, run.launch.stacking
    parts = known.due(policy, run.limits.limits.trials or run.state.trials, last=True)
    if not parts or not stack_check_fits(run, parts):
        return None
    cost, spare = budget(len(parts)), SPARE_TRIALS * len(run.launch.islands)
    roomy = run.limits.fits(cost + spare, (cost + SPARE_TRIALS) * run.state.run.rungs[0].seconds)
    return None if roomy else StackStep(parts)


def trials_reserved(run: Run) -> bool:
    """Return whether all trials that are left are for the stack check under way."""
    check, most = run.state.stacks.open, run.limits.limits.trials
    if check is None or most is None:
        return False
    begun = sum(island.experiment is not None for island in run.state.islands.values())
    return run.state.trials + check.cost + 2 * begun >= most


async def close_early(run: Run) -> None:
    """End the stack check under way, where there are no more trials, on what is known."""
    while (check := run.state.stacks.open) is not None and not check.running:
        need = check.early()
        if need is None or isinstance(need, TrialRequest):
            return
        await execute(run, need)


async def assemble_stack(run: Run, step: Assemble) -> None:
    """Put parts together in the object database, and record what came of it."""
    async with run.lock(f"stack check {step.check}"):  # two islands would meet on its refs
        check = run.state.stacks.open
        known = check is None or frozenset(step.parts) in {*check.made, *check.stuck}
        if check is None or known or check.event.number != step.check:
            return
        when = int(check.event.recorded)
        run.record(await run.offload(_assembled, run, step, dict(check.claims), when))


def _assembled(
    run: Run, step: Assemble, claims: Mapping[int, Claim], when: int
) -> ev.StackCheckAssembled:
    tip = step.base
    for place, part in enumerate(step.parts, 1):
        claim = claims[part]
        files = run.branches.apply_change(claim.parent, claim.commit, tip)
        if isinstance(files, Conflict):
            where = ", ".join(files.paths)
            return ev.StackCheckAssembled(step.check, step.parts, "", where, step.base, part)
        name = "-".join(map(str, step.parts[:place]))
        values: trailers.Values = {"Run": run.state.run.run, "Experiment": part}
        text = f"Stack {name}\n\n{trailers.write(values)}"
        tip = run.branches.commit_under_ref(f"stacks/{step.check}/{name}", tip, files, text, when)
    return ev.StackCheckAssembled(step.check, step.parts, tip, base=step.base)


def promotion_fits(run: Run, wish: PromotionRequest) -> bool:
    """Return whether a whole promotion fits into what the launch has left."""
    trials, rung = run.launch.promotion.trials, run.state.run.rungs[wish.rung]
    slices = len({island.slice.name for island in run.launch.islands})
    return run.limits.fits(trials, trials * rung.seconds / max(1, slices))


async def start_promotion(run: Run, wish: PromotionRequest, *, alone: bool = False) -> None:
    """Begin a promotion, of the stack `alone` or with its parts and the best near misses."""
    known, policy = run.state.promotions, run.launch.promotion
    contenders = () if alone else await run.offload(_tagged, run, known.contenders(wish))
    if known.open is not None:  # another island was first, while this one read files
        return
    left = policy.hidden - len(known.hidden_queries)
    run.record(
        ev.PromotionStarted(
            number=known.count() + 1,
            rung=wish.rung,
            base=wish.base,
            commit=wish.commit,
            parts=wish.parts,
            before=wish.before,
            contenders=contenders,
            seeds=policy.seeds,
            trials=policy.trials,
            hidden="hidden" in run.launch.splits and left > 0,
            stack=wish.stack,
        )
    )


async def rebase_consensus(run: Run, onto: str) -> None:
    """Begin to measure the consensus anew on the commit `onto`, where its branch has gone since.

    Raises SetupError where it does not go there, and where all of it is there already.
    """
    known = run.state.promotions
    built, last = known.consensus, known.ended[-1]
    if built is None:
        raise ValueError("there is no consensus to rebase")
    files = await run.offload(run.branches.apply_change, built.base, built.commit, onto)
    if isinstance(files, Conflict):
        where = ", ".join(files.paths)
        raise SetupError(f"conflict in {where}: {run.state.run.target} has changed there too")
    if not files:
        raise SetupError(f"{run.state.run.target} has all of the consensus: nothing to merge")
    held, text = f"promotions/{known.count() + 1}", f"Rebase the consensus on {onto[:12]}\n"
    commit = await run.offload(
        run.branches.commit_under_ref, held, onto, files, text, int(built.recorded)
    )
    wish = PromotionRequest(last.rung, onto, commit, built.parts, last.after)
    await start_promotion(run, wish, alone=True)


def end_promotion(run: Run) -> None:
    """Record what the open promotion came to."""
    known = run.state.promotions
    if known.open is not None:
        run.record(known.open.judged(run.state.run.rungs[known.open.event.rung].seconds))


async def draft_consensus(run: Run, promoted: ev.PromotionEnded) -> None:
    """Commit the parts of a promoted stack one by one, to see that each commit runs."""
    async with run.lock(consensus.NAME):  # two islands would meet on its refs
        known = run.state.promotions
        if known.drafted is None or known.drafted.promotion != promoted.number:
            changes = await run.offload(_written, run, promoted)
            run.record(ev.ConsensusDrafted(promoted.number, promoted.base, tuple(changes)))


async def build_consensus(run: Run, promoted: ev.PromotionEnded) -> None:
    """Bring the consensus branch to the stack that was promoted: record it, then move the ref."""
    async with run.lock(consensus.NAME):
        known = run.state.promotions
        if known.unbuilt_promotion() != promoted or known.drafted is None:
            return
        changes: list[str] = list(known.drafted.changes)
        broken = [not known.prefix_runs.get(each, True) for each in changes]
        if any(broken):
            changes = await run.offload(_written, run, promoted, broken)
        old = known.consensus.commit if known.consensus is not None else ""
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
        await run.offload(run.branches.advance, consensus.NAME, changes[-1], old)


def _tagged(run: Run, contenders: list[Contender]) -> tuple[Contender, ...]:
    return tuple(
        replace(each, kinds=categories(_text(run, each.parent), _text(run, each.commit)))
        for each in contenders
    )


def _text(run: Run, commit: str) -> dict[str, str]:
    files = run.branches.files(commit)
    return {path: entry.data.decode(errors="replace") for path, entry in files.items()}


def _written(run: Run, promoted: ev.PromotionEnded, broken: Sequence[bool] = ()) -> list[str]:
    """Write one commit for each part, or one for all where they do not go on one by one.

    After a part that is `broken` the genome does not run: it is committed with the next.
    """
    known, name = run.state.promotions, run.state.run.run
    wanted = run.branches.files(promoted.commit)
    steps = _one_by_one(run, promoted)
    if not steps or dict(steps[-1][1]) != dict(wanted):
        makers = [_credit(known, part) for part in promoted.parts]
        steps = [(consensus.whole(name, promoted, makers), wanted)]
    kind = "mended" if any(broken) else consensus.NAME
    tip, before, commits, texts = promoted.base, run.branches.files(promoted.base), list[str](), ""
    for place, (text, files) in enumerate(steps):
        texts = f"{texts}\n{text}" if texts else text
        if place < len(broken) and broken[place]:
            continue
        held, changed = f"{kind}/{promoted.number}/{place + 1}", changed_files(before, files)
        tip = run.branches.commit_under_ref(held, tip, changed, texts, int(promoted.recorded))
        commits.append(tip)
        before, texts = files, ""
    return commits


def _one_by_one(run: Run, promoted: ev.PromotionEnded) -> list[tuple[str, Mapping[str, Entry]]]:
    """Return what each part's commit says and the genome after it; nothing where one conflicts."""
    known, name = run.state.promotions, run.state.run.run
    tip, now = promoted.base, dict(run.branches.files(promoted.base))
    steps = list[tuple[str, Mapping[str, Entry]]]()
    for place, part in enumerate(promoted.parts, 1):
        change = known.changes.get(part)
        if change is None:
            return []
        files = run.branches.apply_change(change.parent, change.commit, tip)
        if isinstance(files, Conflict):
            return []
        if not files:
            continue  # another part brought the very same
        text = consensus.message(name, promoted, change, _credit(known, part))
        after = {**now, **files}
        now = {path: entry for path, entry in after.items() if entry is not None}
        tip = run.branches.commit_under_ref(
            f"drafts/{promoted.number}/{place}", tip, files, text, int(promoted.recorded)
        )
        steps.append((text, dict(now)))
    return steps


def _credit(known: Promotions, part: int) -> Attribution:
    return known.attributions.get(part, consensus.NOBODY)
