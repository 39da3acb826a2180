"""Prints what passes between two sandboxes that run at a time: `python tests/attacks/channels.py`.

For each carrier, in bits a second: what the receiver in one sandbox read of what the sender in the
other wrote, less what its errors cost (a channel of rate R with a share e of wrong bits carries
R (1 - H(e))). Below three standard errors of a guess it is 0. Cold sandboxes see the system's
files, bare ones none; `none` shows that the ends work.
"""

from __future__ import annotations

import math
import random
import secrets
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.contract import Slice
from harness.cpus import usable_cores
from harness.sandbox import Running, SandboxPolicy, Zygote, python_argv, run
from tests.attacks.channel_ends import BITS, CARRIERS

ENDS = Path(__file__).with_name("channel_ends.py")
LEAD_S = 6.0
COLUMNS = ("none", "landlock", "cold", "bare")


def received(carrier, column, folder):
    """Return the bits a second that pass by a carrier in sandboxes of a column."""
    cores = usable_cores()
    seed, log = secrets.randbits(31), folder / f"{carrier}-{column}"
    kind = column if column in ("none", "landlock") else "namespaces"
    policy = SandboxPolicy(Slice("a", "cpu", (cores[0],)), 60, 512, kind=kind)
    other = replace(policy, slice=Slice("b", "cpu", (cores[-1],)))
    if column != "bare":
        return measured(carrier, seed, log, (policy, None), (other, None))
    policy, other = replace(policy, bare=True), replace(other, bare=True)
    with Zygote(policy.slice, ("numpy",)) as one, Zygote(other.slice, ("numpy",)) as two:
        one.wait()
        two.wait()
        return measured(carrier, seed, log, (policy, one), (other, two))


def measured(carrier, seed, log, sending, receiving):
    """Let one sandbox send and another receive, and compare."""
    if hasattr(CARRIERS[carrier], "prepare"):
        CARRIERS[carrier]().prepare(str(seed))
    begin = f"{time.monotonic() + LEAD_S:.3f}"
    words = partial(python_argv, ENDS)
    policy, zygote = sending
    argv = words("send", carrier, str(seed), begin)
    with Running(policy, argv, log.with_suffix(".s"), zygote):
        policy, zygote = receiving
        run(policy, words("receive", carrier, str(seed), begin), log, zygote)
    got, seconds = log.read_text().split()
    source = random.Random(seed)
    wrong = sum(int(bit) != source.getrandbits(1) for bit in got) / BITS
    if abs(wrong - 0.5) < 3 * 0.5 / math.sqrt(BITS):
        return 0.0
    error = min(max(wrong, 1 - wrong, 1e-9), 1 - 1e-9)
    entropy = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    return BITS / float(seconds) * (1 - entropy)


def main():
    """Print the table."""
    print(f"{'carrier':12}" + "".join(f"{column:>12}" for column in COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for carrier in CARRIERS:
            rates = [cell(carrier, column, Path(folder)) for column in COLUMNS]
            print(f"{carrier:12}" + "".join(f"{rate:>12}" for rate in rates), flush=True)


def cell(carrier, column, folder):
    """Return a cell's text."""
    try:
        return f"{received(carrier, column, folder):.0f}"
    except Exception:  # noqa: BLE001 - this machine cannot make such sandboxes
        return "-"


if __name__ == "__main__":
    main()
