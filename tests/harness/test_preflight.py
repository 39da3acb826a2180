"""Looks at candidates before their trials: what is refused, what is let through, where it runs."""

import asyncio
import importlib.util
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import (
    HarnessError,
    Preflight,
    Rung,
    SetupError,
    Slice,
    Trial,
    decode_preflight,
    encode,
)
from harness.preflight import MAX_MEMORY_MIB, MAX_TAIL_CHARS, preflight
from harness.sandbox.policy import Exit
from swarm.executors.preflight import PreflightPool, PreflightSlices, choose_slices
from swarm.project.program import read_program
from tests.support.children import serving

ROOT = Path(__file__).parents[2]
CORE = max(os.sched_getaffinity(0))
BESIDE = PreflightSlices((Slice("preflight0", "cpu", (CORE,)),))
PACK = (ROOT / "islands/seeds/packing/pack.py").read_text()
SEED = ROOT / "islands/seeds/gpt/train.py"
TRAIN = re.sub(r"(?m)^SEQUENCES_PER_DEPTH = .*$", "SEQUENCES_PER_DEPTH = 0.5", SEED.read_text())
BEGIN = "    clock = Clock(trial.deadline, device.lag)\n"
END = "    return model\n"


WHERE = Slice("cpu7", "cpu", (7,))  # no preflight runs there

TRIAL = Trial("t1", "packing", "none", "c", 7, Rung(1, 20.0, 4096), WHERE, "/g", "pack.py", "/s")


def trial_of(place, source, task="packing", depth=1):
    """Write a genome of one file and return its trial."""
    entry, data = ("pack.py", "none") if task == "packing" else ("train.py", "kjv")
    genome = place / "genome"
    genome.mkdir(parents=True)
    place.chmod(0o755)
    (genome / entry).write_text(source)
    places = {"genome": str(genome), "scratch": str(place / "scratch"), "entry": entry}
    return replace(TRIAL, task=task, data=data, rung=Rung(depth, 20.0, 4096), **places)


def looks(trials, task="packing", where=BESIDE, sandbox="namespaces"):
    """Return what one process found of each trial."""

    async def main():
        data = "none" if task == "packing" else "kjv"
        async with PreflightPool(ROOT, task, data, where, sandbox) as preflights:
            return await asyncio.gather(*(preflights.check(trial) for trial in trials))

    return asyncio.run(main())


def _swap(old, new):
    assert TRAIN.count(old) == 1
    return TRAIN.replace(old, new)


def _set(knob, value):
    """Return the seed with a knob set, whatever it is now: swarms merge other seeds home."""
    text, count = re.subn(rf"^{knob} = .*$", f"{knob} = {value}", TRAIN, flags=re.MULTILINE)
    assert count == 1
    return text


GENOMES = {
    "seed": (SEED.read_text(), 2),
    "seed at depth 12": (TRAIN, 12),
    "of one depth": (_swap(BEGIN, f"    assert trial.depth == 3\n{BEGIN}"), 3),
    "no meta": (_swap("        self.initialise()\n", "        self.head.weight.sum().item()\n"), 2),
    "compiled": (_swap("compiled = clock.budget > device.compile", "compiled = True"), 2),
    "no syntax": (_swap("def build(", "def build(("), 2),
    "no module": (_swap("import torch\n", "import torch\nimport pandas\n"), 2),
    "shapes": (_swap("self.head(norm(x)).float()", "self.head(norm(x)[:, 1:]).float()"), 2),
    "peeks": (_swap("is_causal=True", "is_causal=False"), 2),
    "not finite": (_swap(END, f"    model.head.weight.data.fill_(math.nan)\n{END}"), 2),
    "another model": (_swap(END, "    return model.head\n"), 2),
    "nothing": (_swap(END, "    return None\n"), 2),
    "too large": (_set("WIDTH_PER_DEPTH", 4096), 2),
    "gives up": (_swap(BEGIN, "    raise SystemExit(3)\n"), 2),
    "dies": (_swap(BEGIN, "    import os, signal; os.kill(os.getpid(), signal.SIGABRT)\n"), 2),
}


@pytest.fixture(scope="module")
def preflights(tmp_path_factory, sandbox, kjv):
    """Look at all genomes in one warm process."""
    base = tmp_path_factory.mktemp("genomes")
    base.chmod(0o755)
    base.parent.chmod(0o755)
    trials = [
        trial_of(base / str(n), source, "gpt", depth)
        for n, (source, depth) in enumerate(GENOMES.values())
    ]
    return dict(zip(GENOMES, looks(trials, "gpt"), strict=True))


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "name", ["seed", "seed at depth 12", "of one depth", "no meta", "compiled"]
)
def test_what_can_run_is_let_through(preflights, name):
    """At any depth, and even where it could not be weighed or compiled in time."""
    assert (preflights[name].ok, preflights[name].reason, preflights[name].tail) == (True, "", "")


