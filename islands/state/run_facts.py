"""The parts of a run's state, and the questions that need several of them."""

from __future__ import annotations

import math

from harness.contract import EVIDENCE, STRENGTH, Direction, Evidence, SandboxKind
from islands import events as ev
from islands.drift.level_moves import LevelMoves
from islands.drift.sentinels import Sentinels
from islands.migration import Migrants
from islands.promotion.state import Promotions
from islands.quarantine import Quarantines
from islands.ratchet.acceptance import KeepTally
from islands.ratchet.learnt_prior import Earned
from islands.ratchet.prior import GainPrior, prior_of_migrant
from islands.ratchet.screening import ScreenedGains
from islands.stacking.state import StackChecks
from islands.state.arms import Arms
from islands.state.attempts import EndedAttempts
from islands.state.contention import Contention
from islands.state.fresh import FreshData
from islands.state.memory import ChangeMemory, Recalled
from islands.state.pending_calls import PendingCalls
from islands.state.population import Experiment, IslandState, KeptChange, Nulls
from islands.state.scores import Scores
from islands.state.steering import Steering
from islands.state.time_use import TimeUse
from islands.state.voids import Voids


class RunFacts:
    """The parts of a run's state, each folded from events by its own module."""

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
        self.own_trials = 0
        self.trials_started = 0
        self.voids = Voids()
        self.contention = Contention()
        self.fresh = FreshData()
        self.weakest_sandbox: SandboxKind = STRENGTH[0]
        self.evidence: Evidence = EVIDENCE[-1]
        self.keep_tally = KeepTally()
        self.keeps: dict[int, KeptChange] = {}
        self.kept_commits: set[str] = set()
        self.nulls = Nulls()
        self.promotions = Promotions()
        self.stacks = StackChecks()
        self.migrants = Migrants()
        self.quarantines = Quarantines()
        self.calls = PendingCalls()
        self.steering = Steering()
        self.merges: list[ev.Merged] = []
        self.claimless = 0
        self.verdicts = 0
        self.summary = ""
        self.summary_asked_at = 0
        self.memory = ChangeMemory()
        self.attempts = EndedAttempts()
        self.arms = Arms()
        self.time_use = TimeUse()
        self.sentinels = Sentinels()
        self.scores = Scores(self.sentinels)
        self.screens = ScreenedGains()
        self.moves = LevelMoves()
        self.confirm_turns = 0

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
        """The US dollars spent by all islands and trials, pending calls at their most."""
        return sum(island.usd for island in self.islands.values()) + self.calls.usd

    @property
    def tokens(self) -> int:
        """The tokens used by all islands and trials, pending calls at their most."""
        return sum(island.tokens for island in self.islands.values()) + self.calls.tokens

    def prior(self) -> GainPrior:
        """Return the prior of the gains of the run's proposals, at most a few proposals old."""
        earned = Earned(self.keep_tally.gain_sum, self.own_trials)
        return self.screens.prior(self.scores.noise(), earned, self.scores.noise_of_small())

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

    def ask_again(self) -> None:
        """Let every agent be asked again: there is a new head to change, or to take from."""
        for island in self.islands.values():
            island.exhausted = ""

    def open_experiment(self, island: str, number: int) -> tuple[IslandState, Experiment]:
        """Return an island and its open experiment of a number. Raises ValueError for none."""
        home = self.islands[island]
        for experiment in (home.experiment, *home.queue):
            if experiment is not None and experiment.number == number:
                return home, experiment
        raise ValueError(f"experiment {number} is not open on island {island}")

    def forget(self, commit: str) -> None:
        """Drop the scores of a commit unless an island needs it or may be restarted from it."""
        if commit == self.run.base or any(island.needs(commit) for island in self.islands.values()):
            return
        if commit in self.kept_commits:
            return
        self.scores.forget(commit)
