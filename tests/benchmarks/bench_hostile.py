"""What hostile candidates do to honest ones: `python -m tests.benchmarks.bench_hostile [HOSTILE]`.

Runs of `swarm launch` on packing, with real sandboxes and a model that proposes what it is told to:
honest candidates alone, the same ones in turn with as many hostile ones (50), which try to make
trials void, late or slow, and honest ones alone again. Each honest candidate computes for a fixed
number of steps. Prints the ratios of the honest ones' median scores and times (by the trials' own
clock) to those of the two runs alone, and of these two to each other: what this machine makes of
it. Then what became of the hostile ones, and what ended each run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from itertools import count
from pathlib import Path
from statistics import median

from tests.support.loopback import Loopback
from tests.support.obedient_model import KEYS, proposal, repository
from tests.support.target import command, environment, ledger

BASELINE = 3
REPEATED = 0.3  # of the hostile ones' trials, since they are void

STEPS = "steps = sum(n * n for n in range(4_000_000))"

HOSTILE = {
    "kills itself": "os.kill(os.getpid(), 9)",
    "kills itself on some seeds": "seed % 2 and os.kill(os.getpid(), 9)",
    "ends itself politely": "os.kill(os.getpid(), 15)",
    "stops itself": "os.kill(os.getpid(), 19)",
    "aborts": "os.abort()",
    "never returns": "while True: pass",
    "sleeps": "time.sleep(9999)",
    "forks": "while True: os.fork()",
    "threads": "import threading; [threading.Thread(target=pack, args=(seed, 0)).start() for _ in "
    "range(500)]",
    "takes memory": "held = [bytearray(64 << 20) for _ in range(10000)]",
    "takes the disk": "[open(f'/tmp/{n}', 'wb').write(bytes(32 << 20)) for n in range(10000)]",
    "makes files": "[open(f'/dev/shm/{n}', 'w') and None for n in range(10**7)]",
    "floods the log": "[os.write(1, b'x' * 65536) for _ in range(10**6)]",
    "takes descriptors": "held = [os.pipe() for _ in range(10**6)]",
    "leaves daemons": "os.fork() or (os.setsid(), time.sleep(9999))",
    "closes everything": "os.closerange(0, 1 << 16)",
    "kills all": "os.kill(-1, 9)",
}


def hostile(number):
    """Return the name and the line of a hostile candidate."""
    name = [*HOSTILE][number % len(HOSTILE)]
    return name, f"{HOSTILE[name]}; STEP = {number + 1}"


class Model:
    """Proposes honest candidates, where `mixed` in turn with hostile ones."""

    def __init__(self, mixed):
        self.mixed, self.numbers, self.honest, self.hostile = mixed, count(), 0, 0

    def answer(self, _):
        """Return the next proposal."""
        if self.mixed and next(self.numbers) % 2 == 0:
            name, line = hostile(self.hostile)
            self.hostile += 1
            return proposal(f"hostile: {name}", f"    {STEPS}", f"    {line}")
        self.honest += 1
        return proposal(f"honest {self.honest}", "STEP = 0", f"STEP = {self.honest}")


def measured(folder, candidates, *, mixed):
    """Run; return the trials by what was proposed, and how the run ended."""
    with Loopback(Model(mixed).answer) as server:
        repo = repository(folder, server, BASELINE, STEPS)
        trials = BASELINE + candidates * (1 + mixed * (1 + REPEATED))
        words = command("launch", "--trials", round(trials))
        env = environment(**KEYS)
        subprocess.run(words, cwd=repo, env=env, check=True, capture_output=True)
    return ledger(repo)


def proposed(events):
    """Yield the hypothesis and the end of each trial of a candidate."""
    said = {e["experiment"]: e["hypothesis"] for e in events if e["kind"] == "proposal_received"}
    for event in events:
        if "started" in event and event["started"]["experiment"] in said:
            yield said[event["started"]["experiment"]], event


def honest(events):
    """Return score and seconds, by the trials' own clock, of each honest candidate."""
    ends = [(name, end.get("outcome")) for name, end in proposed(events)]
    return {
        name: (outcome["score"], outcome["seconds"]["budget"])
        for name, outcome in ends
        if name.startswith("honest") and outcome
    }


def main(number):
    """Run twice and print what came of it."""
    runs = []
    for mixed in (False, True, False):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measured(Path(folder), number, mixed=mixed))
    before, beside, after = map(honest, runs)
    both = before.keys() & beside.keys() & after.keys()
    for place, what in enumerate(("scores", "seconds")):
        first, among, last = (
            median(each[name][place] for name in both) for each in (before, beside, after)
        )
        ratio, itself = 2 * among / (first + last), last / first
        print(f"{what} of {len(both)} honest candidates, with to without: {ratio:.3f}", end=", ")
        print(f"without to without: {itself:.3f}")
    ends = defaultdict(Counter)
    for name, end in proposed(runs[1]):
        if name.startswith("hostile"):
            ends[name][_what(end)] += 1
    for name, counts in sorted(ends.items()):
        print(f"{name:36} " + ", ".join(f"{count} {end}" for end, count in counts.items()))
    for events in runs:
        print(f"ended by {events[-1]['reason']} after {_seconds(events):.0f} s")


def _what(end):
    """Return in a word what came of a trial."""
    if "outcome" not in end:
        return f"void ({end['cause']})"
    failure = end["outcome"]["failure"]
    return failure["kind"] if failure else "scored"


def _seconds(events):
    return events[-1]["recorded"] - events[0]["recorded"]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
