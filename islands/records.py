"""Records of a run: proposals, their results, and what an agent is shown. All are frozen.

A score is signed as the task gives it; a gain is always signed so that above zero is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.contract import SCREENING_AUDIT, Split

Verdict = Literal["keep", "confirm", "discard"]

Purpose = Literal["baseline", "screen", "confirm", "sentinel", "stack", "ablation", "promotion"]
"""Why a trial is run. Screening selects its candidate, so it is never evidence for keeping it."""

Ending = Literal[
    "kept", "discarded", "failed", "refused", "outdated", "null", "void", "quarantined"
]
"""How an experiment ended.

What was kept and is quarantined since counts as quarantined; agents are told that it failed. A null
proposal with any verdict ended as null; a discard that rests on a drifted slice is void.
"""

NULL = "null"
"""Agent name of null proposals (islands/genome/null_edits.py); no real agent may have it."""

RunLimit = Literal["minutes", "trials", "usd", "tokens", "ideas", "score", "stall", "person"]
"""What ends a launch in good order.

ideas: no agent has anything left to try; score: a head has the score that was to be reached;
stall: so many trials without a claim; person: a person asked for it.
"""


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """A trial to run: this commit on this seed.

    commit: the commit to run
    seed: fixes the trial's randomness
    purpose: why it is run
    experiment: the experiment it belongs to, 0 for none
    rung: index in program.md's rungs
    split: the held-out split to score on
    audit: positions scored again for look-ahead
    check_number: number of the sentinel, stack check or promotion it belongs to, 0 for none
    share: fraction of the rung's seconds that the trial is given
    slice: name of the slice to run on, empty for the island's own
    fresh: number of the piece of fresh data to score on as well, 0 for none
    """

    commit: str
    seed: int
    purpose: Purpose
    experiment: int = 0
    rung: int = 0
    split: Split = "dev"
    audit: int = SCREENING_AUDIT
    check_number: int = 0
    share: float = 1.0
    slice: str = ""
    fresh: int = 0


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Checks to run: the problem's command lines on `commit`.

    experiment: the experiment it belongs to, 0 for none
    stack: number of the stack check it belongs to, 0 for none
    promotion: number of the promotion whose stack it is, 0 for none; the base has none of these
    """

    commit: str
    experiment: int = 0
    stack: int = 0
    promotion: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a proposal as it would stand in git: its bytes and its mode."""

    data: bytes
    mode: str = "100644"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a proposal cost, as the provider counts it.

    - `calls`: calls to the model
    - `tokens_in`, `tokens_out`: tokens read and written
    - `usd`: dollars
    - `tokens_untold`: most that calls may have taken that reported no tokens
    """

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    tokens_untold: int = 0

    @property
    def tokens(self) -> int:
        """Return all tokens, those that were never told at their worst."""
        return self.tokens_in + self.tokens_out + self.tokens_untold


@dataclass(frozen=True, slots=True)
class Proposal:
    """Hypothesis and edit, not yet admitted.

    - `files`: maps each changed path of the repository to its new entry, None to delete it
    - `notes`: what the agent wants to see again when it learns how the experiment ended
    """

    hypothesis: str
    files: Mapping[str, Entry | None]
    notes: Mapping[str, str | float] = field(default_factory=dict)
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Conflict:
    """A change does not apply to another commit: `paths` are the files where both differ."""

    paths: tuple[str, ...]


LARGE = 1e9
"""From here on numbers of candidates are written with an exponent: a diverged loss may be 1e228."""

MAX_PLACES = 9
"""Decimal places that a number is written with at most."""


def decimal(value: float, places: int, sign: Literal["", "+"] = "") -> str:
    """Return a number with so many places, one that is too large or too small for them as 1.2e-9.

    A `sign` of "+" stands before numbers from zero, too.
    """
    if abs(value) < LARGE and (value == 0 or abs(value) >= 10**-places):
        return f"{value:{sign}.{places}f}"
    return f"{value:{sign}.3g}"


