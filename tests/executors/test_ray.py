"""Slices of a Ray cluster: real nodes on this machine, which can be killed."""

# ruff: noqa: E402 - what follows needs Ray, which may not be there

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

ray = pytest.importorskip("ray", reason="needs Ray: pip install -e '.[ray]'")

from ray import cloudpickle

from harness import fingerprint as identity
from harness.contract import Rung, SetupError, Slice, Trial
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.local import LocalExecutor
from swarm.executors.ray import Member, RayCluster, RayExecutor, members
from swarm.project.schema.settings import SlicesSection
from tests.support.nodes import cluster
from tests.support.target import command, environment, git, ledger, packing

CORES = sorted(os.sched_getaffinity(0))
CORES_OF_NODES = (CORES[0], CORES[-1])
CONFIG = ExecutorConfig("packing", "none")
GRID = """
def pack(seed, deadline):
    return [((i % 6 + .5) / 6, (i // 6 + .5) / 6, 1 / 12) for i in range(26)]
"""
HANG = "while True: pass"

# the nodes cannot import what is found in a test
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def fake_gpus(section):
    """Return slices for the GPUs that Ray has leased to this process; they need not exist."""
    uuids = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    cores = tuple(os.sched_getaffinity(0))
    return [Slice(f"gpu{n}", "cuda", cores, f"GPU-{n}") for n in uuids]


@pytest.fixture(scope="module")
def two():
    """Start two nodes of one CPU and one fake GPU each; return address and nodes."""
    with cluster(CORES_OF_NODES, ["--num-gpus=1"]) as found:
        yield found


@pytest.fixture(scope="module")
def cpus(two):
    """Join the nodes; return what joins them and one slice of each."""
    nodes = RayCluster.at(two[0])
    yield nodes, nodes.slices(SlicesSection(kind="cpu"))
    nodes.close()


@pytest.fixture
def joined(two, cpus):
    """Return a way to join the nodes; all are given back at the end."""
    cpus[0].close()
    found = []

    def join(*find):
        found.append(RayCluster.at(two[0], *find))
        return found[-1]

    yield join
    for each in found:
        each.close()


@pytest.fixture
def genome(tmp_path):
    """Make a trial of a packing genome whose source is given."""

    def make(source, slice_, name="t1"):
        file = tmp_path / name / "genome" / "pack.py"
        file.parent.mkdir(parents=True)
        file.write_text(source)
        place, rung = str(tmp_path / name), Rung(1, 3.0, 1024)
        return Trial(
            name, "packing", "none", "c", 7, rung, slice_, place, "genome/pack.py", "/none"
        )

    return make


def opened(nodes, tmp_path, slices, config=CONFIG):
    """Return the executor of a cluster's slices."""
    return nodes.executor(identity.export(tmp_path / "harness"), config, slices)


@pytest.mark.sandbox
def test_every_nodes_slices_run_trials_as_this_machine_does(cpus, genome, tmp_path):
    """One harness id from the pinned tree, one score, one slice for each node's CPU."""
    nodes, slices = cpus
    assert {slice_.name.partition(".")[2] for slice_ in slices} == {"cpu0"}
    assert {len(slice_.cores) for slice_ in slices} == {1}
    alive = [node for node in ray.nodes() if node["Alive"]]
    assert len({slice_.name for slice_ in slices}) == len(alive) > 1

    async def main():
        async with opened(nodes, tmp_path, slices) as executor:
            trials = [genome(GRID, slice_, f"t{n}") for n, slice_ in enumerate(slices)]
            outcomes = await asyncio.gather(*map(executor.run, trials))
            broken = await executor.run(genome("1/0", slices[0], "broken"))
            return executor.harness, outcomes, broken

    harness, outcomes, broken = asyncio.run(main())
    assert harness.startswith(identity.tree_id()[:12])
    assert {outcome.harness for outcome in outcomes} == {harness}
    assert [outcome.score for outcome in outcomes] == [pytest.approx(26 / 12)] * len(slices)
    assert [outcome.trial for outcome in outcomes] == [f"t{n}" for n in range(len(slices))]
    assert "ZeroDivisionError" in broken.failure.reason


