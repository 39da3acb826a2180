"""Findings of `swarm check`: what trials of the base show, each with a severity and its fix.

Pure: outcomes in, findings out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from statistics import fmean

from harness.contract import Evidence
from islands.ratchet.guards import Guards, measures, missing_guards
from islands.ratchet.noise import spread
from islands.ratchet.policy import RatchetPolicy
from islands.ratchet.smallest_gain import smallest_gain
from swarm.check.failures import failures
from swarm.check.records import LEFT, SAW, BaseRuns, Finding, Severity, counted
from swarm.project.costs import CHECKS_FIX, FIX, raised_cost, unchecked_cost

HORIZONS = (100, 1_000)
"""Trials of the runs whose smallest gain is told."""

SHORT_S = 1.0
"""Seconds below which a trial is short: a longer one may be less noisy at little cost."""

COARSE_SHARE = 0.03
"""Share of the score that is a large smallest gain, where a trial is short."""

BUSY_SHARE = 0.05
"""Share of a trial's cores that other programs may use before it is said."""

NEAR_LIMIT = 0.9
"""Share of its limit that a trial may take before it is said."""

MANY_DEVIATIONS = 4.0
"""Standard deviations of a pair by which a score of a broken genome is another score."""

LEAST_SHARE = 0.05
"""Share of the score by which it is so, however few deviations that is: few trials know them."""

CACHED_SHARE = 0.6
"""Share of one run's seconds that a second run in the same place may take without a cache."""


def findings(runs: BaseRuns, policy: RatchetPolicy) -> list[Finding]:
    """Return all that `runs` show. Of a base without a score only the reason is worth telling."""
    failed = list(failures(runs))
    if not runs.scored:
        return failed
    found = [*failed, _score(runs), *_direction(runs), *_printed(runs), *_seeds(runs), _time(runs)]
    found += [
        *_load(runs),
        *_money(runs),
        *_guards(runs, policy.guards),
        *_reach(runs, policy),
        evidence_finding(runs.evidence, runs.printed_by),
        *_genome(runs),
        *_checks(runs),
        *_leftovers(runs),
    ]
    return [*found, Finding("ok", "view", f"a trial sees {runs.sees}")] if runs.sees else found


def worst(found: Sequence[Finding]) -> Severity:
    """Return the worst severity among findings."""
    ranks: tuple[Severity, ...] = ("ok", "warn", "error")
    return max((finding.severity for finding in found), key=ranks.index, default="ok")


def _score(runs: BaseRuns) -> Finding:
    scores = [score for each in runs.by_seed.values() for score in each]
    mean, sd = fmean(scores), spread(scores)
    share = f" ({sd / abs(mean):.2%} of it)" if mean else ""
    deviation = f", standard deviation {sd:.3g}{share}" if len(scores) > 1 else ""
    text = f"{runs.metric} {mean:.6g}{deviation}"
    return Finding("ok", "score", f"{text} on {counted(len(runs.by_seed), 'seed')}")


def _direction(runs: BaseRuns) -> Iterator[Finding]:
    if text := raised_cost(runs.task, runs.metric, runs.direction):
        yield Finding("warn", "direction", text, FIX)


def _printed(runs: BaseRuns) -> Iterator[Finding]:
    """Yield a finding where the metric is printed more than once with one value."""
    if runs.evidence == "verified":
        return
    form = re.compile(rf"(?:METRIC )?[\"']?{re.escape(runs.metric)}[\"']?\s*[:= ]\s*\S")
    count = max(
        sum(1 for line in trial.outcome.tail.splitlines() if form.match(line.strip(" {,")))
        for trial in runs.scored
    )
    if count > 1:
        text = f"{runs.metric} is printed {count} times; with different values it would be invalid"
        yield Finding("warn", "metric", text, "print it once, at the end")


def _seeds(runs: BaseRuns) -> Iterator[Finding]:
    """Yield whether the seed matters, and whether two runs with one seed agree."""
    repeated = [scores for scores in runs.by_seed.values() if len(scores) > 1]
    if len(repeated) < 2:  # noqa: PLR2004 - a spread of means takes two
        return
    within = math.sqrt(fmean([spread(scores) ** 2 for scores in repeated]))
    between = spread([fmean(scores) for scores in repeated])
    if within == 0:
        yield Finding("ok", "repeats", "two runs with one seed agree to the last digit")
    else:
        text = f"two runs with one seed differ, standard deviation {within:.3g}"
        yield Finding("ok", "repeats", f"{text}: pairs of trials decide")
    chance = within / math.sqrt(len(repeated[0]))
    if between == 0:
        yield Finding(
            "warn",
            "seed",
            "the seed has no effect, so a gain may hold for this one case alone",
            "draw inputs from $SWARM_SEED (or `{seed}` in the command), or ignore this if there"
            " is one input to improve",
        )
    elif between < 2 * chance:
        text = f"the seed has no effect beyond what repeats differ by ({between:.3g})"
        fix = "draw inputs from $SWARM_SEED, unless the inputs are all that matter"
        yield Finding("warn", "seed", text, fix)
    else:
        yield Finding("ok", "seed", f"the seed matters: standard deviation {between:.3g}")


