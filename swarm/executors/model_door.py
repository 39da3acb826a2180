"""A way for each trial's `run` to the problem's model: through the gateway, which holds the key.

The sandbox sees a Unix socket and a token, and needs no network. Every call is metered like an
agent's: its worst case is reserved before it goes out, and refused where the limits have no room.
What the calls of a trial cost is the fact `usd` of its outcome, which can be a guard.

A trial in which the model failed a call, or let it wait when the trial's time was over, says
nothing about the candidate: it is void. What the prompt itself is to blame for (too long, filtered,
refused as invalid) is an answer, and `run` decides what it is worth.

Not covered: trials on other machines (Ray). With `network: true` or `--sandbox none`, `run` can
also reach a provider by itself, with a key of `env` if it has one: nothing meters that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from harness.contract import DOOR_SOCKET, CheckResult, Outcome, SetupError, Slice, Trial
from islands.records import Usage
from swarm.agents.base import ErrorKind
from swarm.agents.gateway.gateway import Gateway
from swarm.agents.gateway.lease import Lease
from swarm.agents.llm.budget import BudgetError
from swarm.agents.llm.factory import check_price, read_key
from swarm.agents.llm.settings import RUN, ModelSettings, check_settings
from swarm.executors.base import Executor, VoidError

OWN_FAULT: frozenset[ErrorKind] = frozenset({"too_long", "rejected", "refusal"})
"""Why a provider refuses what it is asked, and would refuse it again."""

TrialUsage = Callable[[Trial, Usage, bool], None]
"""Called with the most that the calls of a trial can have cost so far, and whether it is over:
before each call goes out, when one is settled, and at the end."""

ExperimentOf = Callable[[Trial], int]
"""Returns the number of the experiment that a trial is for, 0 for none."""


def ignore_trial_usage(trial: Trial, usage: Usage, over: bool) -> None:
    """Ignore the usage."""


def no_experiment(trial: Trial) -> int:  # noqa: ARG001 - an ExperimentOf
    """Return 0."""
    return 0


def check_model(settings: ModelSettings, gateway: Gateway) -> None:
    """Raise SetupError, with the fix, where the problem's model cannot be reached from here."""
    check_settings(RUN, settings)
    check_price(RUN, settings, gateway.budget)
    read_key(RUN, settings)


@dataclass(slots=True)
class MeteredExecutor:
    """An executor of this machine whose trials may ask `settings`' model.

    doors: a folder for the sockets, which is made
    """

    inner: Executor
    gateway: Gateway
    settings: ModelSettings
    doors: Path
    on_usage: TrialUsage = ignore_trial_usage
    experiment_of: ExperimentOf = no_experiment
    harness: str = ""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, repr=False)

    def current_slice(self, slice_: Slice) -> Slice:
        """Return the slice that trials of `slice_` run on now."""
        return self.inner.current_slice(slice_)

    async def run(self, trial: Trial) -> Outcome:
        """Run one trial. Raises VoidError if it must be run again.

        Raises BudgetError where the limits have no room for a call of it, SetupError where only the
        user can make the model answer.
        """
        folder = self._door(trial.slice)
        number = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            # a short path: that of a socket has 107 bytes at most
            socket = Path(f"/proc/self/fd/{number}/{DOOR_SOCKET}")
            lease = await self.gateway.open(
                RUN,
                self.settings,
                socket=socket,
                on_usage=lambda usage: self.on_usage(trial, usage, False),
                experiment=self.experiment_of(trial),
            )
            socket.chmod(0o666)  # noqa: ASYNC240  # as root the sandbox has a uid of its own
            try:
                outcome = await self.inner.run(replace(trial, door=str(folder), token=lease.token))
                waiting = lease.calls_open
            finally:
                await lease.close()
                if lease.usage.calls:
                    self.on_usage(trial, lease.usage, True)
        finally:
            os.close(number)
        _require_answered(lease, outcome, waiting)
        facts = {**outcome.facts, "usd": lease.usage.usd} if self._priced(lease) else outcome.facts
        return replace(outcome, facts=facts)

    async def check(self, trial: Trial) -> CheckResult:
        """Run the problem's checks, which reach no model."""
        return await self.inner.check(trial)

    async def __aenter__(self) -> Self:
        shutil.rmtree(self.doors, ignore_errors=True)
        self.doors.mkdir(parents=True)
        await self._stack.enter_async_context(self.inner)
        self.harness = self.inner.harness
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()
        shutil.rmtree(self.doors, ignore_errors=True)

    def _door(self, slice_: Slice) -> Path:
        """Return the folder of a slice's socket, always the same: sandboxes are made ahead."""
        folder = self.doors / slice_.name.replace("/", "-")
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        (folder / DOOR_SOCKET).unlink(missing_ok=True)
        return folder

    @staticmethod
    def _priced(lease: Lease) -> bool:
        return lease.settings.price is not None


def _require_answered(lease: Lease, outcome: Outcome, waiting: int) -> None:
    """Raise for a call of the trial that brought no answer, through no fault of the candidate."""
    where = f"{lease.settings.model} at {lease.settings.url}"
    for error in lease.unanswered:
        if isinstance(error, BudgetError):
            raise error
        if error.error_kind == "unavailable":
            raise SetupError(str(error))
        if error.error_kind not in OWN_FAULT:
            raise VoidError(f"the problem's model did not answer: {error}", "model")
    if waiting and outcome.failure is not None and outcome.failure.kind == "timeout":
        raise VoidError(
            f"{waiting} calls still waited for {where} at the end of the trial: allow it more"
            " seconds in `rungs`, or more `requests_per_minute` in `model`",
            "model",
        )
