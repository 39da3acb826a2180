"""Bars: what each change of a stack is worth (ablation), and where time and money went (cost)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from analysis.pictures.source import RunSource, short
from analysis.pictures.style import Theme, colour, label, legend, panels, say_nothing
from analysis.questions.cost import cost_by_agent
from harness.contract import SetupError

_Z = 1.959964
"""Standard errors on each side of a 95 % interval."""

MAX_BARS = 24
"""Changes that are shown, those that are worth most: more would not be legible."""

_NAMES = "SELECT experiment, hypothesis FROM nodes WHERE experiment IN (SELECT unnest(?))"

_TIME = """
SELECT purpose, sum(epoch(ended) - epoch(started)) / 3600 AS hours,
  sum(CASE WHEN state = 'voided' THEN epoch(ended) - epoch(started) ELSE 0 END) / 3600 AS void
FROM trials WHERE ended IS NOT NULL GROUP BY purpose ORDER BY hours
"""


def draw_ablation(source: RunSource, figure: Figure, theme: Theme) -> None:
    """Draw what the stack loses without each of its changes, with 95 % intervals."""
    (panel,) = panels(figure, theme)
    try:
        ablation = source.ablation()
    except SetupError as error:
        say_nothing(panel, theme, str(error))
        return
    parts = ablation.parts[:MAX_BARS][::-1]
    shown = source.rows(_NAMES, [[part.experiment for part in parts]])
    names = {row["experiment"]: row["hypothesis"] for row in shown}
    places = range(len(parts))
    tones = [colour(0) if part.basis == "measured" else colour(6) for part in parts]
    means, errors = [p.worth.mean for p in parts], [_Z * p.worth.noise for p in parts]
    bars: dict[str, Any] = {"ecolor": theme.text, "capsize": 3}
    panel.barh(places, means, xerr=errors, color=tones, height=0.62, error_kw=bars)
    for basis, place in (("measured", 0), ("estimated", 6)):
        if any(part.basis == basis for part in parts):
            panel.barh([0], [0], color=colour(place), label=basis)
    labels = [f"#{p.experiment} {short(names.get(p.experiment, ''))}" for p in parts]
    panel.set_yticks(list(places), labels)
    panel.axvline(0.0, color=theme.text, linewidth=0.8)
    metric = source.run()["metric"]
    which = "each change"
    if len(ablation.parts) > MAX_BARS:
        which = f"each of the {MAX_BARS} that are worth most of its {len(ablation.parts)} changes"
    title = f"what {ablation.commit[:10]} ({ablation.whole.format()}) loses without {which}"
    label(panel, theme, f"gain in {metric}, 95 % interval", "", title)
    legend(panel, theme, "lower right")


def draw_cost(source: RunSource, figure: Figure, theme: Theme) -> None:
    """Draw slice hours by purpose of the trials, and dollars by agent where any were spent."""
    paid = [agent for agent in cost_by_agent(source.con) if agent.usd > 0]
    axes = panels(figure, theme, 2 if paid else 1)
    rows = source.rows(_TIME)
    if not rows:
        say_nothing(axes[0], theme, "no trial has ended yet")
        return
    names = [row["purpose"] for row in rows]
    good = [row["hours"] - row["void"] for row in rows]
    axes[0].barh(names, good, color=colour(0), label="used")
    axes[0].barh(names, [row["void"] for row in rows], left=good, color=colour(1), label="void")
    label(axes[0], theme, "slice hours", "", "slice time by purpose")
    legend(axes[0], theme, "lower right")
    if paid:
        axes[1].barh([agent.agent for agent in paid], [a.usd for a in paid], color=colour(2))
        label(axes[1], theme, "dollars", "", "dollars by agent")
