"""Run-level work: promotions are begun and judged, the consensus is built.

What comes next is decided in islands/errands.py; a step is recorded once it is done, and nothing
is done twice where a coordinator was killed in between: a promotion without its verdict is gone on
with, and a consensus without its event is built again, to the very same commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from islands import consensus
from islands import events as ev
from islands.errands import Build, Errand, Promote, Settle
from islands.kinds import kinds
from islands.plan import Measure
from islands.promotion import Credit, Promotions, Wish
from islands.records import Conflict, Contender, Entry
from swarm.run import Run


async def do(run: Run, step: Errand) -> None:
    """Do a step other than a trial."""
    match step:
        case Promote(wish):
            await open_promotion(run, wish)
        case Settle():
            settle(run)
        case Build(promoted):
            await build(run, promoted)
        case Measure():
            raise ValueError("trials are for the island's loop")


def affordable(run: Run, wish: Wish) -> bool:
    """Return whether a whole promotion fits into what the launch has left."""
    trials, rung = run.launch.promotion.trials, run.state.run.rungs[wish.rung]
    slices = len({island.slice.name for island in run.launch.islands})
    return run.room(trials, trials * rung.seconds / max(1, slices))


async def open_promotion(run: Run, wish: Wish, *, alone: bool = False) -> None:
    """Begin a promotion, of the stack `alone` or with its parts and the best near misses."""
    known, policy = run.state.promotions, run.launch.promotion
    contenders = () if alone else await run.offload(_tagged, run, known.contenders(wish))
    if known.open is not None:  # another island was first, while this one read files
        return
    left = policy.hidden - len(known.hidden)
    run.record(
        ev.PromotionOpened(
            check=known.checks() + 1,
            rung=wish.rung,
            base=wish.base,
            commit=wish.commit,
            parts=wish.parts,
            before=wish.before,
            contenders=contenders,
            seeds=policy.seeds,
            trials=policy.trials,
            hidden="hidden" in run.launch.parts and left > 0,
            stack=wish.stack,
        )
    )


def settle(run: Run) -> None:
    """Record what the open promotion came to."""
    known = run.state.promotions
    if known.open is not None:
        run.record(known.open.judged(run.state.run.rungs[known.open.event.rung].seconds))


async def build(run: Run, promoted: ev.Promoted) -> None:
    """Bring the consensus branch to the stack that was promoted: record it, then move the ref."""
    changes = await run.offload(_written, run, promoted)
    known = run.state.promotions
    if known.unbuilt() != promoted:
        return
    old = known.consensus.commit if known.consensus is not None else ""
    run.record(
        ev.ConsensusMoved(
            check=promoted.check,
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
        replace(each, kinds=kinds(_text(run, each.parent), _text(run, each.commit)))
        for each in contenders
    )


def _text(run: Run, commit: str) -> dict[str, str]:
    files = run.branches.files(commit)
    return {path: entry.data.decode(errors="replace") for path, entry in files.items()}


def _written(run: Run, promoted: ev.Promoted) -> list[str]:
    """Write one commit for each part, or one for all where they do not go on one by one."""
    commits = _one_by_one(run, promoted)
    wanted = run.branches.files(promoted.commit)
    if commits and dict(run.branches.files(commits[-1])) == dict(wanted):
        return commits
    known, name = run.state.promotions, run.state.run.run
    text = consensus.whole(name, promoted, [_credit(known, part) for part in promoted.parts])
    files = _difference(run.branches.files(promoted.base), wanted)
    held = f"{consensus.NAME}/{promoted.check}/whole"
    return [run.branches.hold(held, promoted.base, files, text, int(promoted.recorded))]


def _one_by_one(run: Run, promoted: ev.Promoted) -> list[str]:
    known, name = run.state.promotions, run.state.run.run
    tip, commits = promoted.base, list[str]()
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
        held = f"{consensus.NAME}/{promoted.check}/{place}"
        tip = run.branches.hold(held, tip, files, text, int(promoted.recorded))
        commits.append(tip)
    return commits


def _credit(known: Promotions, part: int) -> Credit:
    return known.credits.get(part, consensus.NOBODY)


def _difference(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> dict[str, Entry | None]:
    paths = sorted(before.keys() | after.keys())
    return {path: after.get(path) for path in paths if before.get(path) != after.get(path)}
