"""The nodes of a Ray cluster as one set of slices, and an executor that runs trials on them.

An actor on each node (swarm/executors/ray_node.py) leases all the CPUs and GPUs that Ray says the
node has, so
that no other job of the cluster disturbs a trial's clock, and finds the node's slices as swarm does
anywhere. Trials and outcomes travel; ledger, git and agents stay with the coordinator.

A node that is lost voids its trials, which run again: another slice of the same kind stands in for
each that is lost, the one that has to stand in for the fewest. Where none is left the run stops in
good order, and `swarm launch` goes on from there.

Not covered:
- nodes that join later, or come back, are not used until the next launch;
- a stand-in may be faster or slower than what it stands in for: Ray's nodes are taken to be alike;
- nodes need swarm, of the coordinator's version, and Ray installed, and the corpus prepared;
- whoever can reach a Ray cluster can run code on it: see Ray's own words on its security.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.contract import HarnessError, Outcome, SetupError, Slice, Trial, decode_outcome, encode
from swarm.executors.base import Executor, ExecutorConfig, VoidError
from swarm.executors.ray_node import Find, Node, Reply, packed
from swarm.executors.slices import discover
from swarm.project.schema import SlicesSection

PATIENCE = 60.0
"""Seconds that a node's CPUs and GPUs may take to be free: an actor starts in some 1 to 3."""


@dataclass(slots=True)
class Member:
    """A node: its name, what Ray says it has, and our actor on it. `lost` says how it ended."""

    name: str
    id: str
    cpus: int
    gpus: int
    actor: Any = None
    lost: str = ""