def _parameters(depth):
    """Return how many parameters the seed's model has, whatever a swarm has made of it."""
    spec = importlib.util.spec_from_file_location("seed", SEED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.device("meta"):
        return sum(tensor.numel() for tensor in module.build(1024, 256, depth).parameters())


@pytest.mark.sandbox
def test_the_model_of_the_trial_is_weighed(preflights):
    """Its parameters at the trial's depth are counted without memory, and what training holds."""
    two, twelve = preflights["seed"], preflights["seed at depth 12"]
    assert two.parameters == _parameters(2)
    assert twelve.parameters == _parameters(12)
    assert twelve.memory_mib == pytest.approx(16 * twelve.parameters / 2**20)
    assert preflights["no meta"].parameters == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no syntax", "SyntaxError"),
        ("no module", "ModuleNotFoundError: No module named 'pandas'"),
        ("shapes", "to match target batch_size"),
        ("peeks", "a forecast changes with later tokens or with other rows"),
        ("not finite", "not finite"),
        ("another model", "Missing key"),
        ("nothing", "'NoneType' object has no attribute"),
        ("too large", "can be left at most"),
        ("gives up", "exit status 3"),
        ("dies", "exit status -6"),
    ],
)
def test_what_cannot_run_is_refused_with_the_fix(preflights, name, reason):
    """One line says what is wrong, and the end of what was printed says where."""
    assert not preflights[name].ok
    assert reason in (preflights[name].tail if name == "another model" else preflights[name].reason)
    assert preflights[name].reason.isprintable()
    assert len(preflights[name].tail) <= MAX_TAIL_CHARS


def test_a_packing_genome_is_imported(sandbox, tmp_path):
    """The seed is let through; what has no pack(seed, deadline) is not."""
    sources = [PACK, "def pack(seed): return []", "", "1/0"]
    trials = [trial_of(tmp_path / str(n), source) for n, source in enumerate(sources)]
    seed, short, empty, broken = looks(trials)
    assert seed == Preflight(ok=True, seconds=seed.seconds)
    assert short.reason == "TypeError: too many positional arguments"
    assert "no attribute 'pack'" in empty.reason
    assert broken.reason == "ZeroDivisionError: division by zero"
    assert "line 1, in <module>" in broken.tail


def test_a_look_that_stands_back_cannot_come_forward(sandbox, tmp_path):
    """Where trials have the cores the candidate runs at the lowest priority, whatever it tries."""
    tries = (
        "import os\n"
        "from contextlib import suppress\n"
        "with suppress(OSError): os.sched_setscheduler(0, 0, os.sched_param(0))\n"
        "with suppress(OSError): os.nice(-5)\n"
        "raise SystemExit(f'policy {os.sched_getscheduler(0)} nice {os.nice(0)}')\n"
    )
    trial = trial_of(tmp_path / "g", tries)
    (back,) = looks([trial], where=replace(BESIDE, shared=True))
    (beside,) = looks([trial])
    assert back.reason == f"policy {os.SCHED_IDLE} nice 19"
    assert beside.reason == f"policy {os.SCHED_OTHER} nice {os.nice(0)}"


def test_nobody_who_can_look_is_nothing_against_a_candidate(sandbox, tmp_path):
    """No place to look, a genome that is gone, a process that dies: its trial will tell."""
    trial = trial_of(tmp_path / "g", "1/0")
    gone = replace(trial, genome=str(tmp_path / "gone"))
    assert looks([trial], where=PreflightSlices()) == [Preflight(ok=True)]
    (void,) = looks([gone])
    assert (void.ok, void.reason) == (True, "")
    assert "no preflight: " in void.tail


def test_a_killed_process_is_started_again_and_a_cancelled_look_leaves_none(sandbox, tmp_path):
    """The interrupted preflight has no result, the next one has. No child outlives the pool."""
    hangs = trial_of(tmp_path / "hangs", "import time\nwhile True: time.sleep(1)")
    broken = trial_of(tmp_path / "broken", "1/0")

    before = psutil.Process().children(recursive=True)

    async def main():
        async with PreflightPool(ROOT, "packing", "none", BESIDE) as preflights:
            look = asyncio.create_task(preflights.check(hangs))
            (await serving()).send_signal(signal.SIGKILL)
            killed = await look
            look = asyncio.create_task(preflights.check(hangs))
            await serving()
            look.cancel()
            (cancelled,) = await asyncio.gather(look, return_exceptions=True)
            return killed, cancelled, await preflights.check(broken)

    killed, cancelled, after = asyncio.run(main())
    assert killed.ok and "no preflight: " in killed.tail
    assert isinstance(cancelled, asyncio.CancelledError)
    assert "ZeroDivisionError" in after.reason
    assert {*psutil.Process().children(recursive=True)} <= {*before}


