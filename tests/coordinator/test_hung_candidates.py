"""Candidates that hang and leave children behind: each costs its time limit and nothing else."""

import uuid
from itertools import count

import psutil
import pytest

from tests.support.loopback import Loopback
from tests.support.obedient_model import KEYS, SECONDS, proposal, repository
from tests.support.target import ledger, swarm

BASELINE = 2

WORSE = "STEP = {number}"

HANGING = """\
for _ in range(8):
    if not os.fork():
        os.setsid()
        if not os.fork():
            import ctypes
            ctypes.CDLL(None).prctl(15, b"{mark}")
            while True:
                time.sleep(3600 + {number})
        os._exit(0)
while True:
    pass"""


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
            old = "    pass"
            lines = HANGING.format(mark=mark, number=number).splitlines()
            new = "\n".join(f"    {line}" for line in lines)
        return proposal(f"number {number}", old, new)

    with Loopback(answer) as server:
        repo = repository(tmp_path, server, BASELINE)
        swarm(repo, "launch", "--trials", BASELINE + candidates, **KEYS)
    assert [p for p in psutil.process_iter(["name"]) if p.info["name"] == mark] == []
    events = ledger(repo)
    outcomes = [e["outcome"] for e in events if e["kind"] == "trial_ended"][BASELINE:]
    failures = [end for end in outcomes if end["failure"]]
    assert {end["failure"]["kind"] for end in failures} == {"timeout"}
    voids = sum(e["kind"] == "trial_voided" for e in events)  # its core was others' all the time
    assert hung - voids <= len(failures) <= hung
    assert min(end["seconds"]["budget"] for end in failures) >= SECONDS
    assert {end["tail"] for end in failures} == {""}  # no fork failed
    assert sum(end["score"] is not None for end in outcomes) == candidates - len(failures)