def _time(runs: BaseRuns) -> Finding:
    budget = fmean([trial.outcome.seconds.get("budget", 0.0) for trial in runs.scored])
    wall = fmean([trial.wall for trial in runs.scored])
    hourly = 3600 * runs.slices / wall if wall else math.inf
    text = (
        f"{budget:.3g} s a trial of {runs.limit:g} allowed, {wall:.3g} s with all around it:"
        f" {hourly:,.0f} trials an hour on {counted(runs.slices, 'slice')}"
    )
    if runs.limit and budget > NEAR_LIMIT * runs.limit and not runs.fills_time:
        fix = "raise `seconds` of the first rung in program.md: a slow moment ends in a timeout"
        return Finding("warn", "time", text, fix)
    return Finding("ok", "time", text)


def _load(runs: BaseRuns) -> Iterator[Finding]:
    shares = [trial.outcome.facts.get("foreign_cpu", 0.0) for trial in runs.scored]
    if fmean(shares) > BUSY_SHARE:
        text = f"other programs took {fmean(shares):.0%} of the cores' time meanwhile"
        yield Finding("warn", "load", text, "stop them, and check again: they add to the spread")


def _money(runs: BaseRuns) -> Iterator[Finding]:
    """Yield what the calls of `run` to the problem's model cost."""
    costs = [trial.outcome.facts["usd"] for trial in runs.scored if "usd" in trial.outcome.facts]
    if costs:
        usd = fmean(costs)
        most = " and ".join(f"${usd * trials:.3g} for {trials:,}" for trials in HORIZONS)
        yield Finding("ok", "money", f"its model costs ${usd:.3g} a trial: {most}")


def _reach(runs: BaseRuns, policy: RatchetPolicy) -> Iterator[Finding]:
    """Yield the smallest gain that runs can establish, and whether a longer trial would help."""
    if len(runs.by_seed) < 2:  # noqa: PLR2004 - a spread takes two
        return
    noise = runs.noise
    mean = fmean([score for each in runs.by_seed.values() for score in each])
    if noise.pair == 0:
        yield Finding("ok", "reach", "the score does not vary: any gain that is seen is one")
        return
    gains = {trials: smallest_gain(policy, noise, trials) for trials in HORIZONS}
    told = ", ".join(f"{trials:,} trials {_gain(gain, mean)}" for trials, gain in gains.items())
    text = f"smallest gain that can be established: {told}"
    budget = fmean([trial.outcome.seconds.get("budget", 0.0) for trial in runs.scored])
    last = gains[HORIZONS[-1]]
    if mean and last > COARSE_SHARE * abs(mean) and budget < SHORT_S:
        longer = min(100.0, (last / (COARSE_SHARE / 3 * abs(mean))) ** 2)
        fix = (
            f"measure about {longer:.0f} times as much in one run (more repeats, more inputs) and"
            " print the mean: noise falls with the root of the time"
        )
        yield Finding("warn", "reach", f"{text}; {budget:.2g} s is short for so noisy a run", fix)
    else:
        yield Finding("ok", "reach", text)


def _guards(runs: BaseRuns, guards: Guards) -> Iterator[Finding]:
    """Yield the guards of which the base's trials have no number: a run would end at its start."""
    base: dict[str, dict[int, float]] = {"lines": {0: 0.0}}  # counted without a trial
    for trial in runs.scored:
        for name, value in measures(trial.outcome).items():
            base.setdefault(name, {})[trial.seed] = value
    if missing := missing_guards(guards, base):
        fix = "let `run` print it on a line of its own as `name: NUMBER`, or correct `guards:`"
        yield Finding("error", "guards", missing.removeprefix("guards: "), fix)


def _gain(gain: float, mean: float) -> str:
    if math.isinf(gain):
        return "none"
    return f"{gain:.3g}" + (f" ({gain / abs(mean):.2%})" if mean else "")


