"""The nodes of a Ray cluster as one set of slices, and the executor that runs trials on them.

An actor on each node (swarm/executors/ray_node.py) leases all CPUs and GPUs that Ray lists for it,
so that no other job of the cluster disturbs a trial's clock, and finds the node's slices. Trials
and outcomes travel; ledger, git and agents stay with the coordinator.

A lost node voids its trials, which run again: for each lost slice another of the same kind stands
in, the one that stands in for the fewest. If none is left the run stops, and `swarm launch` resumes
it.

Not covered:
- nodes that join later, or come back, are used only from the next launch on;
- a stand-in may be faster or slower than the lost slice: nodes are assumed to be alike;
- nodes need swarm in the coordinator's version, Ray, and the prepared corpus;
- anyone who can reach a Ray cluster can run code on it: see Ray's documentation on security.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.contract import (
    CheckResult,
    HarnessError,
    Outcome,
    SetupError,
    Slice,
    Trial,
    VoidCause,
    decode_check,
    decode_outcome,
    encode,
)
from harness.problem.travel import pack_problem
from swarm.executors.base import Executor, ExecutorConfig, VoidError
from swarm.executors.ray_node import Find, Node, Reply, packed
from swarm.executors.slices import discover
from swarm.project.schema.settings import SlicesSection

LEASE_TIMEOUT_S = 60.0
"""How long a node's CPUs and GPUs may take to be free; an actor starts in 1 to 3 s."""

CONNECT_TIMEOUT_S = 5.0
_HOST_PORT = re.compile(r"(?:ray://)?\[?(?P<host>[^/]+?)\]?:(?P<port>[0-9]{1,5})")


@dataclass(slots=True)
class Member:
    """A node of the cluster."""

    name: str
    id: str
    cpus: int
    gpus: int
    actor: Any = None
    """Ray's handle of our actor there, once the node is leased."""

    lost: str = ""
    """How it was lost; empty while it is alive."""


