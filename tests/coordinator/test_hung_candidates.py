"""Candidates that hang and leave children behind: each costs its time limit and nothing else."""

import uuid
from itertools import count

import psutil
import pytest

from tests.support.loopback import KEY, Loopback, Say
from tests.support.target import git, ledger, packing, swarm

LIMIT = 1.0
BASELINE = 2

GENOME = """\
import os
import time

STEP = 0


def pack(seed, deadline):
    radius = (1 - seed % 97 / 1e5 - (STEP != 0) / 10) / 12
    return [((i % 6 + 0.5) / 6, (i // 6 + 0.5) / 6, radius) for i in range(26)]
"""

WORSE = "STEP = {number}"

HANGING = """\
for _ in range(8):
    if not os.fork():
        os.setsid()
        if not os.fork():
            with open("/proc/self/comm", "w") as name:
                name.write("{mark}")
            while True:
                time.sleep(3600 + {number})
        os._exit(0)
while True:
    pass"""

ANSWER = """\
HYPOTHESIS: number {number}

FILE: genome/pack.py
<<<<<<< SEARCH
{old}
=======
{new}
>>>>>>> REPLACE
"""


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("hung", "candidates"), [(2, 5), pytest.param(6, 40, marks=pytest.mark.soak)]
)
def test_candidates_that_hang_cost_their_limit_and_no_other_candidate(tmp_path, hung, candidates):
    """The other candidates are evaluated, and no process of a hung one survives."""
    mark = f"hung{uuid.uuid4().hex[:10]}"  # the name by which the children are recognised
    numbers = count(1)

    def answer(request):
        number = next(numbers)
        if number > hung:
            old, new = "STEP = 0", WORSE.format(number=number)
        else:
            old = "    radius = (1 - seed % 97 / 1e5 - (STEP != 0) / 10) / 12"
            lines = HANGING.format(mark=mark, number=number).splitlines()
            new = "\n".join(f"    {line}" for line in lines)
        return Say(ANSWER.format(number=number, old=old, new=new))

    with Loopback(answer) as server:
        model = {"kind": "openai", "model": "m", "api_key_env": "POISON_KEY"}
        model |= {"base_url": f"{server.url}/v1", "requests_per_minute": 100_000}
        repo = packing(
            tmp_path,
            seconds=LIMIT,
            seed=3,
            agents={"model": model},
            agent="model",
            ratchet={"baseline_seeds": BASELINE},
        )
        (repo / "genome/pack.py").write_text(GENOME)
        git(repo, "commit", "-qam", "Pack at once")
        swarm(repo, "launch", "--trials", BASELINE + candidates, POISON_KEY=KEY)
    assert [p for p in psutil.process_iter(["name"]) if p.info["name"] == mark] == []
    events = ledger(repo)
    outcomes = [e["outcome"] for e in events if e["kind"] == "trial_ended"][BASELINE:]
    failures = [end for end in outcomes if end["failure"]]
    assert {end["failure"]["kind"] for end in failures} == {"timeout"}
    voids = sum(e["kind"] == "trial_voided" for e in events)  # its core was others' all the time
    assert hung - voids <= len(failures) <= hung
    assert min(end["seconds"]["budget"] for end in failures) >= LIMIT
    assert {end["tail"] for end in failures} == {""}  # no fork failed
    assert sum(end["score"] is not None for end in outcomes) == candidates - len(failures)
