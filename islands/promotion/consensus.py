"""The consensus: a promoted stack as one commit for each surviving change, with its evidence.

This module builds the commit messages; swarm/coordinator/run_actions.py makes the commits.
Trailers, as `git interpret-trailers` reads them: Swarm-Gain is the change's own gain ± its standard
error on the island that kept it, on Swarm-Seeds pairs at rung Swarm-Rung; Swarm-Promoted is its
gain at the higher rung, if it was measured there by itself.

Not covered: islands do not rebase on the consensus; its changes reach them as migrants.
"""

from __future__ import annotations

from islands import events as ev
from islands import trailers
from islands.promotion.state import Attribution
from islands.records import Contender

NAME = "consensus"
"""The branch below `swarm/<run>/`; no island may have this name."""

UNKNOWN = Attribution("", "", 0.0, "Change")
"""Stands for a change whose proposal is not recorded."""


def message(run: str, promoted: ev.PromotionEnded, change: Contender, credit: Attribution) -> str:
    """Return the message of the commit that brings `change` into the consensus."""
    subject, _, rest = credit.hypothesis.strip().partition("\n")
    body = f"{rest.strip()}\n\n" if rest.strip() else ""
    gain = change.before
    values: trailers.Values = {
        "Run": run,
        "Experiment": change.experiment,
        "Island": credit.island,
        "Agent": credit.agent,
        "Gain": f"{gain.mean:+.6g}±{gain.noise:.2g}",
        "Seeds": gain.pairs,
        "Rung": 0,
        "Promoted": [
            f"rung {promoted.rung} {part.after.mean:+.6g}±{part.after.noise:.2g}"
            f" seeds={part.after.pairs} {part.verdict}"
            for part in promoted.contenders
            if part.experiment == change.experiment
        ],
        "Cost": f"${credit.usd:.4f}",
    }
    return f"{subject.strip()[:100] or 'Change'}\n\n{body}{trailers.write(values)}"


def stack_message(run: str, promoted: ev.PromotionEnded, parts: list[Attribution]) -> str:
    """Return the message of one commit for a stack whose parts do not apply one by one."""
    lines = "\n".join(f"- {credit.hypothesis.strip().splitlines()[0]}" for credit in parts)
    values: trailers.Values = {
        "Run": run,
        "Experiment": " ".join(map(str, promoted.parts)),
        "Gain": f"{promoted.after.mean:+.6g}±{promoted.after.noise:.2g}",
        "Seeds": promoted.after.pairs,
        "Rung": promoted.rung,
    }
    return f"Stack {len(promoted.parts)} changes\n\n{lines}\n\n{trailers.write(values)}"