class RayCluster:
    """A Ray cluster that this process has joined."""

    def __init__(self, members: Sequence[Member], find: Find = discover) -> None:
        """Use `members` alone; `find` is asked on each for its slices."""
        self._members, self._find = members, find
        self._home: dict[str, Member] = {}

    @classmethod
    def at(cls, address: str, find: Find = discover) -> Self:
        """Join the cluster at `address`. Raises SetupError where there is none."""
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SetupError(
                f"--address {address}: no Ray cluster to join ({_line(error)}); `ray start --head`"
                " begins one"
            ) from error
        nodes: list[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return cls(members(nodes), find)

    def slices(self, wish: SlicesSection) -> tuple[Slice, ...]:
        """Return all nodes' slices, each named after its node; the first `wish.count` of them.

        Raises SetupError where there are fewer, and where a node is not free.
        """
        used = [(member, gpus) for member in self._members if (gpus := _gpus(member, wish)) >= 0]
        for member, gpus in used:
            member.actor = _leased(member, gpus, self._find)
        found = [where for member, gpus in used for where in self._of(member, gpus, wish)]
        if wish.count != "auto" and wish.count > len(found):
            raise SetupError(
                f"slices.count: {wish.count} slices asked for, the cluster has {len(found)}"
                f" ({', '.join(where.name for where in found)}); ask for fewer"
            )
        if not found:
            raise SetupError(
                "the Ray cluster has no node with CPUs or GPUs that program.md asks for"
            )
        return tuple(found if wish.count == "auto" else found[: wish.count])

    def executor(self, home: Path, terms: ExecutorConfig, slices: Sequence[Slice]) -> Executor:
        """Return what runs trials on `slices`, which `slices()` returned."""
        return RayExecutor(home, terms, {where: self._home[where.name] for where in slices})

    def close(self) -> None:
        """Give all nodes back and leave the cluster."""
        if not ray.is_initialized():  # Ray would join whatever cluster it can find
            return
        for member in self._members:
            if member.actor is not None:
                ray.kill(member.actor)
                member.actor = None
        ray.shutdown()

    def _of(self, member: Member, gpus: int, wish: SlicesSection) -> list[Slice]:
        call = member.actor.slices.remote(replace(wish, count="auto"))
        try:
            reply = ray.get(call, timeout=PATIENCE)
        except GetTimeoutError:
            raise SetupError(
                f"node {member.name}: its {member.cpus} CPUs and {gpus} GPUs were not free within"
                f" {PATIENCE:.0f} s; wait for the job that has them, or end it"
            ) from None
        found = [replace(each, name=f"{member.name}.{each.name}") for each in _done(member, reply)]
        self._home |= {where.name: member for where in found}
        return found


def members(nodes: Iterable[Mapping[str, Any]]) -> list[Member]:
    """Return the living nodes of `ray.nodes()`, those of one host told apart by numbers."""
    alive = sorted(
        (node for node in nodes if node["Alive"]),
        key=lambda node: (node["NodeManagerHostname"], node["NodeID"]),
    )
    found: list[Member] = []
    for node in alive:
        host, has = node["NodeManagerHostname"], node["Resources"]
        twins = sum(node["NodeManagerHostname"] == host for node in alive)
        number = sum(each.name.startswith(f"{host}-") for each in found) + 1
        name = f"{host}-{number}" if twins > 1 else host
        found.append(Member(name, node["NodeID"], int(has.get("CPU", 0)), int(has.get("GPU", 0))))
    return found


def _gpus(member: Member, wish: SlicesSection) -> int:
    """Return how many GPUs of a node `wish` asks for, -1 where it does not ask for the node."""
    gpus = member.gpus if wish.kind in ("auto", "cuda") else 0
    return -1 if member.cpus == 0 or (wish.kind == "cuda" and gpus == 0) else gpus


def _leased(member: Member, gpus: int, find: Find) -> Any:  # noqa: ANN401 - Ray's handle
    pinned = NodeAffinitySchedulingStrategy(member.id, soft=False)
    lease = ray.remote(Node).options(
        num_cpus=member.cpus,
        num_gpus=gpus,
        scheduling_strategy=pinned,
        max_concurrency=1000,  # its slices' trials wait side by side
    )
    return lease.remote(member.cpus, find)


def _done(member: Member, reply: Reply) -> Any:  # noqa: ANN401 - what the call returns
    """Return what a node's call came to, or raise what it said."""
    word, said = reply
    if word == "setup":
        raise SetupError(f"node {member.name}: {said}")
    if word == "void":
        raise HarnessError(f"node {member.name}: {said}")
    return said


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


@dataclass(slots=True)
class RayExecutor:
    """A cluster's slices, each on its node."""

    home: Path
    terms: ExecutorConfig
    homes: Mapping[Slice, Member]
    harness: str = ""
    _stand_ins: dict[Slice, Slice] = field(default_factory=dict)
    _busy: dict[Slice, asyncio.Lock] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        """Send the harness to every node; they must agree on what the measure is."""
        files, tree = await asyncio.to_thread(packed, self.home / "harness"), self.home.name
        sent = ray.put(files)
        nodes = list({member.id: member for member in self.homes.values()}.values())
        names = await asyncio.gather(*(self._open(member, sent, tree) for member in nodes))
        if len(set(names)) != 1:
            each = ", ".join(f"{m.name}: {n}" for m, n in zip(nodes, names, strict=True))
            raise SetupError(f"nodes that measure unlike ({each}): install the same torch on all")
        self.harness = names[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the slices' processes on every node that is left."""
        nodes = {member.id: member for member in self.homes.values() if not member.lost}
        closing = (_reply(member, member.actor.close.remote()) for member in nodes.values())
        await asyncio.gather(*closing, return_exceptions=True)

    def current_slice(self, where: Slice) -> Slice:
        """Return `where`, or what stands in for it since its node was lost.

        Raises SetupError where no slice of its kind is left.
        """
        if not self.homes[where].lost:
            return where
        stand_in = self._stand_ins.get(where)
        if stand_in is None or self.homes[stand_in].lost:
            stand_in = self._stand_ins[where] = self._choice(where)
        return stand_in

    async def run(self, trial: Trial) -> Outcome:
        """Run one trial where its slice is now. Raises VoidError where it must be run again."""
        where = self.current_slice(trial.slice)
        member, moved = self.homes[where], replace(trial, slice=where)
        genome = await asyncio.to_thread(packed, Path(trial.genome))
        async with self._busy.setdefault(where, asyncio.Lock()):
            word, said = await _reply(member, member.actor.run.remote(encode(moved), genome))
        if word == "void":
            raise VoidError(f"node {member.name}: {said}")
        return decode_outcome(_done(member, (word, said)))

    async def _open(self, member: Member, sent: Any, tree: str) -> str:  # noqa: ANN401
        mine = [where for where, home in self.homes.items() if home is member]
        call = member.actor.open.remote(sent, tree, self.terms, mine)
        try:
            return str(_done(member, await _reply(member, call)))
        except VoidError as error:
            raise HarnessError(str(error)) from error

    def _choice(self, lost: Slice) -> Slice:
        load = list(self._stand_ins.values())
        like = [
            where
            for where, member in self.homes.items()
            if not member.lost and _alike(where) == _alike(lost)
        ]
        if not like:
            raise SetupError(
                f"no slice like {lost.name} is left ({self.homes[lost].lost}): bring its node back,"
                " and `swarm launch` goes on from here"
            )
        return min(like, key=load.count)


def _alike(where: Slice) -> tuple[str, int]:
    """Return what a stand-in must have in common with what it stands in for."""
    return where.device, len(where.cores)


async def _reply(member: Member, call: Any) -> Reply:  # noqa: ANN401 - Ray's reference
    """Wait for a call to `member`. Raises VoidError where its node is lost meanwhile."""
    try:
        reply: Reply = await call
    except asyncio.CancelledError:
        ray.cancel(call)
        raise
    except RayActorError as error:
        member.lost = f"node {member.name} is lost: {_line(error)}"
        ray.kill(member.actor)  # it may only have been out of reach
        raise VoidError(member.lost) from error
    return reply