class RayCluster:
    """A Ray cluster that this process has joined: a `Backend`."""

    def __init__(self, members: Sequence[Member], find: Find = discover) -> None:
        """Use `members` alone; `find` returns the slices of the node that it runs on."""
        self._members, self._find = members, find
        self._home: dict[str, Member] = {}

    @classmethod
    def at(cls, address: str, find: Find = discover) -> Self:
        """Join the cluster at `address`. Raises SetupError if there is none."""
        _require_listener(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SetupError(
                f"--address {address}: no Ray cluster to join ({_first_line(error)}); start one"
                " with `ray start --head`"
            ) from error
        nodes: list[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return cls(members(nodes), find)

    def slices(self, section: SlicesSection) -> tuple[Slice, ...]:
        """Return the nodes' slices, each named after its node: the first `section.count` of all.

        Raises SetupError if there are fewer, or if a node is not free.
        """
        usable = [
            (member, gpus) for member in self._members if (gpus := _gpus(member, section)) >= 0
        ]
        for member, gpus in usable:
            member.actor = _leased(member, gpus, self._find)
        slices = [s for member, gpus in usable for s in self._node_slices(member, gpus, section)]
        if section.count != "auto" and section.count > len(slices):
            raise SetupError(
                f"slices.count: {section.count} slices asked for, the cluster has {len(slices)}"
                f" ({', '.join(slice_.name for slice_ in slices)}); ask for fewer"
            )
        if not slices:
            raise SetupError(
                "the Ray cluster has no node with CPUs or GPUs that program.md asks for"
            )
        return tuple(slices if section.count == "auto" else slices[: section.count])

    def executor(self, home: Path, config: ExecutorConfig, slices: Sequence[Slice]) -> Executor:
        """Return the executor of `slices`, which `slices()` returned."""
        return RayExecutor(home, config, {slice_: self._home[slice_.name] for slice_ in slices})

    def close(self) -> None:
        """Release all nodes and leave the cluster."""
        if not ray.is_initialized():  # else Ray would join any cluster that it finds
            return
        for member in self._members:
            if member.actor is not None:
                ray.kill(member.actor)
                member.actor = None
        ray.shutdown()

    def _node_slices(self, member: Member, gpus: int, section: SlicesSection) -> list[Slice]:
        call = member.actor.slices.remote(replace(section, count="auto"))
        try:
            reply = ray.get(call, timeout=LEASE_TIMEOUT_S)
        except GetTimeoutError:
            raise SetupError(
                f"node {member.name}: its {member.cpus} CPUs and {gpus} GPUs were not free within"
                f" {LEASE_TIMEOUT_S:.0f} s; wait for the job that uses them, or stop it"
            ) from None
        own = _value(member, reply)
        slices = [replace(slice_, name=f"{member.name}.{slice_.name}") for slice_ in own]
        self._home |= {slice_.name: member for slice_ in slices}
        return slices


def _require_listener(address: str) -> None:
    """Raise SetupError where no server of Ray's kind is at HOST:PORT: Ray would wait for minutes.

    Ray speaks gRPC, so its server answers HTTP/2's greeting with settings.
    """
    named = _HOST_PORT.fullmatch(address)
    if named is None:
        return
    place = (named["host"], int(named["port"]))
    try:
        with socket.create_connection(place, CONNECT_TIMEOUT_S) as connection:
            found = _speaks_http2(connection) or os.environ.get("RAY_USE_TLS") == "1"
    except (OSError, OverflowError) as error:
        reason = str(error.args[-1])
    else:
        reason = "" if found else "something else listens"
    if reason:
        raise SetupError(
            f"--address {address}: no Ray cluster answers there ({reason}); start one with"
            " `ray start --head`, which prints its address"
        )


def _speaks_http2(connection: socket.socket) -> bool:
    """Return whether the server sends a frame of settings, as HTTP/2 begins."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS)
    head = b""
    with suppress(OSError):  # it hangs up, or says nothing for CONNECT_TIMEOUT_S
        while len(head) < len(_SETTINGS) and (more := connection.recv(len(_SETTINGS))):
            head += more
    return head[3:4] == _SETTINGS[3:4] and head[5:9] == _SETTINGS[5:9]


_SETTINGS = b"\0\0\0" + b"\x04" + b"\0" + b"\0\0\0\0"
"""An empty frame of settings: length, type, flags, stream."""


def members(nodes: Iterable[Mapping[str, Any]]) -> list[Member]:
    """Return the nodes of `ray.nodes()` that are alive; those of one host are numbered."""
    alive = sorted(
        (node for node in nodes if node["Alive"]),
        key=lambda node: (node["NodeManagerHostname"], node["NodeID"]),
    )
    members_: list[Member] = []
    for node in alive:
        host, has = node["NodeManagerHostname"], node["Resources"]
        twins = sum(node["NodeManagerHostname"] == host for node in alive)
        number = sum(member.name.startswith(f"{host}-") for member in members_) + 1
        name = f"{host}-{number}" if twins > 1 else host
        members_.append(
            Member(name, node["NodeID"], int(has.get("CPU", 0)), int(has.get("GPU", 0)))
        )
    return members_


def _gpus(member: Member, section: SlicesSection) -> int:
    """Return how many GPUs of a node `section` asks for, -1 if it does not ask for the node."""
    gpus = member.gpus if section.kind in ("auto", "cuda") else 0
    return -1 if member.cpus == 0 or (section.kind == "cuda" and gpus == 0) else gpus


def _leased(member: Member, gpus: int, find: Find) -> Any:  # noqa: ANN401 - Ray's handle
    pinned = NodeAffinitySchedulingStrategy(member.id, soft=False)
    lease = ray.remote(Node).options(
        num_cpus=member.cpus,
        num_gpus=gpus,
        scheduling_strategy=pinned,
        max_concurrency=1000,  # one call for each trial under way on the node
    )
    return lease.remote(member.cpus, find)


def _value(member: Member, reply: Reply) -> Any:  # noqa: ANN401 - what the call returns
    """Return the value of a reply. Raises SetupError or HarnessError if it is an error."""
    kind, value = reply
    if kind == "setup":
        raise SetupError(f"node {member.name}: {value}")
    if kind != "done":
        raise HarnessError(f"node {member.name}: {value}")
    return value


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


@dataclass(slots=True)
class RayExecutor:
    """Runs trials on a cluster's slices, each on its node."""

    home: Path
    config: ExecutorConfig
    homes: Mapping[Slice, Member]
    harness: str = ""
    _stand_ins: dict[Slice, Slice] = field(default_factory=dict)
    _busy: dict[Slice, asyncio.Lock] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        """Send harness and problem to every node. Raises SetupError if their harness ids differ."""
        files, tree = await asyncio.to_thread(packed, self.home / "harness"), self.home.name
        problem = await asyncio.to_thread(pack_problem, self.config.problem)
        sent, packed_problem = ray.put(files), ray.put(problem)
        nodes = list({member.id: member for member in self.homes.values()}.values())
        ids = await asyncio.gather(
            *(self._open(member, sent, tree, packed_problem) for member in nodes)
        )
        if len(set(ids)) != 1:
            by_node = ", ".join(f"{m.name}: {n}" for m, n in zip(nodes, ids, strict=True))
            raise SetupError(
                f"nodes have different harness ids ({by_node}): install the same torch on all"
            )
        self.harness = ids[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the slices' processes on every node that is not lost."""
        nodes = {member.id: member for member in self.homes.values() if not member.lost}
        closing = (_reply(member, member.actor.close.remote()) for member in nodes.values())
        await asyncio.gather(*closing, return_exceptions=True)

    def current_slice(self, slice_: Slice) -> Slice:
        """Return `slice_`, or its stand-in if its node is lost.

        Raises SetupError if no slice of its kind is left.
        """
        if not self.homes[slice_].lost:
            return slice_
        stand_in = self._stand_ins.get(slice_)
        if stand_in is None or self.homes[stand_in].lost:
            stand_in = self._stand_ins[slice_] = self._choose_stand_in(slice_)
        return stand_in

    async def run(self, trial: Trial) -> Outcome:
        """Run one trial on its current slice. Raises VoidError if it must be run again."""
        return decode_outcome(await self._call("run", trial))

    async def check(self, trial: Trial) -> CheckResult:
        """Run the checks on the current slice. Raises VoidError if they must run again."""
        return decode_check(await self._call("check", trial))

    async def _call(self, method: str, trial: Trial) -> str:
        """Return what a method of the node's actor answers for a trial on its current slice."""
        slice_ = self.current_slice(trial.slice)
        member, moved = self.homes[slice_], replace(trial, slice=slice_)
        genome = await asyncio.to_thread(packed, Path(trial.genome))
        async with self._busy.setdefault(slice_, asyncio.Lock()):
            call = getattr(member.actor, method).remote(encode(moved), genome)
            kind, value = await _reply(member, call)
        if kind not in {"done", "setup"}:
            raise VoidError(f"node {member.name}: {value}", cast(VoidCause, kind))
        return str(_value(member, (kind, value)))

    async def _open(self, member: Member, sent: Any, tree: str, problem: Any) -> str:  # noqa: ANN401
        slices = [slice_ for slice_, home in self.homes.items() if home is member]
        call = member.actor.open.remote(sent, tree, problem, self.config, slices)
        try:
            return str(_value(member, await _reply(member, call)))
        except VoidError as error:
            raise HarnessError(str(error)) from error

    def _choose_stand_in(self, lost: Slice) -> Slice:
        load = list(self._stand_ins.values())
        like = [
            slice_
            for slice_, member in self.homes.items()
            if not member.lost and _kind(slice_) == _kind(lost)
        ]
        if not like:
            raise SetupError(
                f"no slice like {lost.name} is left ({self.homes[lost].lost}): bring its node back,"
                " then `swarm launch` resumes the run"
            )
        return min(like, key=load.count)


def _kind(slice_: Slice) -> tuple[str, int]:
    """Return what a stand-in must have in common with the lost slice."""
    return slice_.device, len(slice_.cores)


async def _reply(member: Member, call: Any) -> Reply:  # noqa: ANN401 - Ray's reference
    """Wait for a call to `member`. Raises VoidError if its node is lost meanwhile."""
    try:
        reply: Reply = await call
    except asyncio.CancelledError:
        ray.cancel(call)
        raise
    except RayActorError as error:
        member.lost = f"node {member.name} is lost: {_first_line(error)}"
        ray.kill(member.actor)  # the node may only have been out of reach
        raise VoidError(member.lost, "lost") from error
    return reply
