"""What a perfect channel between sandboxes is worth: `python -m tests.benchmarks.bench_fresh`.

A model that is given back all of dev, as if every scoring sandbox had told it what it was asked,
and honest models are each compared with the honest bigram model, as before a keep: one pair of
trials in the real sandbox, on the real corpus, on a piece of fresh text of its own. Prints the
gains on dev and on fresh text, and how many hold. Takes the number of pairs of each (3).
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from harness.data import open_corpus
from harness.trial import measure
from islands.ratchet.fresh import compare
from tests.cheats import table

HONEST = ("honest_bigram", "honest_attention", "honest_recurrent")


def main(pairs):
    """Print a line for each pair, and the sums."""
    with tempfile.TemporaryDirectory() as folder, table.bench(Path(folder)) as on:
        open_corpus("kjv").tokens("dev").tofile(on.folder / "heard.u16")
        (on.folder / "heard.u16").chmod(0o644)
        for kind, names in (("remembers dev", ("remembering",)), ("honest", HONEST)):
            held = [shown(on, names[n % len(names)], n + 1) for n in range(pairs)]
            print(f"{kind}: {sum(held)} of {pairs} hold, {pairs - sum(held)} quarantined")


def shown(on, name, number):
    """Print what came of one pair; return whether the gain holds."""
    head, own = (scored(on, each, number) for each in (table.BASE, name))
    gains = compare(head.parts, own.parts, "minimize")
    seconds = own.seconds
    took = f"score {seconds['score']:.1f} s, fresh {seconds['fresh']:.1f} s"
    both = f"dev {gains.dev.format():>18}  fresh {gains.fresh.format():>18}"
    print(f"{name:18} {both}  chance {gains.chance:.1e}  {took}", flush=True)
    return gains.holds


def scored(on, name, number):
    """Return the outcome of a trial on a piece of fresh text."""
    trial = replace(on.trial(name, number), fresh=number)
    outcome = measure(trial, on.confine, "harness")
    assert outcome.failure is None, outcome.failure
    return outcome


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
