"""Benchmark of the share of slices' time spent on trials while models think.

    python -m tests.benchmarks.bench_pipeline [--cases 0.5/0.5,2/0.5,2/5,0.5/0.5~0.8] [--slots
    2,4,8]
    python -m tests.benchmarks.bench_pipeline --base-url URL --model NAME [--api-key-env NAME] ...

Runs real swarms: a language model's agent on every island, git, ledger, sandbox and harness as in
any run. The model is a server on loopback that answers after M seconds with one more candidate, or
your own. An evaluation is a trial whose genome sleeps E seconds (`~0.8`: 0.2 to 1.8 times E, by
candidate), so that slots need no cores and 8 of them fit on two. Each candidate is a little worse
than its head, which never moves: every evaluation needs an answer of its own.

    achieved ÷ ideal = seconds slept in all evaluations ÷ (slots x wall)

which is evaluations ÷ (slots x wall ÷ evaluation time), where parts of evaluations count as parts
and a sentinel's trial is one like any other. The wall begins two answers after each slot has ended
its first candidate, and lasts --seconds. What is left of 1 is itemised for one evaluation: `start`
a box is made, `in box` an interpreter starts and ends, `harness` whatever else the harness does
within a trial, `between` from a trial's end to the start of the slot's next. With a model of your
own M is the median that was measured.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

import swarm.executors.backends
from harness.contract import Slice
from islands import events as ev
from swarm.coordinator.assemble import assemble
from swarm.coordinator.launch_options import LaunchOptions
from swarm.coordinator.task_tree import run_islands
from tests.support.loopback import KEY, Loopback, Say
from tests.support.target import git, rewrite
from tests.support.target import swarm as run_swarm

GENOME = """\
import time

STEP = 0

SECONDS, SPREAD = {seconds}, {spread}


