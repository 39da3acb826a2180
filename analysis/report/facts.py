"""Facts of a report, each from the run's tables, its ledger, or git."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analysis.pictures.source import RunSource
from analysis.questions.ablation import Ablation
from analysis.questions.arms import ArmsReturn, return_of_arms
from analysis.questions.cost import AgentCost, cost_by_agent
from analysis.questions.evidence import ChangeEvidence, evidence_on_all
from analysis.questions.standing import last_summary
from analysis.words import plural
from harness.contract import SetupError
from islands.records import Gain

MAX_CHANGES = 40
"""Kept changes that are shown with their evidence, those that gained most."""

Diff = Callable[[str, str], str]
"""Returns the unified diff of the genome between two commits."""


@dataclass(frozen=True, slots=True)
class ReportedChange:
    """A kept change as a report shows it.

    evidence: all that is known of it
    diff: against its parent
    lfsr: chance that its true gain is zero or less, by what it was kept on
    simpler: whether it was kept because it is shorter and no worse; `lfsr` is that it is worse
    """

    evidence: ChangeEvidence
    diff: str
    lfsr: float
    simpler: bool = False

    @property
    def chance(self) -> str:
        """The chance of no gain, or that it was not kept for one."""
        return "kept as shorter" if self.simpler else f"{100 * self.lfsr:.2g} %"


@dataclass(frozen=True, slots=True)
class Result:
    """What the run comes to.

    commit, base: what is offered for merging, and what it is compared with
    gain: of the commit over the base, by the best evidence there is
    basis: that evidence, in a few words
    parts: number of changes in it
    """

    commit: str
    base: str
    gain: Gain
    basis: str
    parts: int


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """Everything that a report says.

    opened: the row of table `run`
    began, ended: first and last event's time, UTC
    launches, active: how often a coordinator ran, and for how many seconds in all
    islands, agents, tried, screened, trials, voided: counts
    endless: those tried that neither were kept nor stand among `endings`, by what they are
    result: what the run comes to, None where nothing was kept
    changes: kept changes, those that gained most first; `unshown` more are left out
    simpler: how many of all were kept because they are shorter and no worse
    expected_false: how many of the others are expected to gain nothing: the sum of their lfsr
    costs: by agent
    arms: what each arm earned, None where there is one only
    learned: the row of `summaries` that a model wrote last, None where none did
    endings: what was tried and not kept, by cause
    ablation: of the result, None where there is none
    contenders: what promotions measured at the next rung
    sentinels, quarantined_slices: how steady the slices were
    nulls, nulls_kept: A/A tests, and how many of them were kept
    fresh: kept changes whose gain held on fresh data, and those of which none was left to ask
    refuted: candidates whose gain did not hold there
    sandboxes: confinement of the trials, by number of trials
    merges: what was merged
    consensus_diff: from the base to the result
    """

    opened: Mapping[str, Any]
    began: datetime
    ended: datetime
    launches: int
    active: float
    islands: int
    agents: tuple[str, ...]
    tried: int
    screened: int
    trials: int
    voided: int
    endless: Mapping[str, int]
    result: Result | None
    changes: tuple[ReportedChange, ...]
    unshown: int
    simpler: int
    expected_false: float
    costs: tuple[AgentCost, ...]
    arms: ArmsReturn | None
    learned: Mapping[str, Any] | None
    endings: tuple[Mapping[str, Any], ...]
    ablation: Ablation | None
    contenders: tuple[Mapping[str, Any], ...]
    sentinels: tuple[Mapping[str, Any], ...]
    quarantined_slices: tuple[Mapping[str, Any], ...]
    nulls: int
    nulls_kept: int
    fresh: tuple[int, int]
    refuted: int
    sandboxes: Mapping[str, int]
    merges: tuple[Mapping[str, Any], ...]
    consensus_diff: str

    @property
    def doubt(self) -> str:
        """The sentence on how many of the kept changes are expected to gain nothing."""
        for_gain = plural(len(self.changes) + self.unshown - self.simpler, "change")
        return (
            f"{self.expected_false:.2g} of {for_gain} kept for a gain are expected to gain nothing,"
            " by the evidence that each was kept on."
        ) + (f" Kept as shorter and no worse: {self.simpler}." if self.simpler else "")

    @property
    def opening(self) -> str:
        """The first sentence: how long what ran, what it tried, and what it kept."""
        wall, lasted = (self.ended - self.began).total_seconds(), f"{self.active / 60:.1f} minutes"
        if self.launches > 1 and wall > _NOTABLE_PAUSE * self.active:
            lasted += f" of {self.launches} launches since {self.began:%Y-%m-%d %H:%M} UTC"
        apart = ", ".join(f"{count} {what}" for what, count in self.endless.items() if count)
        return (
            f"In {lasted} {plural(self.islands, 'island')} ({', '.join(self.agents)}) tried"
            f" {plural(self.tried, 'proposal')}{f' ({apart})' if apart else ''} in"
            f" {plural(self.trials, 'trial')} and kept"
            f" {plural(len(self.changes) + self.unshown, 'change')}."
        )


_NOTABLE_PAUSE = 1.1
"""Wall time over time with a coordinator from which a report says how the two differ."""

_SPAN = """
SELECT (SELECT min(recorded) FROM run) AS began,
  greatest((SELECT max(recorded) FROM coordinators),
    (SELECT max(coalesce(ended, started)) FROM trials),
    (SELECT max(ended) FROM promotions), (SELECT max(recorded) FROM merges)) AS ended,
  (SELECT count(*) FROM launches) AS launches,
  (SELECT coalesce(sum(epoch(ended) - epoch(started)), 0.0) FROM launches) AS active