@pytest.mark.sandbox
def test_missing_data_and_an_altered_harness_are_refused(cpus, tmp_path):
    """The message names node and command; a node hashes the tree that it received."""
    (nodes, slices), home = cpus, identity.export(tmp_path / "harness")

    async def enter(config):
        async with nodes.executor(home, config, slices):
            pass

    with pytest.raises(SetupError, match=r"node .*-[12]: .*swarm prepare --data climbmix"):
        asyncio.run(enter(ExecutorConfig("gpt", "climbmix")))
    (home / "harness" / "extra.py").write_text("")
    with pytest.raises(Exception, match=rf"harness {home.name} arrived as"):
        asyncio.run(enter(CONFIG))


@pytest.mark.soak
def test_gpus_are_leased_from_ray_before_they_are_discovered(joined, tmp_path):
    """Each node's GPU is a slice, and Ray has none left for other jobs.

    Without sandboxes: they need the device files of a real GPU, and say so where these are missing.
    """
    unconfined = replace(CONFIG, sandbox="none")
    nodes = joined(fake_gpus)
    slices = nodes.slices(SlicesSection(kind="cuda", count=2))
    assert [slice_.kind for slice_ in slices] == ["cuda", "cuda"]
    assert ray.available_resources().get("GPU", 0) == 0
    assert ray.available_resources().get("CPU", 0) == 0

    async def main():
        async with opened(nodes, tmp_path, slices, unconfined) as executor:
            return executor.harness

    assert asyncio.run(main()).endswith("-cuda")


@pytest.mark.soak
def test_a_section_that_the_cluster_cannot_meet_is_refused(joined):
    """The message has the key and what the cluster has."""
    nodes = joined()
    with pytest.raises(SetupError, match=r"slices.count: 9 slices asked for, the cluster has 2"):
        nodes.slices(SlicesSection(kind="cpu", count=9))
    nodes.close()
    with pytest.raises(SetupError, match=r"node .*: slices.cores: 2 cores a slice, this machine"):
        joined().slices(SlicesSection(kind="cpu", cores=2))


@pytest.mark.soak
@pytest.mark.sandbox
def test_a_lost_nodes_trial_is_void_and_another_slice_stands_in(genome, tmp_path):
    """Other trials end as usual, and so does the lost one when run again."""
    with cluster((*CORES_OF_NODES, CORES[0])) as (address, started):
        nodes = RayCluster.at(address)
        try:
            _lose(nodes, started[2], genome, tmp_path)
        finally:
            nodes.close()


def _lose(nodes, node, genome, tmp_path):
    slices = nodes.slices(SlicesSection(kind="cpu"))

    async def main():
        async with opened(nodes, tmp_path, slices) as executor:
            trials = [genome(HANG, slice_, f"t{n}") for n, slice_ in enumerate(slices)]
            running = asyncio.gather(*map(executor.run, trials), return_exceptions=True)
            await asyncio.to_thread(_kill_in_mid_trial, node)
            ends = dict(zip(slices, await running, strict=True))
            (lost,) = [slice_ for slice_, end in ends.items() if isinstance(end, VoidError)]
            again = executor.current_slice(lost)
            assert again in slices and again != lost
            assert [executor.current_slice(slice_) for slice_ in slices if slice_ != lost] == [
                slice_ for slice_ in slices if slice_ != lost
            ]
            return ends, ends.pop(lost), await executor.run(genome(GRID, lost, "again"))

    ends, void, again = asyncio.run(main())
    assert "is lost" in str(void)
    assert [end.failure.kind for end in ends.values()] == ["timeout"] * (len(slices) - 1)
    assert again.score == pytest.approx(26 / 12)


def _wait_for_a_trial(node):
    limit = time.monotonic() + 180
    while not node.running_trials():
        assert time.monotonic() < limit, node.output()
        time.sleep(0.2)


def _kill_in_mid_trial(node):
    _wait_for_a_trial(node)
    node.kill()


