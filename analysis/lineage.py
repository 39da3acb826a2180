"""The lineage: which change came from which, as a networkx MultiDiGraph computed from events.

A **node** is a commit, under its full id, or a proposal that never became one, under
`experiment/<number>`. Attributes without a value are absent, never None:

| `kind` | what it is | has |
| --- | --- | --- |
| base | where an island began | `step` 0, and the scores of the baseline |
| candidate | an admitted proposal, whatever came of it: failures are knowledge | all but `rule` |
| proposal | not admitted: refused, or admission is still under way | `rule`, `reason` if refused |
| merge | the merge of a head | `island` |
| stack | several changes on one base, made to be measured | `parent`; what it came to if judged |
| consensus | one surviving change of a promoted stack | `parent` |

The attributes are columns of the table `nodes`; analysis/database/projection/columns.py
gives their meaning.
Easily misread are: `ending`, absent while the experiment is open; `score`, the mean of `scores`
scores at rung 0 by one harness, without the screening one, which selected the candidate and is
given as `screened` (unless the candidate was kept on that one alone, as a change that another
island kept may be); `step`, the number of keeps between the base and a head, present only for
heads, current and past; `quarantined`, present only for quarantined nodes.

An **edge** runs from the older to the younger and its key is its kind:

| key | from | to | besides island and recorded |
| --- | --- | --- | --- |
| proposed_from | the head that the brief was drawn on | what was proposed | experiment |
| crossed_with | the ended experiment that the notes name | what was proposed | experiment |
| migrated | another island's change | the same, brought to a head here | experiment, gain, noise |
| repeats | the ended experiment of the same change | a proposal that it answers | experiment |
| ported | a change that conflicts here | the agent's version of it | experiment, gain, noise |
| rebased_onto | the island's newer head | the waiting candidate, rebased | experiment |
| kept_as_head | the island's old head | its new one | experiment, gain, noise |
| merged_as | a head | its merge | |
| stacked_on/CHECK | the base of a stack check | a stack of it | |
| stacked_in/CHECK | a change | the stack that the check came to | |
| dropped_from/CHECK | a change | the stack that is as good without it | |
| interacts/CHECK | one of two changes | the other: the whole less the sum | gain, noise |
| fell_short/CHECK | a change | the stack where it is worth less than expected | gain, noise |
| promoted/CHECK | the base, or a contender's parent | the stack, or the contender | gain, noise |
| consensus/CHECK | the base, or the change below | a commit of the consensus | |
| taken_into/CHECK | a change | the commit of the consensus that brings it | |
| sealed | the base | the commit scored on the sealed split | gain, noise |

A kind that joins one pair more than once says in its key what tells them apart, after a slash; a
measured relation carries its `gain` and `noise`, signed so that above zero is better.

An island that adopts another's head makes no commit and no edge (see the table `catch_ups`), nor
does one that a person sends back to an earlier one (see `steering`).

Not covered: an agent that gave no proposal leaves no node (see the table `agent_calls`); the base's
score pools all islands that started there, whatever slices they have.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatchmethod
from itertools import combinations
from typing import Any, TypeAlias

import networkx as nx

from analysis.node_scores import add_score, withdraw_score
from harness.contract import EVIDENCE
from islands import events as ev
from islands.events import steering as se
from islands.ratchet.fresh import FITS
from islands.records import Gain

Graph: TypeAlias = "nx.MultiDiGraph[str]"

MIGRATED, PORTED, REPEATS = "migrated", "ported", "repeats"


def fold(history: Iterable[ev.Event]) -> Graph:
    """Return the lineage of a run from its events in ledger order."""
    lineage = Lineage()
    take = lineage.take
    for event in history:
        take(event)
    return lineage.graph


def unadmitted(experiment: int) -> str:
    """Return the node name of a proposal that is not a commit."""
    return f"experiment/{experiment}"


class Lineage:
    """The fold. `graph` is the lineage of all events taken so far.

    It may start from a part of a graph: the nodes that the coming events refer to, the edges into
    these, and their sources.
    """

    def __init__(self, graph: Graph | None = None) -> None:
        self.graph: Graph = nx.MultiDiGraph() if graph is None else graph
        self._node_of: dict[int, str] = {
            attributes["experiment"]: node
            for node, attributes in self.graph.nodes(data=True)
            if "experiment" in attributes
        }

    @singledispatchmethod
    def take(self, event: ev.Event) -> None:
        """Take in the next event. Raises TypeError for anything but an event."""
        raise TypeError(f"not an event of a run: {event!r}")

    @take.register(ev.RunResumed | ev.RunStopped | ev.AgentCallStarted | ev.AgentFailed)
    @take.register(ev.TrialStarted | ev.TrialVoided | ev.StackCheckStarted)
    @take.register(ev.SliceReleased | ev.IslandReassigned | ev.HeadAdopted | ev.ModelCalled)
    @take.register(ev.SummaryWritten)
    @take.register(ev.TrialCharged)
    @take.register(se.Steered)
    def _no_effect(self, event: ev.Event) -> None:
        """Events that add neither a node nor an edge."""

    @take.register
    def _run_opened(self, event: ev.RunOpened) -> None:
        self._begin(event.base, event)

    @take.register
    def _island_opened(self, event: ev.IslandOpened) -> None:
        if event.head not in self.graph:
            self._begin(event.head, event)

    @take.register
    def _proposal_received(self, event: ev.ProposalReceived) -> None:
        node = unadmitted(event.experiment)
        self._node_of[event.experiment] = node
        facts = {"agent": event.agent, "parent": event.parent, "hypothesis": event.hypothesis}
        attributes: dict[str, Any] = {"kind": "proposal", **_whence(event), **facts}
        if event.notes:
            attributes["notes"] = dict(event.notes)
        if event.brief:
            attributes["brief"] = event.brief
        self.graph.add_node(node, **attributes)
        self.graph.add_edge(event.parent, node, "proposed_from", **_whence(event))
        donor = self._node_of.get(event.donor)
        if donor is not None and self._is_settled(donor):
            self.graph.add_edge(donor, node, ev.CROSSED, **_whence(event))
        if event.origin:
            self.graph.add_edge(self._node_of[event.origin], node, PORTED, **_whence(event))

    @take.register
    def _migrant_offered(self, event: ev.MigrantOffered) -> None:
        node, migrant = unadmitted(event.experiment), event.migrant
        self._node_of[event.experiment] = node
        facts = {"agent": "migration", "parent": event.parent, "hypothesis": migrant.hypothesis}
        self.graph.add_node(node, kind="proposal", **_whence(event), **facts)
        self.graph.add_edge(event.parent, node, "proposed_from", **_whence(event))
        self.graph.add_edge(migrant.commit, node, MIGRATED, **_whence(event))

    @take.register
    def _proposal_refused(self, event: ev.ProposalRefused) -> None:
        attributes = self._known(event.experiment)
        attributes |= {"ending": "refused", "rule": event.rule, "reason": event.reason}
        attributes["ended"] = _when(event)
        source, node = self._node_of.get(event.repeats), self._node_of[event.experiment]
        if source is not None and self._is_settled(source):
            self.graph.add_edge(source, node, REPEATS, **_whence(event))

    @take.register
    def _candidate_admitted(self, event: ev.CandidateAdmitted) -> None:
        old, self._node_of[event.experiment] = self._node_of[event.experiment], event.commit
        self._rename(old, event.commit)
        lines = {"added": event.added, "removed": event.removed}
        self.graph.nodes[event.commit].update(kind="candidate", **lines, **_change(event))
        self._inherit(event.commit, event)

    @take.register
    def _candidate_rebased(self, event: ev.CandidateRebased) -> None:
        old, self._node_of[event.experiment] = self._node_of[event.experiment], event.commit
        self._rename(old, event.commit)
        attributes = self.graph.nodes[event.commit]
        attributes.update(parent=event.parent, added=event.added, removed=event.removed)
        attributes |= _change(event)
        self.graph.add_edge(event.parent, event.commit, "rebased_onto", **_whence(event))

    @take.register
    def _candidate_dropped(self, event: ev.CandidateDropped) -> None:
        attributes = self._known(event.experiment)
        attributes |= {"ending": "outdated", "reason": event.reason, "ended": _when(event)}

    @take.register
    def _trial_ended(self, event: ev.TrialEnded) -> None:
        trial = event.started
        outcome, attributes = event.outcome, self.graph.nodes[trial.commit]
        checked = attributes.get("kind") == "stack" and trial.purpose != "promotion"
        own = trial.purpose in ev.ISLANDS_OWN or checked
        if outcome.score is not None and trial.rung == 0 and trial.split == "dev" and own:
            add_score(attributes, outcome.score, outcome.harness, trial.purpose)
            known = attributes.get("evidence", EVIDENCE[-1])
            attributes["evidence"] = min(known, outcome.evidence, key=EVIDENCE.index)
        theirs = trial.experiment and trial.experiment == attributes.get("experiment")
        if outcome.failure is not None and theirs:
            broke = {"failure": outcome.failure.kind, "reason": outcome.failure.reason}
            attributes.update(ending="failed", ended=_when(event), **broke)

    @take.register
    def _commit_checked(self, event: ev.CommitChecked) -> None:
        if event.experiment and not event.ok:
            attributes = self.graph.nodes[event.commit]
            attributes |= {"ending": "failed", "failure": "check", "reason": event.reason}
            attributes["ended"] = _when(event)

    @take.register
    def _fresh_checked(self, event: ev.FreshChecked) -> None:
        if not event.ok:
            attributes = self.graph.nodes[event.commit]
            attributes |= {"ending": "failed", "failure": "invalid", "reason": FITS}
            attributes["ended"] = _when(event)

    @take.register
    def _verdict_reached(self, event: ev.VerdictReached) -> None:
        attributes, kept = self.graph.nodes[event.commit], event.verdict == "keep"
        ending = "null" if event.null else "kept" if kept else "discarded"
        attributes |= {"verdict": event.verdict, "ending": ending}
        attributes |= {"reason": event.reason, "ended": _when(event)}
        gain: dict[str, Any] = {}
        if event.gain is not None:
            gain = _gain(event.gain)
            attributes.update(gain, pairs=event.gain.pairs)
        for _, _, key, edge in self.graph.in_edges(event.commit, keys=True, data=True):
            if key in {MIGRATED, PORTED}:
                edge.update(gain)
        if kept and not event.null:
            head = self.graph.nodes[event.parent]
            attributes["step"] = head.get("step", 0) + 1
            if "scores" not in attributes and "screened" in attributes:
                attributes |= {"score": attributes["screened"], "scores": 1}
            self.graph.add_edge(
                event.parent, event.commit, "kept_as_head", **_whence(event), **gain
            )

    @take.register
    def _slice_quarantined(self, event: ev.SliceQuarantined) -> None:
        for trial in event.trials:
            if trial.purpose in ev.ISLANDS_OWN:
                withdraw_score(self.graph.nodes[trial.commit], trial)
        for discard in event.discards:
            self._known(discard.experiment)["ending"] = "void"

    @take.register
    def _stack_check_assembled(self, event: ev.StackCheckAssembled) -> None:
        if not event.commit or event.commit in self.graph:
            return
        when = {"recorded": _when(event)}
        self.graph.add_node(event.commit, kind="stack", parent=event.base, **when)
        self.graph.add_edge(event.base, event.commit, f"stacked_on/{event.number}", **when)

    @take.register
    def _stack_check_ended(self, event: ev.StackCheckEnded) -> None:
        when = {"recorded": _when(event)}
        attributes = self.graph.nodes[event.commit]
        if attributes["kind"] == "stack":
            attributes |= {
                "ended": _when(event),
                "reason": event.verdict,
                **_gain(event.gain or event.observed),
            }
        for key, parts in (("stacked_in", event.parts), ("dropped_from", event.dropped)):
            for part in parts:
                if self._node_of[part] != event.commit:
                    self._join(part, event.commit, f"{key}/{event.number}", when)
        for culprits, worth in zip(event.culprits, event.blame, strict=False):
            self._blame(event, culprits, when | _gain(worth))

    def _blame(
        self, event: ev.StackCheckEnded, parts: tuple[int, ...], attributes: dict[str, Any]
    ) -> None:
        if len(parts) == 1 and self._node_of[parts[0]] != event.commit:
            self._join(parts[0], event.commit, f"fell_short/{event.number}", attributes)
        for one, other in combinations(sorted(parts), 2):
            self._join(one, self._node_of[other], f"interacts/{event.number}", attributes)

    def _join(self, part: int, target: str, key: str, attributes: dict[str, Any]) -> None:
        self.graph.add_edge(self._node_of[part], target, key, **attributes)

    @take.register
    def _promotion_started(self, event: ev.PromotionStarted) -> None:
        if event.base not in self.graph:  # the target branch has moved on
            self._begin(event.base, event)
        if event.commit not in self.graph:
            attributes = {"parent": event.base, "recorded": _when(event)}
            self.graph.add_node(event.commit, kind="stack", **attributes)

    @take.register
    def _promotion_ended(self, event: ev.PromotionEnded) -> None:
        key, when = f"promoted/{event.number}", {"recorded": _when(event)}
        self.graph.add_edge(event.base, event.commit, key, **when, **_gain(event.after))
        for contender in event.contenders:
            node = self._node_of[contender.experiment]
            if node != event.commit:
                parent = self.graph.nodes[node]["parent"]
                self.graph.add_edge(parent, node, key, **when, **_gain(contender.after))

    @take.register
    def _consensus_drafted(self, event: ev.ConsensusDrafted) -> None:
        below = event.base
        for commit in event.changes:
            if commit not in self.graph:
                attributes = {"parent": below, "recorded": _when(event)}
                self.graph.add_node(commit, kind="consensus", **attributes)
            below = commit

    @take.register
    def _consensus_moved(self, event: ev.ConsensusMoved) -> None:
        when, below = {"recorded": _when(event)}, event.base
        key = f"consensus/{event.promotion}"
        for commit in event.changes:
            if commit not in self.graph:
                self.graph.add_node(commit, kind="consensus", parent=below, **when)
            self.graph.add_edge(below, commit, key, **when)
            below = commit
        commits = event.changes if len(event.changes) == len(event.parts) else [event.commit]
        for place, part in enumerate(event.parts):
            commit = commits[min(place, len(commits) - 1)]
            if commit != self._node_of[part]:
                self._join(part, commit, f"taken_into/{event.promotion}", when)

    @take.register
    def _sealed_scored(self, event: ev.SealedScored) -> None:
        attributes = {"recorded": _when(event), **_gain(event.gain)}
        self.graph.add_edge(event.base, event.commit, "sealed", **attributes)

    @take.register
    def _commit_quarantined(self, event: ev.CommitQuarantined) -> None:
        for commit in event.commits:
            if commit in self.graph:
                self.graph.nodes[commit]["quarantined"] = _when(event)

    def _inherit(self, commit: str, event: ev.Event) -> None:
        """Quarantine a commit made from a quarantined one; its brief was older."""
        origins = self.graph.predecessors(commit)
        if any("quarantined" in self.graph.nodes[origin] for origin in origins):
            self.graph.nodes[commit]["quarantined"] = _when(event)

    @take.register
    def _merged(self, event: ev.Merged) -> None:
        where = {"island": event.island, "recorded": _when(event)}
        self.graph.add_node(event.commit, kind="merge", **where)
        self.graph.add_edge(event.head, event.commit, "merged_as", **where)

    def _begin(self, commit: str, event: ev.Event) -> None:
        self.graph.add_node(commit, kind="base", step=0, recorded=_when(event))

    def _rename(self, old: str, new: str) -> None:
        """Give a node another id (nx.relabel_nodes does it ten times as slowly)."""
        graph = self.graph
        if old == new:
            return
        graph.add_node(new, **graph.nodes[old])
        for source, _, key, data in list(graph.in_edges(old, keys=True, data=True)):
            graph.add_edge(source, new, key, **data)
        for _, target, key, data in list(graph.out_edges(old, keys=True, data=True)):
            graph.add_edge(new, target, key, **data)
        graph.remove_node(old)

    def _is_settled(self, node: str) -> bool:
        """Return whether a candidate has ended: until then it may be rebased and get another id."""
        return self.graph.nodes[node].keys() >= {"ending", "added"}

    def _known(self, experiment: int) -> dict[str, Any]:
        attributes: dict[str, Any] = self.graph.nodes[self._node_of[experiment]]
        return attributes


def _when(event: ev.Event) -> float:
    """Return the event's time in whole microseconds, which DuckDB's TIMESTAMP keeps exactly."""
    return round(event.recorded, 6)


def _whence(
    event: ev.ProposalReceived
    | ev.MigrantOffered
    | ev.ProposalRefused
    | ev.CandidateRebased
    | ev.VerdictReached,
) -> dict[str, Any]:
    return {
        "island": event.island,
        "experiment": event.experiment,
        "recorded": _when(event),
    }


def _change(event: ev.CandidateAdmitted | ev.CandidateRebased) -> dict[str, str]:
    return {"change": event.change} if event.change else {}


def _gain(gain: Gain) -> dict[str, Any]:
    return {"gain": gain.mean, "noise": gain.noise}