# What an end means.

BEGAN = b"claim preflight_began 1\n"


def looked(tmp_path, log=BEGAN, code=0, killed="", **changes):
    """Return the preflight's result for a sandbox that printed `log` and ended like that."""

    def confine(policy, argv, path):
        assert policy.memory_mib <= MAX_MEMORY_MIB
        path.write_bytes(log)
        return Exit(code, killed, seconds=0.1, start=0.0, peak_mib=1.0)

    return preflight(replace(TRIAL, scratch=str(tmp_path), **changes), WHERE, confine)


def test_a_sandbox_that_ended_before_the_candidate_is_the_harnesss_fault(tmp_path):
    """It is no look at all."""
    with pytest.raises(HarnessError, match="before it ran the candidate: no numpy"):
        looked(tmp_path, b"no numpy", code=1)


def test_a_hang_is_refused_unless_others_may_have_had_the_time(tmp_path, monkeypatch):
    """Who stands back for trials cannot tell a hang from a core that was not to be had."""
    monkeypatch.setattr(os, "getpriority", lambda *_: 0)
    assert looked(tmp_path, killed="deadline").reason == "still running a tiny input after 30 s"
    monkeypatch.setattr(os, "getpriority", lambda *_: 19)
    assert looked(tmp_path, killed="deadline").ok


def test_memory_is_refused_only_where_the_trial_has_no_more(tmp_path):
    """A look holds less than a trial may: what it lacks for may be had there."""
    assert looked(tmp_path, killed="memory").ok
    tight = looked(tmp_path, killed="memory", rung=Rung(1, 20.0, 1024))
    assert tight.reason == "held more than 1024 MiB on a tiny input"


def test_what_only_an_accelerator_can_tell_is_left_to_it(tmp_path):
    """A look has a CPU: it cannot refuse a genome of a GPU's for wanting one."""
    log = BEGAN + b"RuntimeError: No CUDA GPUs are available\n"
    assert not looked(tmp_path, log, code=1).ok
    assert looked(tmp_path, log, code=1, slice=Slice("gpu0", "cuda", (), "GPU-1")).ok
    log = BEGAN + b"IndexError: list index out of range\n"
    assert not looked(tmp_path, log, code=1, slice=Slice("gpu0", "cuda", (), "GPU-1")).ok


@given(
    log=st.binary(max_size=400) | st.from_regex(rb"\Aclaim preflight_\w{3,10} [-0-9e.]{1,9}\n\Z"),
    code=st.integers(-64, 255),
)
def test_any_log_is_a_preflight_that_survives_the_trip(tmp_path_factory, log, code):
    """Hostile words come out as numbers above zero and lines that can be shown."""
    result = looked(tmp_path_factory.getbasetemp(), BEGAN + log, code)
    assert result.ok == (code == 0)
    assert result.reason.isprintable()
    assert result.parameters >= 0 and result.memory_mib >= 0.0
    assert decode_preflight(encode(result)) == result


# Where looks run.

CPU = tuple(Slice(f"cpu{n}", "cpu", (n,)) for n in range(2))
GPU = (Slice("gpu0", "cuda", (0, 1), "GPU-1"),)


@pytest.mark.parametrize(
    ("wish", "slices", "cores", "cores_of_places", "shared"),
    [
        ("auto", CPU, (0, 1), [], False),
        ("auto", CPU[:1], (0, 1), [(1,)], False),
        ("auto", CPU, range(8), [(2,), (3,)], False),
        ("auto", GPU, (0, 1), [(0, 1)], True),
        ("auto", (Slice("mps0", "mps"),), (0, 1), [()], True),
        ("auto", (Slice("cpu0", "cpu"),), (0, 1), [], False),
        ("always", CPU, (0, 1), [(0, 1)], True),
        ("always", CPU, (0, 1, 2), [(2,)], False),
        ("never", CPU, range(8), [], False),
    ],
)
def test_looks_run_on_spare_cores_or_stand_back(wish, slices, cores, cores_of_places, shared):
    """On a core of no slice; else on all of them at the lowest priority, for GPUs or if asked."""
    chosen = choose_slices(wish, slices, cores)
    assert [slice_.cores for slice_ in chosen.slices] == cores_of_places
    assert chosen.shared == shared


def test_program_md_says_whether_there_are_looks():
    """`preflight` is auto, always or never; another word is refused with these."""
    front = "---\ntask: packing\ngenome: [genome/]\n{}---\n"
    assert read_program(front.format(""), "program.md").settings.preflight == "auto"
    assert (
        read_program(front.format("preflight: never\n"), "program.md").settings.preflight == "never"
    )
    with pytest.raises(SetupError, match=r"preflight.*auto, always or never"):
        read_program(front.format("preflight: sometimes\n"), "program.md")