def pack(seed, deadline):
    draw = (STEP * 7919 + seed * 104729) % 9973 / 9972
    seconds = SECONDS * (1 + SPREAD * (2 * draw - 1))
    time.sleep(seconds)
    print(f"claim slept {{seconds:.4f}}")
    radius = (1 - draw / 1000 - (STEP != 0) / 10) / 12
    return [((i % 6 + 0.5) / 6, (i // 6 + 0.5) / 6, radius) for i in range(26)]
"""

ANSWER = """\
HYPOTHESIS: another step

FILE: genome/pack.py
<<<<<<< SEARCH
STEP = 0
=======
STEP = {step}
>>>>>>> REPLACE
"""

PROSE = "Replace the number in `STEP = 0` by any other number, and change nothing else.\n"

HEADINGS = ("model s", "evaluation s", "slots", "evaluations", "achieved ÷ ideal")
REST = ("start", "in box", "harness", "between")


@dataclass(frozen=True)
class Case:
    """So many seconds for an answer and for an evaluation, which varies by the share `spread`."""

    model: float
    evaluation: float
    spread: float = 0.0

    @classmethod
    def parse(cls, text):
        """Read `M/E` or `M/E~SPREAD`."""
        model, _, rest = text.partition("/")
        evaluation, _, spread = rest.partition("~")
        return cls(float(model), float(evaluation), float(spread or 0))


@dataclass
class Meter:
    """Watches a run: when its trials began and ended, and what they say of themselves."""

    slots: int
    running: dict = field(default_factory=dict)
    trials: list = field(default_factory=list)
    begun: set = field(default_factory=set)
    full: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event, state):
        if isinstance(event, ev.TrialStarted):
            self.running[event.trial] = event
        if not isinstance(event, ev.TrialEnded):
            return
        began = self.running.pop(event.started.trial)
        self.trials.append((began, event))
        if began.purpose == "screen":
            self.begun.add(began.slice)
        if len(self.begun) == self.slots:
            self.full.set()

    def began_before(self, end):
        """Return whether a trial still runs that began before `end`."""
        return any(began.recorded < end for began in self.running.values())

    def within(self, begin, end):
        """Return, for each trial, its share inside of the wall, and its seconds by item."""
        for began, ended in self.trials:
            inside = min(ended.recorded, end) - max(began.recorded, begin)
            lasted = ended.recorded - began.recorded
            if inside > 0:
                yield inside / lasted, _items(ended.outcome, lasted)


def _items(outcome, lasted):
    slept, phases = outcome.claims.get("slept", 0.0), outcome.seconds
    start, budget = phases["start"], phases["budget"]
    rest = lasted - start - budget
    return {"slept": slept, "start": start, "in box": budget - slept, "harness": rest}


class Clocked:
    """An agent whose answers' seconds are noted."""

    def __init__(self, agent, took):
        self._agent, self._took = agent, took

    def __getattr__(self, name):
        return getattr(self._agent, name)

    async def propose(self, brief):
        began = time.monotonic()
        try:
            return await self._agent.propose(brief)
        finally:
            self._took.append(time.monotonic() - began)


def serve(delay, told):
    """Answer for ever, in a process of its own; `told` is told the address."""
    steps = random.Random(1)
    answer = lambda asked: Say(ANSWER.format(step=steps.randrange(1, 10**9)))  # noqa: E731
    with Loopback(answer, delay) as server:
        told.send(server.url)
        told.recv()  # until the parent process is gone


@contextmanager
def loopback(delay):
    """Yield the address of a model that takes `delay` seconds to answer."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(delay, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def target(folder, case, model):
    """Make a repository whose genome sleeps."""
    repo = folder / "repo"
    run_swarm(folder, "init", repo, "--task", "packing")
    text = GENOME.format(seconds=case.evaluation, spread=case.spread)
    (repo / "genome/pack.py").write_text(text)
    limit = 3 * case.evaluation + 5
    rewrite(
        repo,
        rungs=[{"depth": 1, "seconds": limit, "memory_mib": 1024}],
        agents={"model": model},
        agent="model",
        slices={"kind": "cpu"},
    )
    path = repo / "program.md"
    path.write_text(path.read_text().rpartition("---\n")[0] + "---\n" + PROSE)
    git(repo, "commit", "-qam", "Sleep")
    return repo


async def measure(repo, slots, seconds, model):
    """Run on so many slots, for so long once all are full; return the meter, wall and answers.

    An agent needs an answer or two (of `model` seconds) to know how far ahead it should ask.
    """
    slices = tuple(Slice(f"slot{n}", "cpu") for n in range(slots))
    swarm.executors.backends.discover = lambda wish: slices
    meter, took = Meter(slots), []
    async with assemble(repo, LaunchOptions(new=True), meter) as run:
        run.agents = {name: Clocked(agent, took) for name, agent in run.agents.items()}
        running = asyncio.ensure_future(run_islands(run))
        full = asyncio.ensure_future(meter.full.wait())
        await asyncio.wait([running, full], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([running], timeout=2 * model)
        begin = time.time()
        await asyncio.wait([running], timeout=seconds)
        end = time.time()
        while not running.done() and meter.began_before(end):
            await asyncio.wait([running], timeout=0.05)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return meter, (begin, end), took


def row(case, slots, found, own):
    """Return a line of the table."""
    meter, (begin, end), took = found
    trials = list(meter.within(begin, end))
    number = sum(share for share, _ in trials)
    total = slots * (end - begin)
    spent = {
        item: sum(share * items[item] for share, items in trials) for item in ("slept", *REST[:3])
    }
    spent["between"] = total - sum(spent.values())
    model = f"{statistics.median(took):.2f}" if own else f"{case.model:g}"
    spread = f" ± {100 * case.spread:.0f} %" if case.spread else ""
    first = (model, f"{case.evaluation:g}{spread}", slots, f"{number:.0f}")
    rest = (f"{1000 * spent[item] / number:.0f}" for item in REST)
    return *map(str, first), f"{spent['slept'] / total:.3f}", *rest


def main(asked):
    """Print the table, a line at a time."""
    grid = Table(*HEADINGS, *(f"{item} ms" for item in REST), title="slots are kept busy")
    console = Console(width=140)
    for case in map(Case.parse, asked.cases.split(",")):
        for slots in map(int, asked.slots.split(",")):
            with tempfile.TemporaryDirectory() as scratch, models(case, asked) as model:
                Path(scratch).chmod(0o755)
                repo = target(Path(scratch), case, model)
                seconds = max(asked.seconds, 4 * case.evaluation)
                found = asyncio.run(measure(repo, slots, seconds, case.model))
            cells = row(case, slots, found, own=bool(asked.base_url))
            print(*cells, sep="  ", flush=True)
            grid.add_row(*cells)
    console.print(grid)


@contextmanager
def models(case, asked):
    """Yield program.md's words for the model to ask."""
    rest = {"requests_per_minute": asked.requests_per_minute, "max_output_tokens": 1024}
    if asked.base_url:
        key = {"api_key_env": asked.api_key_env} if asked.api_key_env else {}
        place = {"base_url": asked.base_url, "model": asked.model}
        yield {"kind": asked.kind, **place, **key, **rest}
        return
    os.environ["BENCH_KEY"] = KEY
    with loopback(case.model) as url:
        place = {"base_url": f"{url}/v1", "model": "loopback", "api_key_env": "BENCH_KEY"}
        yield {"kind": "openai", **place, **rest}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="0.5/0.5,2/0.5,2/5,0.5/0.5~0.8", help="M/E[~SPREAD],...")
    parser.add_argument("--slots", default="2,4,8")
    parser.add_argument("--seconds", type=float, default=12.0, help="the wall, 4 x E at least")
    parser.add_argument("--kind", choices=["openai", "anthropic"], default="openai")
    parser.add_argument(
        "--base-url", default="", help="your own model, say http://localhost:11434/v1"
    )
    parser.add_argument("--model", default="", help="its name")
    parser.add_argument("--api-key-env", default="", help="the variable that holds its key")
    parser.add_argument("--requests-per-minute", type=int, default=1_000_000)
    main(parser.parse_args())
