"""Prints what passes between two sandboxes: `python -m tests.attacks.channels [CARRIER...]`.

For each carrier and configuration, in bits a second of both ends' own time: what the receiver read
of what the sender wrote, less what its errors cost (a channel of rate R with a share e of wrong
bits carries R (1 - H(e))). Within four standard errors of a guess it is 0: with three, chance
shows bits that did not pass in one table of 84 cells in five. The carriers marked with a star last:
sender and receiver are two sandboxes of one slice, one after the other. The others need both at a
time, on two slices.

Configurations: `none`, which shows that the ends work; `landlock`; `cold`, a sandbox that starts
without a zygote; `command`, that of the user's own commands; `packages`, of task `function` where
the genome needs more than numpy; `compile`, of the gpt task's CPU trials from 60 s; `bare`, of its
shorter trials, of all its scoring on CPUs, of packing and of other functions.
"""

from __future__ import annotations

import math
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.contract import Slice
from harness.cpus import usable_cores
from harness.sandbox import Running, SandboxPolicy, Zygote, python_argv, run

HERE = Path(__file__).parent
sys.path.append(str(HERE))
from carriers import CARRIERS  # noqa: E402  # as inside of sandboxes, where no other folder is

ENDS, FOLDER = HERE / "channel_ends.py", "/ends"
LEAD_S = 8.0
GUESS_ERRORS = 4
MODULES = ("numpy",)
CONFIGURATIONS = {
    "none": {"kind": "none"},
    "landlock": {"kind": "landlock"},
    "cold": {},
    "command": {"torch": False, "event_loop": True, "all_packages": True},
    "packages": {"torch": False, "all_packages": True},
    "compile": {},
    "bare": {"bare": True},
}
COLD = ("none", "cold")


def received(carrier, configuration, folder):
    """Return the bits a second that pass by a carrier between sandboxes of a configuration."""
    cores, ways = usable_cores(), CONFIGURATIONS[configuration]
    read = {FOLDER: folder / "ends"}
    policy = SandboxPolicy(Slice("a", "cpu", (cores[0],)), 60, 512, read=read, **ways)
    other = replace(policy, slice=Slice("b", "cpu", (cores[-1],)))
    lasts = CARRIERS[carrier].lasts
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(
                nullcontext() if configuration in COLD else Zygote(each.slice, MODULES)
            )
            for each in (policy, policy if lasts else other)
        )
        for zygote in filter(None, (one, two)):
            zygote.wait()
        ends = (policy, one), (policy, one) if lasts else (other, two)
        return measured(carrier, folder, *ends)


def measured(carrier, folder, sending, receiving):
    """Let one sandbox send and another receive, and compare."""
    seed, lasts = secrets.randbits(31), CARRIERS[carrier].lasts
    logs = folder / "sent", folder / "received"
    begin = 0.0 if lasts else time.monotonic() + LEAD_S
    end = CARRIERS[carrier](seed, begin)
    end.prepare()
    argv = partial(python_argv, ENDS)
    words = (FOLDER, carrier, str(seed), f"{begin:.3f}")
    policy, zygote = sending
    sender = argv(*words[:1], "send", *words[1:])
    if lasts:
        run(policy, sender, logs[0], zygote)
    with nullcontext() if lasts else Running(policy, sender, logs[0], zygote):
        policy, zygote = receiving
        run(policy, argv(*words[:1], "receive", *words[1:]), logs[1], zygote)
    heard = logs[1].read_text()
    if len(heard.split()) != 2:
        raise ValueError(f"the receiver printed {heard[-300:]!r}")
    got, seconds = heard.split()
    spent = float(seconds) + (float(logs[0].read_text()) if lasts else 0.0)
    return rate(end.sent, [int(bit) for bit in got], spent)


def rate(sent, got, seconds):
    """Return the bits a second that what was received says of what was sent."""
    count = len(sent)
    wrong = sum(one != other for one, other in zip(sent, got, strict=True)) / count
    if abs(wrong - 0.5) < GUESS_ERRORS * 0.5 / math.sqrt(count):
        return 0.0
    error = min(max(wrong, 1 - wrong, 1e-9), 1 - 1e-9)
    entropy = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    return count / seconds * (1 - entropy)


def main(carriers=()):
    """Print the table, or its lines for some carriers."""
    print(f"{'carrier':13}" + "".join(f"{each:>10}" for each in CONFIGURATIONS))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(HERE / "carriers", Path(folder, "ends", "carriers"))
        for carrier in carriers or CARRIERS:
            name = carrier + " *" * CARRIERS[carrier].lasts
            print(f"{name:13}", end="", flush=True)
            for configuration in CONFIGURATIONS:
                print(f"{cell(carrier, configuration, Path(folder)):>10}", end="", flush=True)
            print()


def cell(carrier, configuration, folder):
    """Return a cell's text."""
    try:
        return f"{received(carrier, configuration, folder):,.0f}"
    except Exception as error:  # noqa: BLE001 - this machine cannot make such sandboxes
        print(f"{configuration}: {error!r}", file=sys.stderr)
        return "-"


if __name__ == "__main__":
    main(sys.argv[1:])
