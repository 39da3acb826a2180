"""Plot of a study: gain, false claims and bias over sigma, with 95 % intervals.

One column a mixture, one line a rule and budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from swarm.simulation.intervals import Share
from swarm.simulation.study import CellSummary

FDR = 0.05
"""Share of false claims at which a line is drawn: the default bound of a run."""

_PANELS = (
    ("true gain of what is reported", "gain"),
    ("share of claims that are false", "false_claims"),
    ("claimed less true gain", "bias"),
)

_WIDTH, _HEIGHT = 4.5, 2.8
"""Inches of one panel."""


def plot(summaries: Sequence[CellSummary], path: Path) -> None:
    """Write the picture in the format of the suffix of `path`."""
    mixtures = list(dict.fromkeys(one.cell.mixture for one in summaries))
    size = (1 + _WIDTH * len(mixtures), _HEIGHT * len(_PANELS))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(_PANELS), len(mixtures), squeeze=False, sharex="col")
    for column, mixture in enumerate(mixtures):
        cells = [one for one in summaries if one.cell.mixture == mixture]
        for row, (label, quantity) in enumerate(_PANELS):
            panel: Axes = axes[row, column]
            _draw(panel, cells, quantity)
            panel.set_ylabel(label if column == 0 else "")
        axes[0, column].set_title(mixture)
        axes[-1, column].set_xlabel("sigma, in median true gains")
    axes[0, 0].legend(fontsize="small")
    figure.savefig(path)


def _draw(panel: Axes, cells: Sequence[CellSummary], quantity: str) -> None:
    def line(one: CellSummary) -> tuple[str, int]:
        return one.cell.rule, one.cell.plan.trials

    for (rule, trials), group in groupby(sorted(cells, key=line), key=line):
        points = sorted(group, key=lambda one: one.cell.conditions.sigma)
        values = [getattr(one, quantity) for one in points]
        sigmas = [one.cell.conditions.sigma for one in points]
        middle = [v.share if isinstance(v, Share) else v.mean for v in values]
        below = [m - v.low for m, v in zip(middle, values, strict=True)]
        above = [v.high - m for m, v in zip(middle, values, strict=True)]
        label = f"{rule}, {trials} trials"
        panel.errorbar(sigmas, middle, [below, above], marker="o", capsize=3, label=label)
    sigmas = sorted({one.cell.conditions.sigma for one in cells})
    panel.set_xscale("log")
    panel.set_xticks(sigmas, [f"{sigma:.3g}" for sigma in sigmas])
    panel.minorticks_off()
    panel.axhline(FDR if quantity == "false_claims" else 0.0, color="grey", linestyle=":")
