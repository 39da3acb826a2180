"""What comes home, and what it says of itself: the message of the merge, and of a pull request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from textwrap import shorten

from harness.contract import SetupError
from islands import events as ev
from islands.promotion.attempt import PromotionRequest
from islands.promotion.state import Attribution
from islands.quarantine import REASON
from islands.records import Gain
from islands.state.population import IslandState
from islands.state.run_state import State


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What is to be merged: commit `head` of the consensus, or (`forced`) of an island or stack.

    `island` is "" where it is not one's head.
    """

    head: str
    base: str
    parts: tuple[int, ...]
    gain: Gain
    island: str = ""
    forced: bool = False


def choose(state: State, name: str) -> IslandState:
    """Return island `name`, or the one with the largest gain where it is empty.

    Raises SetupError where there is none, or where it has kept nothing.
    """
    if name and name not in state.islands:
        raise SetupError(f"no island {name!r}: the run has {', '.join(state.islands)}")
    among = [state.islands[name]] if name else [*state.islands.values()]
    kept = [island for island in among if island.kept]
    if not kept:
        raise SetupError("nothing was kept yet: let the swarm run on with `swarm launch`")
    return max(kept, key=lambda island: state.gain(island) or -math.inf)


def select(state: State, name: str, *, force: bool) -> MergePlan:
    """Return what `swarm merge` brings home.

    That is the consensus; by `force` the island called `name`, or where it is empty a stack that
    was judged and not promoted, or the best island. Raises SetupError where there is none.
    """
    what = _coming(state, name, force=force)
    parts = [state.promotions.changes[part].commit for part in what.parts]
    apart = state.quarantines.commits & {what.head, *parts}
    if apart:
        which = ", ".join(sorted(commit[:10] for commit in apart))
        raise SetupError(f"{which} was set apart: {REASON}; `swarm launch` goes on without it")
    return what


def _coming(state: State, name: str, *, force: bool) -> MergePlan:
    built, known = state.promotions.consensus, state.promotions
    if force:
        return _forced(state, name)
    if name:
        raise SetupError(
            f"--island {name}: an island's head is not promoted; `swarm promote` and merge the"
            " consensus, or add --force-unpromoted"
        )
    if built is not None:
        promoted = next(each for each in known.ended if each.number == built.promotion)
        return MergePlan(built.commit, built.base, built.parts, promoted.after)
    choose(state, "")  # says so where there is nothing to promote, either
    last = f"the last promotion {known.ended[-1].verdict}" if known.ended else "nothing is promoted"
    if known.ended and known.ended[-1].verdict == "transfers":
        last = "what was promoted last is not built yet, or was set apart since"
    raise SetupError(
        f"{last}: `swarm promote` measures the best stack again, `swarm merge --force-unpromoted`"
        " merges it as it is"
    )


def _forced(state: State, name: str) -> MergePlan:
    judged = state.promotions.checked_stack
    if not name and judged is not None and judged[0].verdict != "conflict" and judged[0].parts:
        stack, base = judged
        return MergePlan(stack.commit, base, stack.parts, stack.observed, forced=True)
    island = choose(state, name)
    parts = tuple(change.experiment for change in island.kept)
    base, gain = state.run.base, total(state, island)
    return MergePlan(island.head, base, parts, gain, island.opened.island, forced=True)


def wish(state: State) -> PromotionRequest | None:
    """Return the stack to promote next: the last one judged to gain, else the best head."""
    known = state.promotions
    stack = known.checked_stack[0] if known.checked_stack is not None else None
    if stack is not None and stack.verdict != "conflict" and stack.observed.mean > 0:
        return known.due()
    if not any(island.kept for island in state.islands.values()):
        return None
    island = choose(state, "")
    parts = tuple(change.experiment for change in island.kept)
    return known.at_next_rung(
        PromotionRequest(1, state.run.base, island.head, parts, total(state, island))
    )


def total(state: State, island: IslandState) -> Gain:
    """Return the sum of the kept changes' gains, with its standard error.

    Each was measured on pairs of its own, on seeds that had no part in choosing it, and is shrunk:
    their errors are independent and add in squares.
    """
    gains = [change.gain for change in island.kept]
    noise = math.sqrt(math.fsum(gain.noise**2 for gain in gains))
    return Gain(state.gain(island) or 0.0, noise, sum(gain.pairs for gain in gains))


def plan(state: State, what: MergePlan, lines: tuple[int, int]) -> str:
    """Return what is about to come home and on what evidence, as Markdown for a person.

    `lines` are those added to the genome and removed from it.
    """
    run, gain = state.run, what.gain
    title = what.island or ("a stack that is not promoted" if what.forced else "the consensus")
    came = f"{title} of run {run.run}: {len(what.parts)} changes"
    told = [
        f"{came}, {run.metric} {gain.format()} on {gain.pairs} fresh pairs",
        "",
        *_changes(state, what),
        "",
        f"Lines of the genome: +{lines[0]} -{lines[1]}.",
        *_evidence(state, what),
    ]
    return "\n".join(told) + "\n"


