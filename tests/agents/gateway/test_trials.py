"""Trials that ask the problem's model: by a socket of their own, metered, and void without it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from harness.contract import DOOR_SOCKET, Failure, Outcome, Rung, SetupError, Slice, Trial
from islands import events as ev
from islands.records import Usage
from islands.state.pending_calls import PendingCalls
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.executors.base import VoidError
from swarm.executors.model_door import MeteredExecutor
from tests.support.doors import PATHS, body_of, gateway_of, settings_of
from tests.support.loopback import KEY, Hang, Say, Status

TRIAL = Trial("t1", "command", "none", "c0", 0, Rung(1, 9.0), Slice("cpu0", "cpu"), "", "", "")
SCORED = Outcome("t1", "h", "none", score=1.0)
CRASHED = Outcome("t1", "h", "none", failure=Failure("crash", "exit status 1"))
LATE = Outcome("t1", "h", "none", failure=Failure("timeout", "still running"))


class Asking:
    """An executor whose trials post `times` requests to their door and end as `outcome`."""

    harness = "h"

    def __init__(self, outcome, times=1, patience=9.0):
        self.outcome, self.times, self.patience, self.trials = outcome, times, patience, []

    def current_slice(self, slice_):
        return slice_

    async def run(self, trial):
        self.trials.append(trial)
        transport = httpx2.AsyncHTTPTransport(verify=False, uds=str(Path(trial.door) / DOOR_SOCKET))
        headers = {"authorization": f"Bearer {trial.token}"}
        async with httpx2.AsyncClient(transport=transport, headers=headers) as client:
            for _ in range(self.times):
                try:
                    async with asyncio.timeout(self.patience):
                        await client.post(f"http://door{PATHS['chat']}", json=body_of("chat"))
                except TimeoutError:
                    break
        return self.outcome

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass


def asked(server, tmp_path, inner, budget=None, trials=1):
    """Run trials of `inner` against the server; return outcomes, charges and recorded calls."""
    charges, calls = [], []

    async def main():
        async with gateway_of(budget, calls.append) as gateway:
            gateway.settle_s = 0.05
            executor = MeteredExecutor(
                inner,
                gateway,
                settings_of(server, "chat"),
                tmp_path / "doors",
                lambda trial, usage, over: charges.append((trial.id, usage, over)),
                lambda trial: 7,
            )
            async with executor:
                numbered = [replace(TRIAL, id=f"t{n + 1}") for n in range(trials)]
                return [await executor.run(trial) for trial in numbered]

    return asyncio.run(main()), charges, calls


def test_each_call_of_a_trial_is_metered_and_its_dollars_are_a_fact(server, tmp_path):
    """The upper bound is told before each call, the cost at the end; the trial has no key."""
    server.play([Say("one"), Say("two"), Say("three"), Say("four")])
    inner = Asking(SCORED, times=2)
    outcomes, charges, calls = asked(server, tmp_path, inner, Budget(1.0), trials=2)
    last = {trial: usage for trial, usage, over in charges if over}
    assert [outcome.facts["usd"] for outcome in outcomes] == [last[t].usd for t in ("t1", "t2")]
    assert sum(usage.usd for usage in last.values()) == pytest.approx(sum(c.usd for c in calls))
    assert {usage.calls for usage in last.values()} == {2}
    assert charges[0][1].usd > last["t1"].usd > 0
    assert [(call.agent, call.experiment, call.status) for call in calls] == [("run", 7, 200)] * 4
    assert server.log[0].request.key == KEY
    assert KEY not in str(inner.trials)
    assert len({trial.token for trial in inner.trials}) == 2
    assert not (tmp_path / "doors").exists()


def test_the_folded_sum_never_falls_below_the_last_charge():
    """A killed coordinator leaves the bound of the trial under way, and it counts as spent."""
    calls = PendingCalls()
    for trial, usd, tokens in (("t1", 0.5, 90), ("t1", 0.2, 40), ("t2", 0.3, 9), ("t2", 0.4, 10)):
        calls.apply(ev.TrialCharged(trial, 0, "a", Usage(usd=usd, tokens_untold=tokens)))
    assert (calls.usd, calls.tokens) == (pytest.approx(0.6), 50)


def test_a_call_without_room_in_the_limits_ends_the_trial_for_the_run(server, tmp_path):
    """It is never sent; the trial is no failure of the candidate, whatever it made of it."""
    for outcome in (SCORED, CRASHED):
        with pytest.raises(BudgetError, match="dollars are spent"):
            asked(server, tmp_path, Asking(outcome), Budget(1e-6))
    assert server.log == []


@pytest.mark.parametrize("outcome", [SCORED, CRASHED])
def test_a_trial_whose_model_did_not_answer_is_void(server, tmp_path, outcome):
    """Also where the command hid it: its score is one of fewer answers."""
    server.play([Status(500), Say("late")])
    with pytest.raises(VoidError, match=r"did not answer: .*HTTP 500") as caught:
        asked(server, tmp_path, Asking(outcome, times=2))
    assert caught.value.cause == "model"


def test_a_model_that_only_the_user_can_make_answer_ends_the_run(server, tmp_path):
    """In one line that names the key of program.md."""
    server.play([Status(401)])
    with pytest.raises(SetupError, match=r"^`model` in program.md .*key in LOOPBACK_KEY"):
        asked(server, tmp_path, Asking(CRASHED))


def test_what_the_prompt_is_to_blame_for_is_the_candidates_own(server, tmp_path):
    """A prompt that is refused stays refused."""
    server.play([Status(400, message="maximum context length is 100 tokens")])
    [outcome], _, _ = asked(server, tmp_path, Asking(CRASHED))
    assert outcome.failure == CRASHED.failure


def test_a_trial_that_ends_while_it_waits_for_its_model_is_void(server, tmp_path):
    """The provider was slow; the call that it had made counts at its most."""
    server.play([Hang()])
    with pytest.raises(VoidError, match=r"1 calls still waited for some-model"):
        asked(server, tmp_path, Asking(LATE, patience=0.3))
