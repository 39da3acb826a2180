"""The state of a run: the fold of its events, which every decision reads.

`State.apply` takes events in ledger order and nothing else, so a resumed run decides exactly as the
one that stopped would have. Ended experiments leave counts, kept changes, the latest attempts and
what the memory of changes holds of them: the state's size is bounded however many are discarded.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from functools import singledispatchmethod

from harness.contract import EVIDENCE, STRENGTH, Direction, Evidence, Outcome, SandboxKind
from islands import events as ev
from islands.drift import Sentinels
from islands.events import steering as se
from islands.migration import Migrants
from islands.promotion.state import Promotions
from islands.quarantine import REASON, Quarantines
from islands.ratchet.acceptance import KeepTally
from islands.ratchet.prior import GainPrior, prior_of_migrant
from islands.ratchet.screening import ScreenedGains
from islands.records import NULL, Attempt, Ending, Gain, Migrant, Usage
from islands.stacking.state import StackChecks
from islands.state.arms import Arms
from islands.state.contention import Contention
from islands.state.fresh import FreshData
from islands.state.lifecycle import has_ended, next_state
from islands.state.memory import CLAIMED, ChangeMemory, PastChange, Recalled
from islands.state.pending_calls import PendingCalls
from islands.state.population import Experiment, IslandState, KeptChange, Nulls
from islands.state.scores import Scores
from islands.state.steering import Steering
from islands.state.voids import Voids

_ENDING_OF: dict[str, Ending] = {"keep": "kept", "discard": "discarded"}


class State:
    """The fold of a run's events."""

    def __init__(self) -> None:
        self.opened: ev.RunOpened | None = None
        self.islands: dict[str, IslandState] = {}
        self.running: dict[str, ev.TrialStarted] = {}
        self.broken_baseline: str = ""
        self.base_checked = False
        self.stopped: ev.RunStopped | None = None
        self.events = 0
        self.experiments = 0
        self.trials = 0
        self.trials_started = 0
        self.voids = Voids()
        self.contention = Contention()
        self.fresh = FreshData()
        self.weakest_sandbox: SandboxKind = STRENGTH[0]
        self.evidence: Evidence = EVIDENCE[-1]
        self.keep_tally = KeepTally()
        self.keeps: dict[int, KeptChange] = {}
        self._kept_commits: set[str] = set()
        self.nulls = Nulls()
        self.promotions = Promotions()
        self.stacks = StackChecks()
        self.migrants = Migrants()
        self.quarantines = Quarantines()
        self.calls = PendingCalls()
        self.steering = Steering()
        self.merges: list[ev.Merged] = []
        self.claimless = 0
        self.memory = ChangeMemory()
        self.arms = Arms()
        self.sentinels = Sentinels()
        self.scores = Scores(self.sentinels)
        self.screens = ScreenedGains()
        self._turns = 0

    @property
    def run(self) -> ev.RunOpened:
        """The event that opened the run. Raises ValueError on an empty ledger."""
        if self.opened is None:
            raise ValueError("the ledger does not begin with a run")
        return self.opened

    @property
    def direction(self) -> Direction:
        """Whether a lower or a higher score is better."""
        return self.run.direction

    @property
    def usd(self) -> float:
        """The US dollars spent by all islands, pending calls at their most."""
        return sum(island.usd for island in self.islands.values()) + self.calls.usd

    @property
    def tokens(self) -> int:
        """The tokens used by all islands, pending calls at their most."""
        return sum(island.tokens for island in self.islands.values()) + self.calls.tokens

    def prior(self) -> GainPrior:
        """Return the prior of the gains of the run's proposals, at most a few proposals old."""
        return self.screens.prior(self.scores.noise())

    def prior_of(self, experiment: Experiment) -> GainPrior:
        """Return the prior of an open experiment's gain; a migrant brings evidence of its own."""
        prior, noise = self.prior(), self.scores.noise()
        offered = self.migrants.on_trial.get(experiment.island)
        if offered is None or offered.experiment != experiment.number or noise.pair == 0:
            return prior
        origin_gain = offered.migrant.gain
        unit = prior.unit * noise.pair
        gain = (origin_gain.mean / unit, origin_gain.noise / unit)
        return prior_of_migrant(prior, gain, self.migrants.share)

    def gain(self, island: IslandState) -> float | None:
        """Return the gain of the island's head over the base, the sum over its kept changes."""
        if self.run.base not in self.scores.by_commit:
            return None
        return math.fsum(change.gain.mean for change in island.kept)

    def claimed(self, change: str, besides: int = 0) -> Experiment | None:
        """Return the open experiment, other than `besides`, that tries a change; None for none."""
        for island in self.islands.values():
            for open_ in (island.experiment, *island.queue):
                if open_ is not None and open_.change == change and open_.number != besides:
                    return open_
        return None

    def recall(self, island: str, change: str, head: str, *, shared: bool) -> Recalled | None:
        """Return the ended experiment that answers a proposal of `change`, None for none.

        `shared`: whether what another island kept may still come to this one.
        """
        here = self.islands[island]
        chains = self.islands.values() if shared else [here]
        kept = {number for each in chains for one in each.kept for number in one.both}
        return self.memory.recall(change, head, here.held, kept)

    def slice_use(self, name: str) -> float:
        """Return the share of an island's wall time that its trials' budgets fill, from 0 to 1."""
        island = self.islands[name]
        return island.budget_seconds / island.wall if island.wall else 0.0

    def apply_all(self, history: list[ev.Event]) -> None:
        """Apply events in order."""
        for event in history:
            self.apply(event)

    def apply(self, event: ev.Event) -> None:
        """Take in the next event. Raises LifecycleError or ValueError if it cannot follow."""
        self.events += 1
        self.migrants.apply(event)
        self.quarantines.apply(event)
        self.sentinels.apply(event, self.scores.noise)
        self._apply(event)
        self.promotions.apply(event)
        self.stacks.apply(event)
        self.calls.apply(event)
        self.arms.apply(event)
        self.steering.apply(event)

    @singledispatchmethod
    def _apply(self, event: ev.Event) -> None:
        raise TypeError(f"not an event of a run: {event!r}")

    @_apply.register
    def _run_opened(self, event: ev.RunOpened) -> None:
        self.opened = event
        self.scores.open(event)

    @_apply.register
    def _run_resumed(self, event: ev.RunResumed) -> None:  # noqa: ARG002 - no fields needed
        self.stopped, self.claimless = None, 0
        self._ask_again()
        for island in self.islands.values():
            island.last_active = None  # no slice was used since a coordinator was killed

    @_apply.register
    def _run_stopped(self, event: ev.RunStopped) -> None:
        self.stopped = event
        for island in self.islands.values():
            island.last_active = None  # no slice is used until the run is resumed

    @_apply.register(se.Command | se.ProgramRevised)
    @_apply.register(ev.StackCheckStarted | ev.StackCheckAssembled | ev.StackCheckEnded)
    @_apply.register(
        ev.PromotionStarted
        | ev.PromotionEnded
        | ev.ConsensusDrafted
        | ev.ConsensusMoved
        | ev.SealedScored
        | ev.SliceReleased
    )
    def _no_effect(self, event: ev.Event) -> None:
        """Events that only other folds use."""

    @_apply.register
    def _merged(self, event: ev.Merged) -> None:
        self.merges.append(event)

    @_apply.register
    def _slice_quarantined(self, event: ev.SliceQuarantined) -> None:
        for trial in event.trials:
            self._withdraw(trial)
        void = {trial.experiment for trial in event.trials}
        for island in self.islands.values():
            if island.experiment is not None and island.experiment.number in void:
                _start_over(island.experiment)
        for discard in event.discards:
            self._uncount_discard(self.islands[discard.island], discard.experiment)
        void |= {discard.experiment for discard in event.discards}
        self.memory.drop(void)
        self.screens.drop(void)

    @_apply.register
    def _island_reassigned(self, event: ev.IslandReassigned) -> None:
        island = self.islands[event.island]
        island.slice = event.slice
        if event.permanent:
            island.home = event.slice

    @_apply.register
    def _head_adopted(self, event: ev.HeadAdopted) -> None:
        island, source = self.islands[event.island], self.islands[event.source]
        if (island.head, source.head) != (event.old, event.new) or island.experiment is not None:
            raise ValueError(f"{event.island} cannot go from {event.old} to {event.new} now")
        before, island.kept, island.head = island.kept, [*source.kept], event.new
        self._ask_again()
        _note_adoption(
            island,
            before,
            "kept, then dropped: the island adopted a head on which it gains nothing",
        )
        for change in before:
            self._forget(change.commit)

    @_apply.register
    def _island_restarted(self, event: se.IslandRestarted) -> None:
        island = self.islands[event.island]
        if island.head != event.old or island.experiment is not None:
            raise ValueError(f"{event.island} cannot go from {event.old} to {event.new} now")
        before, island.kept = island.kept, [self.keeps[number] for number in event.changes]
        island.head, island.restarted = event.new, True
        self._ask_again()
        _note_adoption(island, before, "kept, then left: a person restarted the island without it")

    @_apply.register
    def _island_opened(self, event: ev.IslandOpened) -> None:
        self.islands[event.island] = IslandState(event, event.head, event.slice, event.slice)

    @_apply.register
    def _proposal_received(self, event: ev.ProposalReceived) -> None:
        island = self.islands[event.island]
        self._spend(island, event.usage)
        island.agent_failures_in_a_row = 0
        self.experiments = max(self.experiments, event.experiment)
        island.queue.append(
            Experiment(
                event.experiment,
                event.island,
                event.parent,
                event.hypothesis,
                event.notes,
                event.agent == NULL,
                event.recorded,
                origin=event.origin,
                agent=event.agent,
            )
        )

    @_apply.register
    def _migrant_offered(self, event: ev.MigrantOffered) -> None:
        self.experiments = max(self.experiments, event.experiment)
        self.islands[event.island].experiment = Experiment(
            event.experiment,
            event.island,
            event.parent,
            event.migrant.hypothesis,
            {},
            origin=event.migrant.origin,
        )

    @_apply.register
    def _agent_failed(self, event: ev.AgentFailed) -> None:
        island = self.islands[event.island]
        self._spend(island, event.usage)
        self.experiments = max(self.experiments, event.experiment)
        if event.error_kind == "exhausted":
            island.exhausted, island.repeats_in_a_row = event.reason, 0
            return
        island.agent_failures += 1
        island.agent_failures_in_a_row += event.error_kind != "stopped"

    @_apply.register
    def _agent_call_started(self, event: ev.AgentCallStarted) -> None:
        self.experiments = max(self.experiments, event.experiment)

    @_apply.register
    def _model_called(self, event: ev.ModelCalled) -> None:
        """Change nothing: the proposal's own events carry its cost."""

    @_apply.register
    def _proposal_refused(self, event: ev.ProposalRefused) -> None:
        island, experiment = self._open(event.island, event.experiment)
        experiment.state = next_state(experiment.state, "refused")
        # a refused migrant is not the agent's failure
        if not self.migrants.is_migrant(event.experiment):
            island.refusals_in_a_row += not event.repeats
            claimed = event.rule == CLAIMED
            island.repeats_in_a_row += bool(event.repeats) and not claimed
            island.claims_in_a_row += claimed
        experiment.repeats, experiment.claimed = event.repeats, event.rule == CLAIMED
        self._close(island, experiment, "refused", f"{event.rule}: {event.reason}", None)

    @_apply.register
    def _candidate_admitted(self, event: ev.CandidateAdmitted) -> None:
        island, experiment = self._open(event.island, event.experiment)
        experiment.state = next_state(experiment.state, "admitted")
        experiment.commit, experiment.lines = event.commit, event.added - event.removed
        experiment.code, experiment.change = event.code, event.change
        self.scores.count_lines(event)
        island.refusals_in_a_row = island.repeats_in_a_row = island.claims_in_a_row = 0

    @_apply.register
    def _candidate_rebased(self, event: ev.CandidateRebased) -> None:
        _, experiment = self._open(event.island, event.experiment)
        experiment.state = next_state(experiment.state, "rebased")
        self.scores.lines.pop(experiment.commit, None)
        experiment.commit, experiment.parent = event.commit, event.parent
        experiment.lines, experiment.code = event.added - event.removed, event.code
        experiment.change = event.change
        self.scores.count_lines(event)

    @_apply.register
    def _candidate_dropped(self, event: ev.CandidateDropped) -> None:
        island, experiment = self._open(event.island, event.experiment)
        experiment.state = next_state(experiment.state, "dropped")
        self._close(island, experiment, "outdated", event.reason, None)

    @_apply.register
    def _trial_started(self, event: ev.TrialStarted) -> None:
        self.running[event.trial] = event
        self.fresh.started(event)
        self.trials_started += 1
        self.trials += 1
        home = self.islands[event.island]
        home.trials += 1
        home.last_active = event.recorded if home.last_active is None else home.last_active
        if event.experiment:
            _, experiment = self._open(event.island, event.experiment)
            if home.experiment is not experiment:
                self._begin(home, experiment)
            occurrence = "screened" if event.purpose == "screen" else "confirmed"
            experiment.state = next_state(experiment.state, occurrence)  # type: ignore[arg-type]  # two literals
            if event.fresh and event.commit == experiment.commit:
                check = experiment.fresh
                check.trial, check.seed, check.piece = event.trial, event.seed, event.fresh
            if occurrence == "confirmed" and not experiment.confirm_turn:
                self._turns += 1
                experiment.confirm_turn = self._turns

    @_apply.register
    def _trial_voided(self, event: ev.TrialVoided) -> None:
        trial = self.running.pop(event.started.trial)
        self.trials -= 1
        self.islands[trial.island].trials -= 1
        self.voids.voided(event, self.run.base)

    @_apply.register
    def _trial_ended(self, event: ev.TrialEnded) -> None:
        trial = self.running.pop(event.started.trial)
        self.claimless += 1
        self.voids.ended(event, self.run.base)
        self.contention.ended(event)
        self.weakest_sandbox = max(self.weakest_sandbox, event.outcome.sandbox, key=STRENGTH.index)
        if event.outcome.score is not None:
            self.evidence = min(self.evidence, event.outcome.evidence, key=EVIDENCE.index)
        island = self.islands[trial.island]
        seconds = event.outcome.seconds
        island.budget_seconds += seconds.get("budget", 0.0) + seconds.get("lost", 0.0)
        if island.last_active is not None:
            island.wall, island.last_active = (
                island.wall + event.recorded - island.last_active,
                event.recorded,
            )
        if trial.purpose not in ev.ISLANDS_OWN or trial.split != "dev":
            return  # stack checks and promotions judge these; agents see nothing of them
        if event.outcome.failure is not None:
            self._broke(trial, event.outcome)
        elif event.outcome.score is not None:
            self._scored(trial, event.outcome.score)
            self.scores.add_measures(trial, event.outcome)
            if trial.fresh:
                _, experiment = self._open(trial.island, trial.experiment)
                experiment.fresh.parts[trial.commit] = event.outcome.parts

    @_apply.register
    def _commit_checked(self, event: ev.CommitChecked) -> None:
        if event.stack or event.promotion:
            return  # the stack check or the promotion takes it up
        if not event.experiment:
            self.base_checked = True
            if not event.ok:
                self.broken_baseline = self.broken_baseline or f"check {event.reason}"
            return
        island, experiment = self._open(event.island, event.experiment)
        experiment.checked = event.ok
        experiment.state = next_state(experiment.state, "checked" if event.ok else "failed")
        if not event.ok:
            reason = f"check: {event.reason}"
            experiment.tail = event.tail
            self._close(island, experiment, "failed", reason, None)

    @_apply.register
    def _fresh_checked(self, event: ev.FreshChecked) -> None:
        island, experiment = self._open(event.island, event.experiment)
        self.fresh.checked(event)
        experiment.fresh.done = event.ok
        experiment.state = next_state(experiment.state, "checked" if event.ok else "failed")
        if not event.ok:
            self._close(island, experiment, "failed", REASON, None)

    @_apply.register
    def _verdict_reached(self, event: ev.VerdictReached) -> None:
        island, experiment = self._open(event.island, event.experiment)
        experiment.state = next_state(experiment.state, event.verdict)
        if experiment.parent not in self.quarantines.commits:
            pairs = self.scores.pairs(experiment)
            self.scores.learn_pairs(pairs)
            self.screens.confirm(experiment.number, pairs)
        if experiment.null:
            self.nulls = Nulls(self.nulls.tried + 1, self.nulls.kept + (event.verdict == "keep"))
            self._close(island, experiment, "null", event.reason, event.gain)
            return
        if event.verdict == "keep" and event.gain is not None:
            self._ask_again()
            self._move_head(island, experiment, event.gain, simpler=event.simpler)
        self._close(island, experiment, _ENDING_OF[event.verdict], event.reason, event.gain)

    @_apply.register
    def _commit_quarantined(self, event: ev.CommitQuarantined) -> None:
        self._ask_again()
        for fallback in event.heads:
            if fallback.new:
                self.islands[fallback.island].head = fallback.new
            else:
                self.broken_baseline = self.broken_baseline or event.reason
        self.memory.quarantine(event.commits, event.reason)
        for island in self.islands.values():
            self._uncount_quarantined(island, event.reason)
        for commit in event.commits:
            self._forget(commit)

    def _uncount_quarantined(self, island: IslandState, reason: str) -> None:
        """Uncount an island's quarantined changes, and hide what agents were shown of them."""
        quarantines, name = self.quarantines, island.opened.island
        island.kept = [kept for kept in island.kept if kept.commit not in quarantines.commits]
        lost = [
            kept
            for kept in self.keeps.values()
            if kept.island == name and kept.commit in quarantines.commits
        ]
        for kept in lost:
            del self.keeps[kept.experiment]
            self._kept_commits.discard(kept.commit)
        lfsr_sum = math.fsum(kept.gain.lfsr for kept in lost)
        self.keep_tally = KeepTally(
            self.keep_tally.count - len(lost), self.keep_tally.lfsr_sum - lfsr_sum
        )
        if lost:
            island.endings["kept"] -= len(lost)
            island.endings["failed"] = island.endings.get("failed", 0) + len(lost)
        for n, attempt in enumerate(island.recent_attempts):
            if attempt.experiment in quarantines.experiments:
                own = any(kept.experiment == attempt.experiment for kept in lost)
                ending: Ending = "failed" if own or attempt.ending == "kept" else attempt.ending
                island.recent_attempts[n] = replace(
                    attempt, ending=ending, reason=reason, gain=None
                )

    def _ask_again(self) -> None:
        """Let every agent be asked again: there is a new head to change, or to take from."""
        for island in self.islands.values():
            island.exhausted = ""

    def _open(self, island: str, number: int) -> tuple[IslandState, Experiment]:
        home = self.islands[island]
        for experiment in (home.experiment, *home.queue):
            if experiment is not None and experiment.number == number:
                return home, experiment
        raise ValueError(f"experiment {number} is not open on island {island}")

    def _begin(self, island: IslandState, experiment: Experiment) -> None:
        """Move a candidate from the queue to measurement: one at a time, and only on the head."""
        number = experiment.number
        if island.experiment is not None:
            raise ValueError(f"experiment {number} begins before {island.experiment.number} ended")
        if experiment.parent != island.head:
            raise ValueError(f"experiment {number} is not on the head of its island")
        island.queue.remove(experiment)
        island.experiment = experiment

    def _withdraw(self, trial: ev.VoidedTrial) -> None:
        self.trials -= 1
        self.islands[trial.island].trials -= 1
        self.scores.withdraw(trial)

    def _uncount_discard(self, island: IslandState, number: int) -> None:
        """Uncount a void discard; agents are no longer shown it."""
        island.endings["discarded"] -= 1
        island.endings["void"] = island.endings.get("void", 0) + 1
        others = [attempt for attempt in island.recent_attempts if attempt.experiment != number]
        island.recent_attempts = deque(others, maxlen=island.recent_attempts.maxlen)

    def _spend(self, island: IslandState, usage: Usage) -> None:
        island.usd += usage.usd
        island.tokens += usage.tokens

    def _scored(self, trial: ev.TrialStarted, score: float) -> None:
        experiment = self.islands[trial.island].experiment
        self.scores.note_slice(trial)
        self.scores.compare_seeds(trial, score)
        if experiment is None or experiment.commit != trial.commit or not trial.experiment:
            self.scores.add(trial, score)
        elif trial.purpose == "screen":
            self._screened(experiment, trial, score)
        else:
            experiment.confirmed[trial.seed] = score

    def _screened(self, experiment: Experiment, trial: ev.TrialStarted, score: float) -> None:
        gain = self.scores.screen_gain(experiment, trial.seed, score)
        if gain is None:
            return
        experiment.screened[trial.seed], experiment.screen_gain = score, gain
        experiment.screen_doubt = self.sentinels.doubt(trial.slice)
        prior, noise = self.prior(), self.scores.noise()
        if noise.pair:
            chance = prior.chance_below(gain / noise.pair / prior.unit)
            self.sentinels.screened(trial.slice, chance)
        unsound = experiment.parent in self.quarantines.commits
        if experiment.null or experiment.origin or unsound:
            return  # not a sample of the agents' proposals, or not measured on a sound head
        self.screens.add(experiment.number, gain)

    def _broke(self, trial: ev.TrialStarted, outcome: Outcome) -> None:
        failure = outcome.failure
        reason = f"{failure.kind}: {failure.reason}" if failure else ""
        if not trial.experiment:
            self.broken_baseline = reason
            return
        if failure is not None and failure.kind == "invalid":
            reason = REASON  # agents are told nothing else: details would help to evade
        island, experiment = self._open(trial.island, trial.experiment)
        if trial.commit != experiment.commit:
            experiment.head_broken.add(trial.seed)
            if trial.fresh:
                experiment.fresh.forget()
            return
        experiment.state = next_state(experiment.state, "failed")
        self._close(island, experiment, "failed", reason, None)

    def _move_head(
        self, island: IslandState, experiment: Experiment, gain: Gain, *, simpler: bool
    ) -> None:
        old, island.head = island.head, experiment.commit
        # the screening score selected the commit, so it is biased and not one of its head's scores
        # (a rule that keeps without confirming has nothing else)
        self.scores.by_commit[experiment.commit] = dict(experiment.confirmed or experiment.screened)
        self.keep_tally = KeepTally(self.keep_tally.count + 1, self.keep_tally.lfsr_sum + gain.lfsr)
        kept = KeptChange(
            experiment.number,
            experiment.commit,
            old,
            experiment.hypothesis,
            gain,
            experiment.origin or experiment.number,
            experiment.island,
            island.slice.device,
            simpler,
        )
        self.keeps[kept.experiment] = kept
        self._kept_commits.add(kept.commit)
        self.claimless, island.restarted = 0, False
        island.kept.append(kept)

    def _forget(self, commit: str) -> None:
        """Drop the scores of a commit unless an island needs it or may be restarted from it."""
        if commit == self.run.base or any(island.needs(commit) for island in self.islands.values()):
            return
        if commit in self._kept_commits:
            return
        self.scores.forget(commit)

    def _close(
        self,
        island: IslandState,
        experiment: Experiment,
        ending: Ending,
        reason: str,
        gain: Gain | None,
    ) -> None:
        if not has_ended(experiment.state):
            raise ValueError(f"experiment {experiment.number} is {experiment.state}, not ended")
        if island.experiment is experiment:
            island.experiment = None
        else:
            island.queue.remove(experiment)
        if island.experiment is None and not island.queue:
            island.exhausted = ""  # how they ended may leave more to try
        change = None
        if gain is not None and not experiment.null:
            change = Migrant(
                experiment.number,
                experiment.origin or experiment.number,
                experiment.island,
                experiment.parent,
                experiment.commit,
                experiment.hypothesis,
                gain,
            )
        self.migrants.experiment_ended(experiment.number, ending, reason, change)
        if ending != "kept":
            self.promotions.forget(experiment.number)
        self._forget(experiment.commit)
        self._forget(experiment.parent)
        island.endings[ending] = island.endings.get(ending, 0) + 1
        if experiment.null:
            return  # agents never learn of null proposals
        self._remember(island, experiment, ending, reason, gain)
        answer = self.memory.of(experiment.repeats)
        island.recent_attempts.append(
            Attempt(
                experiment.number,
                experiment.island,
                experiment.hypothesis,
                experiment.notes,
                ending,
                reason,
                answer.gain if answer else gain,
                experiment.tail,
                experiment.repeats,
                experiment.claimed,
            )
        )

    def _remember(
        self,
        island: IslandState,
        experiment: Experiment,
        ending: Ending,
        reason: str,
        gain: Gain | None,
    ) -> None:
        past = PastChange(
            experiment.number,
            experiment.island,
            experiment.commit,
            experiment.parent,
            island.held,
            ending,
            reason,
            gain,
        )
        if experiment.parent not in self.quarantines.commits:
            self.memory.add(experiment.change, past)


def _note_adoption(island: IslandState, before: list[KeptChange], lost: str) -> None:
    """Add adopted changes to an island's attempts, and mark those that are `lost`, with the reason.

    These are the ones that its new head lacks.
    """
    old, new = ({change.origin for change in kept} for kept in (before, island.kept))
    lacking = {change.experiment for change in before if change.origin not in new}
    for n, attempt in enumerate(island.recent_attempts):
        if attempt.experiment in lacking:
            island.recent_attempts[n] = replace(attempt, ending="outdated", reason=lost)
    for change in island.kept:
        if change.origin not in old:
            reason = f"kept on {change.island}, whose head this island adopted"
            island.recent_attempts.append(
                Attempt(
                    change.experiment,
                    change.island,
                    change.hypothesis,
                    {},
                    "kept",
                    reason,
                    change.gain,
                )
            )


def _start_over(experiment: Experiment) -> None:
    """Clear the scores of an open experiment, which starts over."""
    experiment.state = next_state(experiment.state, "voided")
    experiment.fresh.forget()
    for scores in (experiment.screened, experiment.confirmed, experiment.head_broken):
        scores.clear()