"""

_ENDLESS = """
SELECT count(*) FILTER (ending IS NULL) AS "still open",
  count(*) FILTER (ending = 'void') AS void,
  count(*) FILTER (ending = 'kept' AND quarantined IS NOT NULL) AS "kept and quarantined since"
FROM nodes WHERE experiment IS NOT NULL AND agent <> 'null'
"""

_COUNTS = """
SELECT (SELECT count(*) FROM islands) AS islands,
  (SELECT count(*) FROM nodes WHERE experiment IS NOT NULL AND agent <> 'null') AS tried,
  (SELECT count(*) FROM nodes WHERE screened IS NOT NULL AND agent <> 'null') AS screened,
  (SELECT count(*) FROM trials WHERE state <> 'voided') AS trials,
  (SELECT count(*) FROM trials WHERE state = 'voided') AS voided
"""

_AGENTS = "SELECT DISTINCT agent FROM islands ORDER BY agent"

_KEPT = """
SELECT experiment, count(*) OVER () AS whole FROM nodes
WHERE ending = 'kept' AND quarantined IS NULL ORDER BY gain DESC NULLS LAST, experiment
"""

_CONTENDERS = """
SELECT check_number, experiment, hypothesis, lower_gain, lower_noise, contenders.gain,
  contenders.noise, contenders.verdict
FROM contenders JOIN nodes USING (experiment) ORDER BY check_number, experiment
"""

_SANDBOXES = "SELECT sandbox, count(*) AS trials FROM trials WHERE sandbox IS NOT NULL GROUP BY 1"


_FRESH = """
SELECT count(*) FILTER (passed AND experiment IN (
    SELECT experiment FROM nodes WHERE ending = 'kept' AND quarantined IS NULL)) AS held,
  count(*) FILTER (NOT passed) AS refuted
