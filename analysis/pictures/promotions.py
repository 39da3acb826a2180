"""Gain at the next rung against gain at the rung below, for each change a promotion measured."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from analysis.pictures.source import RunSource
from analysis.pictures.style import Theme, colour, label, legend, panels, say_nothing

_MEASURED = """
SELECT experiment, lower_gain, lower_noise, gain, noise, verdict FROM contenders
WHERE lower_gain IS NOT NULL AND gain IS NOT NULL ORDER BY check_number, experiment
"""

_VERDICTS = ("transfers", "fades", "reverses")


def draw(source: RunSource, figure: Figure, theme: Theme) -> None:
    """Draw one point a change, with standard errors; on the dashed line both gains are equal."""
    (panel,) = panels(figure, theme)
    rows = source.rows(_MEASURED)
    if not rows:
        say_nothing(panel, theme, "no promotion has measured anything yet")
        return
    for place, verdict in enumerate(_VERDICTS):
        own = [row for row in rows if row["verdict"] == verdict]
        if own:
            panel.errorbar(
                [row["lower_gain"] for row in own],
                [row["gain"] for row in own],
                [row["noise"] or 0.0 for row in own],
                [row["lower_noise"] or 0.0 for row in own],
                fmt="o",
                color=colour((2, 6, 1)[place]),
                capsize=2,
                label=f"{verdict} ({len(own)})",
            )
    for row in rows:
        at = (row["lower_gain"], row["gain"])
        style: dict[str, Any] = {"fontsize": 7, "color": theme.text}
        panel.annotate(
            f"#{row['experiment']}", at, xytext=(5, 5), textcoords="offset points", **style
        )
    panel.axline((0, 0), slope=1, color=theme.faint, linestyle="--", linewidth=1)
    panel.axhline(0, color=theme.text, linewidth=0.8)
    metric = source.run()["metric"]
    title = "do gains survive at the next rung?"
    label(panel, theme, f"gain in {metric} below", f"gain in {metric} at the next rung", title)
    legend(panel, theme, "upper left")
