"""The gateway of a run, shared by its agents and by the trials of a problem that has a model."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.contract import SetupError
from swarm.agents.llm.budget import Budget
from swarm.coordinator.call_records import CallRecords
from swarm.executors.base import Executor
from swarm.project.program import Program
from swarm.project.runs import RunFolder

if TYPE_CHECKING:
    from swarm.agents.gateway.gateway import Gateway


@dataclass(slots=True)
class SharedGateway:
    """What all calls to models of a run share; made when first asked for, ended with `stack`.

    Most launches need neither a gateway nor an HTTP client.
    """

    budget: Budget
    calls: CallRecords
    stack: AsyncExitStack
    _gateway: Gateway | None = None

    async def get(self) -> Gateway:
        """Return the gateway, whose rate limiters all agents use."""
        if self._gateway is None:
            from swarm.agents.gateway.gateway import Gateway  # noqa: PLC0415
            from swarm.agents.llm.factory import RateLimiters  # noqa: PLC0415

            gateway = Gateway(self.budget, RateLimiters(), self.calls.ended)
            self._gateway = await self.stack.enter_async_context(gateway)
        return self._gateway

    async def metered(
        self, executor: Executor, program: Program, folder: RunFolder, *, local: bool
    ) -> Executor:
        """Return `executor` with a way for trials to the problem's model, if it has one.

        Raises SetupError where the model cannot be reached.
        """
        if program.settings.model is None:
            return executor
        if not local:
            raise SetupError(
                f"{program.path}: `model` is reached through the gateway of this machine, which"
                " trials on others do not see: launch with --executor local"
            )
        from swarm.executors.model_door import MeteredExecutor, check_model  # noqa: PLC0415

        gateway, settings = await self.get(), program.settings.model.model_settings()
        check_model(settings, gateway)
        doors, calls = folder.scratch / "doors", self.calls
        return MeteredExecutor(
            executor, gateway, settings, doors, calls.charged, calls.experiment_of
        )
