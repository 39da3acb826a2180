"""Options of `swarm simulate nights` for what disturbs trials and proposals.

What each does is in swarm/simulation/disturbances.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import click

from harness.contract import SetupError
from swarm.cli.console import Command, FiniteFloat, FiniteRange, add_options
from swarm.simulation.disturbances import (
    LOAD_PATTERNS,
    SPIKE_CAUSES,
    Drift,
    Load,
    LoadPattern,
    SpikeCause,
    Spikes,
    Throttling,
    Trend,
)
from swarm.simulation.world import MIN_TAILS, Conditions

NOT_NEGATIVE = FiniteRange(min=0)


@dataclass(frozen=True, slots=True)
class DisturbanceOptions:
    """The options, by their names on the command line."""

    drift: float = 0.0
    slow_slice: float = 0.0
    load: LoadPattern = "none"
    load_size: float = 10.0
    throttling: float = 0.0
    spikes: float = 0.0
    spike_size: float = 50.0
    spike_cause: SpikeCause = "trial"
    tails: float = 0.0
    still: float = 0.0
    drying: float = 0.0
    learning: float = 0.0

    def applied(self, conditions: Conditions) -> Conditions:
        """Return `conditions`, disturbed. Raises SetupError where two options conflict."""
        if self.drift and self.slow_slice:
            raise SetupError("--drift and --slow-slice: choose one")
        if 0 < self.tails <= MIN_TAILS:
            raise SetupError(f"--tails {self.tails:g}: give more than {MIN_TAILS:g} degrees, or 0")
        drift = Drift(self.drift) if self.drift else None
        return replace(
            conditions,
            drift=Drift(self.slow_slice, onset=0.0) if self.slow_slice else drift,
            load=Load(self.load, 0.0 if self.load == "none" else self.load_size),
            throttling=Throttling(self.throttling),
            spikes=Spikes(self.spikes, self.spike_size, self.spike_cause),
            tails=self.tails,
            still=self.still,
            trend=Trend(self.drying, self.learning),
        )


def taken_from(options: dict[str, Any]) -> DisturbanceOptions:
    """Take the options of this module out of `options`."""
    return DisturbanceOptions(**{name.name: options.pop(name.name) for name in fields(_DEFAULTS)})


_DEFAULTS = DisturbanceOptions()

_SIZES = (
    ("--drift", FiniteFloat(), "How much worse slice s0 scores from half-way on, in median gains."),
    ("--slow-slice", FiniteFloat(), "How much worse slice s0 scores all along, in median gains."),
    (
        "--load",
        click.Choice(LOAD_PATTERNS),
        "When other programs run beside the trials; late: from a tenth of the run on.",
    ),
    (
        "--load-size",
        NOT_NEGATIVE,
        "How much worse a trial scores beside them, in median true gains.",
    ),
    ("--throttling", NOT_NEGATIVE, "How much worse a hot machine scores, in median true gains."),
    ("--spikes", FiniteRange(0, 0.5), "Share of the scores that are far off."),
    ("--spike-size", NOT_NEGATIVE, "How far off these are on average, in sigmas."),
    (
        "--spike-cause",
        click.Choice(SPIKE_CAUSES),
        "What a spike strikes: one trial, or each trial of one commit on one seed.",
    ),
    ("--tails", NOT_NEGATIVE, "Degrees of freedom of Student's t as the noise; 0: normal noise."),
    ("--still", FiniteRange(0, 1), "Share of the run in which no score varies."),
    ("--drying", NOT_NEGATIVE, "Proposals after which half of the gains are gone; 0: never."),
    (
        "--learning",
        NOT_NEGATIVE,
        "Proposals after which half of those that gain nothing are proposed again; 0: never.",
    ),
)


def disturbance_options(command: Command) -> Command:
    """Give `command` the options of this module."""
    options = [
        click.option(
            name,
            type=kind,
            default=getattr(_DEFAULTS, name[2:].replace("-", "_")),
            show_default=True,
            help=text,
        )
        for name, kind, text in _SIZES
    ]
    return add_options(command, options)
