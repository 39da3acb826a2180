"""A study as a picture: gain, unreal claims and bias over sigma, with 95 % intervals.

Mixtures stand side by side; every rule and budget has its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from swarm.simulation.intervals import Share
from swarm.simulation.study import Summary

FDR = 0.05
"""Share of unreal claims at which a line is drawn: what a run promises by default."""

_PANELS = (
    ("true gain of what is reported", "gain"),
    ("share of claims that are unreal", "unreal_claims"),
    ("claimed less true gain", "bias"),
)

_WIDTH, _HEIGHT = 4.5, 2.8
"""Inches of one panel."""


def plot(found: Sequence[Summary], path: Path) -> None:
    """Write the picture; the suffix of `path` says of which kind."""
    mixtures = list(dict.fromkeys(one.cell.mixture for one in found))
    size = (1 + _WIDTH * len(mixtures), _HEIGHT * len(_PANELS))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(_PANELS), len(mixtures), squeeze=False, sharex="col")
    for column, mixture in enumerate(mixtures):
        among = [one for one in found if one.cell.mixture == mixture]
        for row, (label, what) in enumerate(_PANELS):
            panel: Axes = axes[row, column]
            _draw(panel, among, what)
            panel.set_ylabel(label if column == 0 else "")
        axes[0, column].set_title(mixture)
        axes[-1, column].set_xlabel("sigma, in median true gains")
    axes[0, 0].legend(fontsize="small")
    figure.savefig(path)


def _draw(panel: Axes, among: Sequence[Summary], what: str) -> None:
    def line(one: Summary) -> tuple[str, int]:
        return one.cell.rule, one.cell.plan.trials

    for (rule, trials), group in groupby(sorted(among, key=line), key=line):
        points = sorted(group, key=lambda one: one.cell.conditions.sigma)
        values = [getattr(one, what) for one in points]
        sigmas = [one.cell.conditions.sigma for one in points]
        middle = [v.share if isinstance(v, Share) else v.mean for v in values]
        below = [m - v.low for m, v in zip(middle, values, strict=True)]
        above = [v.high - m for m, v in zip(middle, values, strict=True)]
        label = f"{rule}, {trials} trials"
        panel.errorbar(sigmas, middle, [below, above], marker="o", capsize=3, label=label)
    sigmas = sorted({one.cell.conditions.sigma for one in among})
    panel.set_xscale("log")
    panel.set_xticks(sigmas, [f"{each:.3g}" for each in sigmas])
    panel.minorticks_off()
    panel.axhline(FDR if what == "unreal_claims" else 0.0, color="grey", linestyle=":")
