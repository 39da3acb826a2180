"""Sources of slices: this machine, or the nodes of a Ray cluster.

Not covered: Slurm as an executor of its own. submitit makes a job of each call, so every trial
would wait in the queue and start its harness process again, while a slice is leased once and its
process kept. Nodes that Slurm has allocated can form a Ray cluster: `srun ray start` on them, then
`swarm launch --executor ray --address HEAD`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from harness.contract import SetupError, Slice
from harness.installation import install_line
from swarm.executors.base import Executor, ExecutorConfig
from swarm.executors.local import LocalExecutor
from swarm.executors.slices import discover
from swarm.project.schema.settings import SlicesSection

BackendKind = Literal["local", "ray"]


class Backend(Protocol):
    """Finds slices and makes the executor for them."""

    def slices(self, section: SlicesSection) -> tuple[Slice, ...]:
        """Return the slices that `section` asks for. Raises SetupError if there are fewer."""

    def executor(self, home: Path, config: ExecutorConfig, slices: Sequence[Slice]) -> Executor:
        """Return the executor of `slices`, which imports the harness from `home`."""

    def close(self) -> None:
        """Release what was leased."""


class LocalBackend:
    """This machine."""

    def slices(self, section: SlicesSection) -> tuple[Slice, ...]:
        """Return this machine's slices. Raises SetupError if it has fewer."""
        return discover(section)

    def executor(self, home: Path, config: ExecutorConfig, slices: Sequence[Slice]) -> Executor:
        """Return the executor of this machine."""
        return LocalExecutor(home, config, slices)

    def close(self) -> None:
        """Do nothing: nothing was leased."""


def open_backend(kind: BackendKind, address: str = "auto") -> Backend:
    """Return this machine, or the Ray cluster at `address`. Raises SetupError if there is none."""
    if kind == "local":
        return LocalBackend()
    try:
        # most launches need no Ray, and it takes a second to import
        from swarm.executors.ray import RayCluster  # noqa: PLC0415
    except ImportError as error:
        raise SetupError(
            f"--executor ray needs Ray ({error}): here and on all nodes run `{install_line('ray')}`"
        ) from error
    return RayCluster.at(address)
