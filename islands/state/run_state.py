"""The state of a run: the fold of its events, which every decision reads.

`State.apply` takes events in ledger order and nothing else, so a resumed run decides exactly as the
one that stopped would have. Ended experiments leave counts, kept changes, the latest attempts and
what the memory of changes holds of them: the state's size is bounded however many are discarded.
"""

from __future__ import annotations

from islands import events as ev
from islands.state import experiment_events, head_events, run_events, trial_events
from islands.state.run_facts import RunFacts

_FOLDS = (run_events.fold, experiment_events.fold, trial_events.fold, head_events.fold)


class State(RunFacts):
    """The fold of a run's events."""

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
        for fold in _FOLDS:
            fold(event, self)
        self.promotions.apply(event)
        self.stacks.apply(event)
        self.calls.apply(event)
        self.arms.apply(event)
        self.steering.apply(event)