def _exponent(value: float, digits: int) -> int:
    """Return the power of ten of a number's first digit, once it is rounded to so many digits."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])


@dataclass(frozen=True, slots=True)
class Gain:
    """A paired gain over the head; above zero is better, whatever the metric.

    - `mean`: mean gain, in the metric's unit
    - `noise`: its standard error, in the same unit
    - `pairs`: paired differences that it is the mean of
    - `lfsr`: local false sign rate, the chance that the true gain is zero or less (0.0 where the
      rule computes none)
    """

    mean: float
    noise: float
    pairs: int
    lfsr: float = 0.0

    def format(self, digits: int = 2) -> str:
        """Return the gain as text: the noise to so many significant digits, the mean to its place.

        A mean of 0.0182 with noise 0.012 is "+0.018 ± 0.012", one of 1.82e228 with noise 1.2e227 is
        "+1.82e+228 ± 1.2e+227".
        """
        if not (0 < self.noise < math.inf and math.isfinite(self.mean)):
            return f"{self.mean:+.6g} ± {self.noise:g}"
        exponent = _exponent(self.noise, digits)
        places = max(0, digits - 1 - exponent)
        if places <= MAX_PLACES and max(abs(self.mean), self.noise) < LARGE:
            return f"{self.mean:+.{places}f} ± {self.noise:.{places}f}"
        shown = _exponent(self.mean, digits) - exponent + digits - 1
        return f"{self.mean:+.{max(0, min(shown, MAX_PLACES))}e} ± {self.noise:.{digits - 1}e}"

    @classmethod
    def normal(cls, mean: float, noise: float, pairs: int) -> Gain:
        """Return a gain with the lfsr of a normal error; unknown noise tells no sign."""
        if noise == 0:
            return cls(mean, noise, pairs, 0.5 if mean == 0 else float(mean < 0))
        return cls(mean, noise, pairs, 0.5 * math.erfc(mean / noise / math.sqrt(2)))


def summed(gains: Iterable[Gain]) -> Gain:
    """Return the sum of independent gains, their noise added in squares."""
    parts = [*gains]
    noise = math.sqrt(math.fsum(gain.noise**2 for gain in parts))
    mean, pairs = math.fsum(gain.mean for gain in parts), sum(gain.pairs for gain in parts)
    return Gain.normal(mean, noise, pairs)


@dataclass(frozen=True, slots=True)
class Contender:
    """A change that is measured again at a higher rung.

    - `parent`, `commit`: the two commits whose scores are compared, at both rungs
    - `before`: gain at the lower rung
    - `kinds`: what the change touches (islands/genome/categories.py), the main kind first
    """

    experiment: int
    parent: str
    commit: str
    before: Gain
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """A contender's gain at both rungs, and the verdict."""

    experiment: int
    kinds: tuple[str, ...]
    before: Gain
    after: Gain
    verdict: Literal["transfers", "fades", "reverses"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kendall's tau between the gains of `count` contenders at two rungs, and its 95 % interval."""

    tau: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Migrant:
    """A change that may migrate: what `experiment` made of `parent` on `island`.

    - `origin`: experiment that first made the change, the same for all its copies
    - `gain`: gain on that island
    """

    experiment: int
    origin: int
    island: str
    parent: str
    commit: str
    hypothesis: str
    gain: Gain


@dataclass(frozen=True, slots=True)
class Attempt:
    """A finished experiment as agents are shown it, of their own island or another.

    `tail`: end of what a failed check printed.
    `repeats`: the experiment that had tried the same change, or was trying it; 0 for none.
    `claimed`: it was refused because that experiment had not ended.
    """

    experiment: int
    island: str
    hypothesis: str
    notes: Mapping[str, str | float]
    ending: Ending
    reason: str
    gain: Gain | None = None
    tail: str = ""
    repeats: int = 0
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """An experiment that has not ended, as agents are shown it.

    `island`: where it is under way, "" for the agent's own.
    """

    experiment: int
    hypothesis: str
    notes: Mapping[str, str | float]
    island: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A kept change: the genome's text files before and after it, by path."""

    experiment: int
    island: str
    hypothesis: str
    gain: Gain
    before: Mapping[str, str]
    after: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Brief:
    """Everything an agent is shown for one proposal.

    - `program`: program.md's prose
    - `genome`: the head's text files, by path
    - `score`: the head's mean score
    - `sigma`: standard deviation of one score between seeds
    - `recent`: the island's latest attempts, oldest first
    - `elsewhere`: the latest changes kept on other islands
    - `seed`: fixes all that the agent draws at random
    - `refused`: why the last answer was refused, in one line; if it failed before its trial, more
      lines show the failure and what the answer had changed
    - `port`: a change of another island that conflicts here, to be expressed on this genome
    - `pending`: the island's experiments under way, which need not be proposed again
    - `notes`: what the person who runs this has said since, in their own words, oldest first
    - `claims`: those of the other islands, which are tried there and nowhere else
    - `agent`: name of the agent that is asked, "" where the island has one only
    - `temperament`: what kind of change is asked for, "" for any
    - `left`: what is left of the run's limits, in words, "" where it has none
    - `head`: the commit of `genome`
    - `learned`: what a model has written that the run's verdicts have taught, "" for nothing yet
    - `device`: the kind of device that its trials run on, "" for any
    """

    experiment: int
    island: str
    metric: str
    direction: Literal["minimize", "maximize"]
    program: str
    genome: Mapping[str, str]
    score: float
    sigma: float
    recent: tuple[Attempt, ...]
    elsewhere: tuple[Change, ...]
    seed: int
    refused: str = ""
    port: Change | None = None
    pending: tuple[Pending, ...] = ()
    notes: tuple[str, ...] = ()
    claims: tuple[Pending, ...] = ()
    agent: str = ""
    temperament: str = ""
    left: str = ""
    head: str = ""
    learned: str = ""
    device: str = ""
