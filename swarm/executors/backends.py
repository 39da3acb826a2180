"""Where slices are: this machine, or the nodes of a Ray cluster.

Not covered: Slurm as an executor of its own. submitit makes a job of each call, so that every trial
would wait in the queue, and would start its harness process anew; a slice is leased once and kept
warm. What Slurm has allocated can be a Ray cluster: `srun ray start` on its nodes, then
`swarm launch --executor ray --address HEAD`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from harness.contract import SetupError, Slice
from swarm.executors.base import Executor, ExecutorConfig
from swarm.executors.local import LocalExecutor
from swarm.executors.slices import discover
from swarm.project.schema import SlicesSection

BackendKind = Literal["local", "ray"]


class Backend(Protocol):
    """One machine or more."""

    def slices(self, wish: SlicesSection) -> tuple[Slice, ...]:
        """Return the slices that `wish` names. Raises SetupError where there are fewer."""

    def executor(self, home: Path, terms: ExecutorConfig, slices: Sequence[Slice]) -> Executor:
        """Return what runs trials on `slices`, by the harness in `home`."""

    def close(self) -> None:
        """Give back what was leased."""


class LocalBackend:
    """This machine."""

    def slices(self, wish: SlicesSection) -> tuple[Slice, ...]:
        """Return this machine's slices. Raises SetupError where it has fewer."""
        return discover(wish)

    def executor(self, home: Path, terms: ExecutorConfig, slices: Sequence[Slice]) -> Executor:
        """Return what runs trials here."""
        return LocalExecutor(home, terms, slices)

    def close(self) -> None:
        """Do nothing: nothing was leased."""


def open_backend(kind: BackendKind, address: str = "auto") -> Backend:
    """Return this machine, or the Ray cluster at `address`. Raises SetupError where it is none."""
    if kind == "local":
        return LocalBackend()
    try:
        # most launches need no Ray, and it takes a second to import
        from swarm.executors.ray import RayCluster  # noqa: PLC0415
    except ImportError as error:
        raise SetupError(
            f"--executor ray needs Ray ({error}): `pip install 'swarm[ray]'`, here and on all nodes"
        ) from error
    return RayCluster.at(address)
