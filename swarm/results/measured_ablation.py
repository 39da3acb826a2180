"""Measured ablation: a stack or head against itself without each of its changes, on fresh seeds.

For each change the others are applied to the base in order; what does not apply without it is left
out with it (`takes`). Both genomes run in pairs on seeds that no decision has used. Nothing is
recorded; the commits without a change stay under `refs/swarm/<run>/ablations/`.

Not covered: interactions, which leave-one-out pairs do not tell apart (`swarm stack` does); Shapley
shares stay those of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from analysis.database.queries import answer
from analysis.questions.ablation import DROPPABLE_CHANCE, Ablation, PartWorth
from analysis.run import RecordedRun
from harness.contract import SandboxKind, SetupError
from islands.git.branches import Branches
from islands.records import Conflict, Gain
from islands.state.population import KeptChange
from islands.state.run_state import State
from swarm.project.runs import RunFolder, load_state, require_stopped
from swarm.results.pair_bench import Pair, paired_gain
from swarm.results.remeasure import BenchRun


@dataclass(frozen=True, slots=True)
class MeasuredAblation:
    """An ablation whose worths were measured on fresh seeds.

    found: the ablation; parts that could be measured have basis `fresh`
    seeds: pairs for each part
    failures: why there is no worth of a part: the genome has no score without it
    """

    found: Ablation
    seeds: int
    failures: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class _Without:
    """A stack without one change: its commit, and the changes that do not apply without it."""

    commit: str
    takes: tuple[int, ...]


_LINES = """
SELECT experiment, coalesce(added, 0) - coalesce(removed, 0) FROM nodes
WHERE experiment IN (SELECT unnest(?))
"""


async def measure_ablation(
    folder: RunFolder,
    target: str,
    seeds: int,
    log: Callable[[str], None],
    *,
    sandbox: SandboxKind = "namespaces",
) -> MeasuredAblation:
    """Measure what `target` (as `RecordedRun.ablation`) loses without each of its changes.

    `log` gets a line for each pair. Raises SetupError where a change is quarantined, where the run
    is in use, and where the harness has changed since.
    """
    require_stopped(folder)
    state = load_state(folder)
    with RecordedRun(folder.path) as run:
        known = run.ablation(target)
        changes = _changes(state, run.parts(known.commit))
        lines = dict(answer(run.connection, _LINES, values=[list(changes)]).rows)
    base, whole = state.run.base, known.commit
    branches = Branches(folder.repo, folder.name, state.run.genome)
    without = {number: _without(branches, base, whole, changes, number) for number in changes}
    commits = [(one.commit, whole) for one in without.values()]
    bench = BenchRun(folder, state, "ablation", seeds, sandbox)
    pairs = await bench.pairs(list(dict.fromkeys([*commits, (base, whole)])), log)
    parts, failures = dict[int, PartWorth](), dict[int, str]()
    before = {part.experiment: part for part in known.parts}
    for number, one in without.items():
        part = before.get(number) or _unknown(changes[number], lines.get(number, 0))
        measured = pairs[one.commit, whole]
        worth, failure = paired_gain(measured), _failure(measured)
        parts[number] = part if worth is None else _fresh(part, worth, one.takes)
        if failure:
            failures[number] = failure
    total = paired_gain(pairs[base, whole]) or known.whole
    order = sorted(parts.values(), key=lambda part: (-part.worth.mean, part.experiment))
    return MeasuredAblation(replace(known, whole=total, parts=tuple(order)), seeds, failures)


def _changes(state: State, numbers: tuple[int, ...]) -> Mapping[int, KeptChange]:
    lost = [f"#{number}" for number in numbers if number not in state.keeps]
    if lost:
        raise SetupError(f"{', '.join(lost)}: quarantined; name another stack or head")
    return {number: state.keeps[number] for number in numbers}


def _without(
    branches: Branches, base: str, whole: str, changes: Mapping[int, KeptChange], left_out: int
) -> _Without:
    """Apply all of `changes` but one to the base, in order, and those that then do not apply."""
    tip, takes = base, list[int]()
    for number, change in changes.items():
        if number == left_out:
            continue
        files = branches.apply_change(change.parent, change.commit, tip)
        if isinstance(files, Conflict):
            takes.append(number)
        elif files:
            name = f"ablations/{whole[:12]}/{left_out}/{number}"
            text = f"Ablate #{left_out}\n"
            tip = branches.commit_under_ref(name, tip, files, text, 0)
    return _Without(tip, tuple(takes))


def _fresh(part: PartWorth, worth: Gain, takes: tuple[int, ...]) -> PartWorth:
    return replace(
        part, worth=worth, takes=takes, basis="fresh", droppable=worth.lfsr >= DROPPABLE_CHANCE
    )


def _unknown(change: KeptChange, lines: int) -> PartWorth:
    """Return what is known of a change that another island had kept first."""
    gain = change.gain
    return PartWorth(
        change.experiment, gain, gain, gain.mean, (), "estimated", lines, droppable=False
    )


def _failure(pairs: list[Pair | SetupError]) -> str:
    return next((str(pair) for pair in pairs if isinstance(pair, SetupError)), "")
