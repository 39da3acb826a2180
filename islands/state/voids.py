"""Void trials: how many, why, what they cost, and who is to blame when they do not end.

A void trial runs again. While a disturbance lasts the next one waits, twice as long each time.
Where others keep a slice busier than its trials allow, trials there may take longer after PATIENCE
voids in a row, so that a machine that is always busy still measures, at its own noise.

No candidate can stop a run, or keep its slice for ever. When trials on a slice are void again and
again, the base runs there: it is the user's own, and nothing of a candidate's is in it. If it is
void, too, the machine is at fault, and after MAX_VOIDS_OF_BASE the run stops. If it ends, the
machine is sound, and a commit whose trials are void MAX_VOIDS_OF_COMMIT times in a row has failed
(MAX_DISTURBED_OF_COMMIT where it seemed that others had its cores, since that comes and goes).
Other slices are not probed and do not wait. A problem's checks that are void again and again are
told apart in the same way, by the base's checks (swarm/coordinator/trial_runner.py).

Not covered: a candidate that disturbs the machine only while it runs on one slice, beyond its
limits, can void honest trials on the others; they run again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from harness.contract import LONG_WALL, MAX_WALL, VoidCause
from islands import events as ev

PATIENCE = 2
"""Voids in a row of a busy slice after which its trials may take LONG_WALL budgets."""

PROBE_AFTER = 2
"""Voids in a row on a slice, by errors or signals, after which the base runs there."""

MAX_VOIDS_OF_COMMIT = 3

MAX_DISTURBED_OF_COMMIT = 6

MAX_VOIDS_OF_BASE = 5
"""Voids in a row of the base on a slice after which the machine or the harness is to blame."""

MAX_PAUSE_S = 600.0

MODEL_PAUSE_S = 15.0
"""Seconds to wait after a model did not answer; twice as long each time, so that five voids of the
base in a row outlast four minutes."""

TRIALS_VOID = "its trials were void again and again, and the base's were not"

CHECKS_VOID = "its checks were void again and again, and the base's were not"
"""Why a commit failed that could not be measured: that shows nothing of its worth."""

DISTURBED: Final[frozenset[VoidCause]] = frozenset({"busy", "still"})
"""Causes that lie with other programs on this machine, as far as can be told."""


@dataclass(slots=True)
class _Trouble:
    """Void trials on a slice since the last that ended there.

    errors, disturbed: of candidates and heads, by kind of cause
    base: of the base, by errors
    sound: whether the base has ended well since the first of them
    """

    errors: int = 0
    disturbed: int = 0
    base: int = 0
    sound: bool = False


class Voids:
    """The fold of void trials.

    - `causes`: void trials by cause
    - `seconds`: wall time that they took
    """

    def __init__(self) -> None:
        self.causes: Counter[VoidCause] = Counter()
        self.seconds = 0.0
        self._of_commit: dict[str, Counter[bool]] = {}
        self._on_slice: dict[str, int] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._busy: set[str] = set()

    def voided(self, event: ev.TrialVoided, base: str) -> None:
        """Take in a void trial of a run that began at commit `base`."""
        started, cause = event.started, event.cause
        self.causes[cause] += 1
        self.seconds += event.ended - started.recorded
        if cause == "drift":
            return
        self._on_slice[started.slice] = self._on_slice.get(started.slice, 0) + 1
        self._blame(started, base, disturbed=cause in DISTURBED)
        if cause == "busy" and self._on_slice[started.slice] >= PATIENCE:
            self._busy.add(started.slice)

    def _blame(self, started: ev.TrialStarted, base: str, *, disturbed: bool) -> None:
        trouble = self._trouble.setdefault(started.slice, _Trouble())
        if started.commit == base:
            trouble.base += not disturbed
            return
        trouble.errors += not disturbed
        trouble.disturbed += disturbed
        self._of_commit.setdefault(started.commit, Counter())[disturbed] += 1

    def ended(self, event: ev.TrialEnded, base: str) -> None:
        """Take in a trial that ended with an outcome."""
        started = event.started
        if started.commit == base and started.slice in self._trouble:
            self._trouble[started.slice] = _Trouble(sound=True)
        else:
            self._trouble.pop(started.slice, None)
        self._of_commit.pop(started.commit, None)
        self._on_slice.pop(started.slice, None)
        budget, lost = (event.outcome.seconds.get(name, 0.0) for name in ("budget", "lost"))
        if budget + lost <= MAX_WALL * budget:
            self._busy.discard(started.slice)

    def max_wall(self, slice_name: str) -> float:
        """Return the wall time, in budgets, that the next trial on a slice may take."""
        return LONG_WALL if slice_name in self._busy else MAX_WALL

    def probe_due(self, slice_name: str) -> bool:
        """Return whether the base should run on a slice, to tell who is at fault."""
        trouble = self._trouble.get(slice_name, _Trouble())
        return trouble.errors >= PROBE_AFTER or trouble.disturbed >= MAX_DISTURBED_OF_COMMIT

    def machine_at_fault(self, slice_name: str) -> bool:
        """Return whether the base itself has been void too often on a slice."""
        return self._trouble.get(slice_name, _Trouble()).base >= MAX_VOIDS_OF_BASE

    def exhausted(self, started: ev.TrialStarted, cause: VoidCause) -> bool:
        """Return whether a void by `cause` makes one more than a commit is allowed.

        Never while the machine itself may be at fault.
        """
        disturbed = cause in DISTURBED
        limit = MAX_DISTURBED_OF_COMMIT if disturbed else MAX_VOIDS_OF_COMMIT
        count = self._of_commit.get(started.commit, Counter())[disturbed] + 1
        sound = self._trouble.get(started.slice, _Trouble()).sound
        return sound and cause != "drift" and count >= limit

    def pause_s(self, slice_name: str, cause: VoidCause, budget: float) -> float:
        """Return the seconds to wait after a void trial before the next one on its slice."""
        return pause_after(self._on_slice.get(slice_name, 1), cause, budget)


def pause_after(in_a_row: int, cause: VoidCause, budget: float) -> float:
    """Return the seconds to wait after so many voids in a row, the last one by `cause`."""
    units = {"busy": budget, "still": 1.0, "harness": 1.0, "model": MODEL_PAUSE_S}
    return min(MAX_PAUSE_S, units.get(cause, 0.0) * 2.0 ** min(in_a_row - 1, 16))