@pytest.mark.soak
def test_a_node_killed_in_mid_trial_costs_no_experiment(two, tmp_path, sandbox):
    """Every started trial ended once or was void once and ran again."""
    repo = packing(tmp_path, seconds=4.0, seed=3, slices={"kind": "cpu"})
    genome = repo / "genome/pack.py"
    genome.write_text(genome.read_text() + "\n\nimport time\n\ntime.sleep(0.7)\n")
    git(repo, "commit", "-qam", "Take a while")
    address, nodes = two
    words = ("launch", "--trials", "12", "--executor", "ray", "--address", address)
    out = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(*words), cwd=repo, env=environment(), **out) as child:
        _kill_in_mid_trial(nodes[1])
        _, stderr = child.communicate(timeout=120)
    assert child.returncode == 0, stderr
    assert nodes[0].running_trials() == 0
    events = ledger(repo)
    started = {e["trial"]: e for e in events if e["kind"] == "trial_started"}
    ends = Counter(
        e["started"]["trial"] for e in events if e["kind"] in ("trial_ended", "trial_voided")
    )
    assert ends == Counter(started.keys())
    voids = [e for e in events if e["kind"] == "trial_voided"]
    assert len(voids) == 1 and "is lost" in voids[0]["reason"]
    ended = [_what(started[e["started"]["trial"]]) for e in events if e["kind"] == "trial_ended"]
    once = [trial for trial in ended if trial[2] != "sentinel"]  # a sentinel repeats one trial
    assert len(ended) == 12 and len(once) == len(set(once)) > 0
    assert _what(started[voids[0]["started"]["trial"]]) in ended


def _what(trial):
    return trial["commit"], trial["seed"], trial["purpose"]


def test_where_no_slice_of_its_kind_is_left_the_run_stops(tmp_path):
    """The other slices are of another kind or smaller; the message says how to resume."""
    gone, fewer = Slice("x.cpu0", "cpu", (0, 1)), Slice("y.cpu0", "cpu", (0,))
    gpu = Slice("y.gpu0", "cuda", (0, 1), "GPU-aa")
    lost = Member("x", "1", 2, 0, lost="node x is lost: it died")
    alive = Member("y", "2", 3, 1)
    executor = RayExecutor(tmp_path, CONFIG, {gone: lost, fewer: alive, gpu: alive})
    assert executor.current_slice(gpu) == gpu
    with pytest.raises(SetupError, match=r"no slice like x.cpu0 .*it died.* `swarm launch` res"):
        executor.current_slice(gone)


def test_the_slice_that_stands_in_least_is_the_next_to_stand_in(tmp_path):
    """Two slices stand in for three lost ones, and after another loss one for all."""
    slices = [Slice(f"{name}.cpu0", "cpu", (0,)) for name in "abcde"]
    homes = {slice_: Member(slice_.name[0], slice_.name, 1, 0) for slice_ in slices}
    executor = RayExecutor(tmp_path, CONFIG, homes)
    for slice_ in slices[:3]:
        homes[slice_].lost = "it died"
    d, e = slices[3:]
    assert [executor.current_slice(slice_) for slice_ in slices] == [d, e, d, d, e]
    assert [executor.current_slice(slice_) for slice_ in slices] == [d, e, d, d, e]
    homes[d].lost = "it died"
    assert {executor.current_slice(slice_) for slice_ in slices} == {e}


def test_the_nodes_of_one_host_are_numbered():
    """The order is by node id; dead nodes are left out."""
    has = {"CPU": 4.0, "GPU": 2.0, "memory": 1.0}
    nodes = [
        {"NodeID": i, "NodeManagerHostname": host, "Alive": alive, "Resources": has}
        for i, host, alive in [("c", "x", True), ("b", "y", True), ("a", "x", True), ("d", "y", 0)]
    ]
    found = [(each.name, each.id, each.cpus, each.gpus) for each in members(nodes)]
    assert found == [("x-1", "a", 4, 2), ("x-2", "c", 4, 2), ("y", "b", 4, 2)]


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "ray://127.0.0.1:9", "[::1]:9", "nohost.invalid:6379"]
)
def test_an_address_where_nothing_listens_is_refused_at_once(address):
    """Ray itself would wait for minutes, and write its own log to the terminal."""
    with pytest.raises(SetupError, match=r"no Ray cluster answers there \(.*ray start --head"):
        RayCluster.at(address)


def test_what_listens_and_is_no_ray_is_refused():
    """A web server answers Ray's greeting otherwise than gRPC does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_answer, server, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(SetupError, match=r"no Ray cluster answers there \(something else"):
                RayCluster.at(address)


def _answer(server, reply):
    """Send `reply` to the first who connects, and hang up."""
    connection, _ = server.accept()
    with connection:
        connection.recv(100)
        connection.sendall(reply)


def test_this_machine_is_never_lost(tmp_path):
    """A local slice stands for itself."""
    slice_ = Slice("cpu0", "cpu", (0,))
    assert LocalExecutor(tmp_path, CONFIG, (slice_,)).current_slice(slice_) is slice_