def _changes(state: State, what: MergePlan) -> list[str]:
    rows = []
    for part in what.parts:
        change, credit = state.promotions.changes[part], _credit(state, part)
        subject = shorten(credit.hypothesis.strip().partition("\n")[0], 100, placeholder=" ...")
        by = f"{credit.island}, {credit.agent}, ${credit.usd:.2f}"
        rows.append(f"- #{part} {subject}: {change.before.format()} ({by})")
    return rows


def _credit(state: State, part: int) -> Attribution:
    return state.promotions.attributions.get(part, Attribution("?", "?", 0.0, "Change"))


def _evidence(state: State, what: MergePlan) -> list[str]:
    """Return a line for the promotion, the stack check, its ablation, and the sealed part."""
    known, told = state.promotions, list[str]()
    promoted = None if what.forced else promotion_of(state)
    if promoted is not None:
        told.append(f"Promotion {promoted.number}: {promoted.verdict}, {promoted.reason}.")
        if len(state.run.rungs) == 1:
            told.append("There is one rung: this is that rung again, on fresh seeds.")
    if known.checked_stack is not None and known.checked_stack[0].parts == what.parts:
        told += _checked(known.checked_stack[0])
    if known.sealed is not None:
        whose = "" if known.sealed.commit == what.head else f" (of {known.sealed.commit[:10]})"
        told.append(f"Sealed part, asked once{whose}: {known.sealed.gain.format()}.")
    return told


def _checked(stack: ev.StackCheckEnded) -> list[str]:
    dropped = ", ".join(f"#{part}" for part in stack.dropped) or "nothing"
    if stack.verdict == "conflict":  # nothing was measured
        return [f"Stack check {stack.number}: conflict, {dropped} does not apply beside the rest."]
    sums = f"sum of the parts {stack.expected.format()}, whole {stack.observed.format()}"
    off = f"interaction {stack.interaction.format()}"
    return [
        f"Stack check {stack.number}: {stack.verdict}, {sums}, {off}.",
        f"Ablation dropped {dropped}, which saves {stack.lines_saved} lines.",
    ]


def promotion_of(state: State) -> ev.PromotionEnded | None:
    """Return the promotion that the consensus stands on, None where there is no consensus."""
    known = state.promotions
    check = known.consensus.promotion if known.consensus is not None else 0
    return next((each for each in known.ended if each.number == check), None)


def message(state: State, what: MergePlan, lines: tuple[int, int], link: str) -> str:
    """Return the merge's message: what `plan` says, and its evidence in trailers.

    `link` is the ledger's last one: with the merge it stands where the ledger's writer cannot
    change it, and `swarm verify` looks for it there.
    """
    run, gain, promoted = state.run, what.gain, promotion_of(state)
    trailers = {"Run": run.run}
    score, base = _scores(state, what)
    if what.island:
        trailers |= {"Island": what.island}
    if score:
        trailers |= {"Score": f"{score:.8g}"}
    trailers |= {"Gain": f"{gain.mean:+.6g}±{gain.noise:.2g}", "Seeds": f"{gain.pairs}"}
    if promoted is not None and not what.forced:
        bit = {True: "better", False: "not better", None: "not asked"}[promoted.hidden]
        trailers |= {"Rung": f"{promoted.rung}", "Hidden": bit}
    sealed = state.promotions.sealed
    if sealed is not None and sealed.commit == what.head:
        trailers |= {"Sealed": f"{sealed.gain.mean:+.6g}±{sealed.gain.noise:.2g}"}
    if what.forced:
        trailers |= {"Forced": "unpromoted"}
    trailers |= {"Head": what.head, "Harness": run.harness, "Ledger": link}
    told = "".join(f"Swarm-{name}: {value}\n" for name, value in trailers.items())
    change = f"{base:.6g} to {score:.6g}" if score else gain.format()
    subject = f"{run.metric} {change}"
    whose = what.island or ("stack" if what.forced else "consensus")
    body = plan(state, what, lines)
    return f"Merge swarm {run.run}/{whose}: {subject}\n\n{body}\n{told}{_kept(state, what)}"


def _scores(state: State, what: MergePlan) -> tuple[float, float]:
    """Return an island's head's score and the base's, zeros where both are at another rung."""
    if not what.island:
        return 0.0, 0.0
    return state.score(what.head) or 0.0, state.score(state.run.base) or 0.0


def _kept(state: State, what: MergePlan) -> str:
    rows = ((part, state.promotions.changes[part]) for part in what.parts)
    return "".join(
        f"Swarm-Kept: {change.commit} gain={change.before.mean:+.6g}±{change.before.noise:.2g}"
        f" seeds={change.before.pairs} experiment={part}\n"
        for part, change in rows
    )