def evidence_finding(evidence: Evidence, printed_by: str) -> Finding:
    """Return what the score is worth; `printed_by`: the genome's file that prints it, "" for none.

    That is told apart: elsewhere a candidate has to reach into the process that prints.
    """
    if evidence == "verified":
        return Finding("ok", "evidence", "verified: computed outside the candidate's process")
    fix = "add `score:` (a scorer that reads what `run` leaves in $OUT) or use `task: function`"
    if printed_by:
        text = f"printed by {printed_by}, which a candidate may change to print any number"
        fix = f"leave {printed_by} out of `genome:`, {fix}"
    else:
        text = "printed by the process that runs the candidate, which could print anything"
    return Finding("warn", "evidence", f"reported: {text}", fix)


def _genome(runs: BaseRuns) -> Iterator[Finding]:
    """Yield whether the score depends on the genome."""
    if runs.broken is None:
        return
    if runs.broken.failure is not None:
        kind = runs.broken.failure.kind
        if kind == "timeout":
            text = "with the genome broken it was still running when it was stopped"
            yield Finding("ok", "genome", f"{text}: whether it uses the genome is not known")
        else:
            yield Finding("ok", "genome", f"with the genome broken it fails ({kind}), as it must")
        return
    score = runs.broken.score or 0.0
    if _is_another(score, runs):
        text = f"with the genome broken {runs.metric} is {score:.6g}: it uses the genome"
        yield Finding("ok", "genome", text)
        return
    same = f"with the genome broken {runs.metric} is {score:.6g}, as it was"
    if runs.text:
        text = f"{same}: either it does not use the genome, or the base is as good as no text"
        yield Finding("warn", "genome", text, "check `genome:` in program.md")
    else:
        yield Finding(
            "error",
            "genome",
            f"{same}: it does not use the genome",
            "check `genome:` in program.md; an installed copy (pip install .) may be imported",
        )


def _checks(runs: BaseRuns) -> Iterator[Finding]:
    """Yield whether checks are missing, and whether the base passes those that there are."""
    asked = runs.task, runs.metric, runs.direction
    if text := unchecked_cost(*asked, required=runs.required):
        yield Finding("warn", "checks", text, CHECKS_FIX)
    checked = runs.checked
    if checked is None:
        return
    if checked.ok:
        yield Finding("ok", "checks", f"the checks pass in {checked.seconds:.2g} s")
        return
    last = next((line for line in reversed(checked.tail.splitlines()) if line.strip()), "")
    text = f"a check of the base fails: {checked.reason}" + (
        f": {last.strip()[:200]}" if last else ""
    )
    fix = "make it pass in a fresh clone, without a network, or correct `checks:` in program.md"
    yield Finding("error", "checks", text, fix)


def _is_another(score: float, runs: BaseRuns) -> bool:
    """Return whether `score` is none that the base could have got by luck."""
    scores = [each for group in runs.by_seed.values() for each in group]
    deviation = max(runs.noise.pair, spread(scores))
    distance = abs(score - fmean(scores))
    if deviation == 0:
        return distance > 0
    return distance > max(MANY_DEVIATIONS * deviation, LEAST_SHARE * abs(fmean(scores)))


def _leftovers(runs: BaseRuns) -> Iterator[Finding]:
    """Yield what a run leaves behind, and whether a second run in the same place uses it."""
    if runs.again is None:
        return
    lines = [line.split(" ", 1) for line in runs.again.tail.splitlines() if " " in line]
    left = [rest for word, rest in lines if word == LEFT]
    names = sorted(rest for word, rest in lines if word == SAW)
    if names:
        yield Finding("ok", "environment", f"a trial has the variables {', '.join(names)}")
    if not left:
        yield Finding("ok", "leftovers", "it leaves no file behind")
        return
    shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")  # noqa: PLR2004 - shown
    if any(trial.outcome.sandbox == "none" for trial in runs.scored):
        text = f"it, or another program meanwhile, leaves {shown}; nothing is confined"
    else:
        text = f"it leaves {shown}, which no later trial sees"
    once = fmean([trial.outcome.seconds.get("budget", 0.0) for trial in runs.scored])
    second = runs.again.seconds.get("budget", 0.0) - once
    score = runs.again.score
    other = score is not None and _is_another(score, runs)
    if other or second < CACHED_SHARE * once - 0.05:
        told = f"{runs.metric} {score:.6g}" if score is not None else "no score"
        yield Finding(
            "warn",
            "cache",
            f"a second run in the same place gives {told} after {max(second, 0):.2g} s instead of"
            f" {once:.2g}: {text}",
            "let `run` delete its cache first, or make it in `prepare:` or `build:`",
        )
    else:
        yield Finding("ok", "leftovers", text)
