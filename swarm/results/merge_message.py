"""Text of a merge: a description for people (also of a pull request) and the commit message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten

from harness.contract import Evidence
from islands import events as ev
from islands import trailers
from islands.promotion.state import Attribution
from islands.state.run_state import State
from swarm.results.selection import MergePlan

UNKNOWN = Attribution("?", "?", 0.0, "Change")
"""Stands for the author of a change that the state has no attribution for."""


_ABOUT: Mapping[Evidence, str] = {
    "verified": "scores were computed without running the candidate's code",
    "reported": (
        "a process in which the candidate's code ran printed the scores; read the change before you"
        " rely on them"
    ),
}


def describe(state: State, plan: MergePlan, lines: tuple[int, int]) -> str:
    """Return what `plan` merges and the evidence for it, as Markdown.

    `lines` are how many lines it adds to the genome and removes from it.
    """
    run, gain = state.run, plan.gain
    title = plan.island or ("a stack that is not promoted" if plan.forced else "the consensus")
    changes, pairs = _count(len(plan.parts), "change"), _count(gain.pairs, "fresh pair")
    paragraphs = [
        f"{title} of run {run.run}: {changes}, gain {gain.format()} in {run.metric} on {pairs}",
        "",
        *_changes(state, plan),
        "",
        f"Lines of the genome: +{lines[0]} -{lines[1]}.",
        f"Evidence: {state.evidence}, {_ABOUT[state.evidence]}.",
        *_sandbox(state),
        *_evidence(state, plan),
    ]
    return "\n".join(paragraphs) + "\n"


def merge_message(state: State, plan: MergePlan, lines: tuple[int, int], link: str) -> str:
    """Return the merge's commit message: the description, then the evidence in trailers.

    `link` is the ledger's last link. Inside the merge it is out of reach of the ledger's writer,
    so `swarm verify` can compare the two.
    """
    run, (score, base) = state.run, _scores(state, plan)
    if score:
        subject = f"{run.metric} {base:.6g} to {score:.6g}"
    else:
        subject = f"gain {plan.gain.format()} in {run.metric}"
    source = plan.island or ("stack" if plan.forced else "consensus")
    text = trailers.write(merge_trailers(state, plan, link))
    body = describe(state, plan, lines)
    return f"Merge swarm {run.run}/{source}: {subject}\n\n{body}\n{text}"


def merge_trailers(state: State, plan: MergePlan, link: str) -> trailers.Values:
    """Return a merge's evidence, by key: what `swarm verify` compares with the ledger again."""
    score, _ = _scores(state, plan)
    gain, sealed = plan.gain, state.promotions.sealed
    promoted = _promotion(state, plan)
    values: dict[str, str | list[str]] = {"Run": state.run.run}
    if plan.island:
        values["Island"] = plan.island
    if score:
        values["Score"] = f"{score:.8g}"
    values |= {"Gain": f"{gain.mean:+.6g}±{gain.noise:.2g}", "Seeds": f"{gain.pairs}"}
    if promoted is not None:
        hidden = {True: "better", False: "not better", None: "not asked"}[promoted.hidden]
        values |= {"Rung": f"{promoted.rung}", "Hidden": hidden}
    if sealed is not None and sealed.commit == plan.head:
        values["Sealed"] = f"{sealed.gain.mean:+.6g}±{sealed.gain.noise:.2g}"
    if plan.forced:
        values["Forced"] = "unpromoted"
    kept = _kept(state, plan)
    values["Evidence"] = state.evidence
    return {**values, "Head": plan.head, "Harness": state.run.harness, "Ledger": link, "Kept": kept}


def _changes(state: State, plan: MergePlan) -> list[str]:
    """Return one line a change: experiment, hypothesis, gain, and who proposed it at what cost."""
    rows = []
    for part in plan.parts:
        change = state.promotions.changes[part]
        author = state.promotions.attributions.get(part, UNKNOWN)
        subject = shorten(author.hypothesis.strip().partition("\n")[0], 100, placeholder=" ...")
        by = f"{author.island}, {author.agent}, ${author.usd:.2f}"
        rows.append(f"- #{part} {subject}: {change.before.format()} ({by})")
    return rows


def _evidence(state: State, plan: MergePlan) -> list[str]:
    """Return a line each for the promotion, the stack check, its ablation and the sealed split."""
    promotions, lines = state.promotions, list[str]()
    promoted = _promotion(state, plan)
    if promoted is not None:
        lines.append(f"Promotion {promoted.number}: {promoted.verdict}, {promoted.reason}.")
        if len(state.run.rungs) == 1:
            lines.append("There is only one rung, so the promotion repeats it on fresh seeds.")
    if promotions.checked_stack is not None and promotions.checked_stack[0].parts == plan.parts:
        lines += _stack_check(state, promotions.checked_stack[0])
    if promotions.sealed is not None:
        sealed = promotions.sealed
        commit = "" if sealed.commit == plan.head else f" (for {sealed.commit[:10]})"
        lines.append(f"Sealed split, scored once{commit}: {sealed.gain.format()}.")
    return lines


def _promotion(state: State, plan: MergePlan) -> ev.PromotionEnded | None:
    """Return the promotion that `plan`, the consensus, is built from, None for any other plan."""
    built = state.promotions.consensus
    return None if plan.forced or built is None else state.promotions.promotion_of(built)


def _sandbox(state: State) -> list[str]:
    """Return a line where scores of the run are only as good as the candidates' honesty."""
    if state.weakest_sandbox != "none":
        return []
    return ["UNCONFINED: scores were made with --sandbox none; candidates may have written them."]


def _stack_check(state: State, stack: ev.StackCheckEnded) -> list[str]:
    if stack.verdict == "conflict":  # nothing was measured
        dropped = _named(stack.dropped)
        return [f"Stack check {stack.number}: conflict, {dropped} does not work with the others."]
    gains = f"sum of the parts {stack.expected.format()}, all together {stack.observed.format()}"
    interaction = f"interaction {stack.interaction.format()}"
    return [
        f"Stack check {stack.number}: {stack.verdict}, {gains}, {interaction}.",
        *_dropped(state, stack),
    ]


def _dropped(state: State, stack: ev.StackCheckEnded) -> list[str]:
    """Return a line for each change that does not fit in, and one for those that ablation drops."""
    apart = state.stacks.left_out.get(stack.number, {})
    lines = [f"Left out: #{part}, {apart[part]}." for part in stack.dropped if part in apart]
    dropped = [part for part in stack.dropped if part not in apart]
    saved = "" if lines else f", which saves {_count(stack.lines_saved, 'line')}"
    return [*lines, f"Ablation dropped {_named(dropped)}{saved}."]


def _named(parts: Sequence[int]) -> str:
    return ", ".join(f"#{part}" for part in parts) or "nothing"


def _scores(state: State, plan: MergePlan) -> tuple[float, float]:
    """Return the scores of an island's head and of the base; zeros for any other plan.

    Those of a consensus or stack are of another rung than the base's.
    """
    if not plan.island:
        return 0.0, 0.0
    return state.scores.mean(plan.head) or 0.0, state.scores.mean(state.run.base) or 0.0


def _kept(state: State, plan: MergePlan) -> list[str]:
    changes = [(part, state.promotions.changes[part]) for part in plan.parts]
    return [
        f"{change.commit} gain={change.before.mean:+.6g}±{change.before.noise:.2g}"
        f" seeds={change.before.pairs} experiment={part}"
        for part, change in changes
    ]


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