FROM fresh_checks
"""


def gather(
    source: RunSource, diff: Diff, lfsr: Mapping[int, float], simpler: Set[int] = frozenset()
) -> ReportFacts:
    """Return the facts of a run.

    `lfsr` is what each kept change was kept on, by its experiment; `simpler` are the experiments
    that were kept because they are shorter and no worse: theirs is the chance that they are worse.
    Raises SetupError where the run has not started.
    """
    opened = source.rows("FROM run")
    if not opened:
        raise SetupError("the run has not started: there is nothing to report")
    (span,), (counts,) = source.rows(_SPAN), source.rows(_COUNTS)
    kept = [row["experiment"] for row in source.rows(_KEPT)]
    result = _result(source, opened[0])
    changes = evidence_on_all(source.con, kept[:MAX_CHANGES])
    (nulls,), (fresh,) = source.rows("FROM nulls"), source.rows(_FRESH)
    return ReportFacts(
        opened=opened[0],
        began=span["began"],
        ended=span["ended"] or span["began"],
        launches=span["launches"],
        active=span["active"],
        endless=source.rows(_ENDLESS)[0],
        agents=tuple(row["agent"] for row in source.rows(_AGENTS)),
        **counts,
        result=result,
        changes=tuple(
            ReportedChange(
                one,
                diff(one.parent, one.node),
                lfsr.get(one.experiment, 0.0),
                one.experiment in simpler,
            )
            for one in changes
        ),
        unshown=len(kept) - len(changes),
        simpler=len(simpler & {*kept}),
        expected_false=math.fsum(lfsr.get(one, 0.0) for one in {*kept} - simpler),
        costs=cost_by_agent(source.con),
        arms=return_of_arms(source.con),
        learned=last_summary(source.con),
        endings=tuple(source.rows("FROM outcomes_by_reason")),
        ablation=_ablation(source),
        contenders=tuple(source.rows(_CONTENDERS)),
        sentinels=tuple(source.rows("FROM sentinels")),
        quarantined_slices=tuple(source.rows("FROM slice_quarantines ORDER BY recorded")),
        nulls=nulls["nulls"],
        nulls_kept=nulls["nulls_kept"],
        fresh=(fresh["held"], len(kept) - fresh["held"]),
        refuted=fresh["refuted"],
        sandboxes={row["sandbox"]: row["trials"] for row in source.rows(_SANDBOXES)},
        merges=tuple(source.rows("FROM merges ORDER BY recorded")),
        consensus_diff=diff(result.base, result.commit) if result else "",
    )


def _ablation(source: RunSource) -> Ablation | None:
    try:
        return source.ablation()
    except SetupError:  # nothing was kept
        return None


def _result(source: RunSource, opened: Mapping[str, Any]) -> Result | None:
    """Return what the run comes to: the sealed score of the consensus, else the best below it."""
    consensus = source.rows(_IN_FORCE)
    if consensus:
        return _of_consensus(source, consensus[0])
    heads = source.rows("FROM standings WHERE kept > 0 LIMIT 1")
    if not heads:
        return None
    head = heads[0]
    count = len(source.rows("FROM kept WHERE island = ?", [head["island"]]))
    gain = Gain(head["gain"], head["noise"], 0)
    basis = "the sum of the gains that its changes were kept for; not promoted"
    return Result(head["head"], opened["base"], gain, basis, count)


_IN_FORCE = "FROM consensus WHERE quarantined IS NULL ORDER BY recorded DESC, rowid DESC LIMIT 1"
"""The consensus that counts: what is quarantined is no result."""


def _of_consensus(source: RunSource, consensus: Mapping[str, Any]) -> Result:
    commit, base, parts = consensus["commit"], consensus["base"], len(consensus["parts"])
    sealed = source.rows("FROM sealed WHERE commit = ? ORDER BY recorded DESC LIMIT 1", [commit])
    number = [consensus["check_number"]]
    (promotion,) = source.rows("FROM promotions WHERE check_number = ?", number)
    measured, basis = promotion, f"measured at rung {promotion['rung']}: {promotion['verdict']}"
    if sealed:
        measured, basis = sealed[0], "measured on the sealed split, which is scored once"
    gain = Gain(measured["gain"], measured["noise"], measured["pairs"])
    return Result(commit, base, gain, basis, parts)
