"""What an island's head says of itself when it comes home: the message of the merge."""

from __future__ import annotations

import math

from harness.contract import SetupError
from islands.records import Gain
from islands.state import Island, State


def choose(state: State, name: str) -> Island:
    """Return island `name`, or the one with the largest gain where it is empty.

    Raises SetupError where there is none, or where it has kept nothing.
    """
    if name and name not in state.islands:
        raise SetupError(f"no island {name!r}: the run has {', '.join(state.islands)}")
    among = [state.islands[name]] if name else [*state.islands.values()]
    kept = [island for island in among if island.kept]
    if not kept:
        raise SetupError("nothing was kept yet: let the swarm run on with `swarm launch`")
    return max(kept, key=lambda island: state.gain(island) or -math.inf)


def total(state: State, island: Island) -> Gain:
    """Return the sum of the kept changes' gains, with its standard error.

    Each was measured on pairs of its own, on seeds that had no part in choosing it, and is shrunk:
    their errors are independent and add in squares.
    """
    gains = [change.gain for change in island.kept]
    noise = math.sqrt(math.fsum(gain.noise**2 for gain in gains))
    return Gain(state.gain(island) or 0.0, noise, sum(gain.pairs for gain in gains))


def message(state: State, island: Island, link: str) -> str:
    """Return the merge's message: score, gain ± noise, seeds, harness, and every kept commit.

    `link` is the ledger's last one: with the merge it stands where the ledger's writer cannot
    change it, and `swarm verify` looks for it there.
    """
    run, gain = state.run, total(state, island)
    score, base = state.score(island.head) or 0.0, state.score(run.base) or 0.0
    kept = "\n".join(
        f"Swarm-Kept: {change.commit} gain={change.gain.mean:+.6g}±{change.gain.noise:.2g}"
        f" seeds={change.gain.pairs} experiment={change.experiment}"
        for change in island.kept
    )
    changes = "\n".join(f"- {change.hypothesis.splitlines()[0]}" for change in island.kept)
    return (
        f"Merge swarm {run.run}/{island.opened.island}: {run.metric} {base:.6g} to {score:.6g}\n\n"
        f"Gain {gain.mean:+.6g} ± {gain.noise:.2g} over the base on {gain.pairs} fresh pairs.\n\n"
        f"{changes}\n\n"
        f"Swarm-Run: {run.run}\n"
        f"Swarm-Island: {island.opened.island}\n"
        f"Swarm-Score: {score:.8g}\n"
        f"Swarm-Gain: {gain.mean:+.6g}±{gain.noise:.2g}\n"
        f"Swarm-Seeds: {gain.pairs}\n"
        f"Swarm-Harness: {run.harness}\n"
        f"Swarm-Ledger: {link}\n"
        f"{kept}\n"
    )
