"""Re-measurement of commits in pairs on fresh seeds: whether a kept gain is real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from git import Git, GitCommandError

from harness.contract import Evidence, SandboxKind, SetupError
from islands.records import Gain
from islands.rng import seed_of
from islands.state.population import KeptChange
from islands.state.run_state import State
from swarm.executors.require_sandbox import require_sandbox
from swarm.executors.workbench import make_workbench
from swarm.project.repository import NO_COMMIT, load_program
from swarm.project.runs import RunFolder, load_state, require_stopped
from swarm.results.pair_bench import Job, Pair, PairBench, gain_of_pairs
from swarm.results.selection import nothing_kept


@dataclass(frozen=True, slots=True)
class Remeasurement:
    """A commit re-measured against another, pair by pair."""

    commit: str
    against: str
    metric: str
    evidence: Evidence
    harness: str
    pairs: tuple[Pair, ...]

    @property
    def gain(self) -> Gain:
        """The mean gain; its noise is the pairs' standard error (infinite for a single pair)."""
        return gain_of_pairs(self.pairs)

    def as_dict(self) -> dict[str, object]:
        """Return everything as nested dicts and numbers; the noise of a single pair is infinite."""
        return {**asdict(self), "gain": asdict(self.gain)}


def best(state: State) -> str:
    """Return the head with the largest gain over the base, or the base where nothing was kept."""
    heads = [(state.gain(island) or 0.0, island.head) for island in state.islands.values()]
    return max(heads, default=(0.0, state.run.base))[1]


async def remeasure(  # noqa: PLR0913  # one for each option of the command
    folder: RunFolder,
    commit: str,
    against: str,
    seeds: int,
    log: Callable[[str], None],
    *,
    sandbox: SandboxKind = "namespaces",
) -> Remeasurement:
    """Measure `commit` and `against` on `seeds` fresh seeds in `sandbox`, a pair on one slice.

    `log` gets one line for each pair. Raises SetupError where a commit is unknown or fails, and
    where the harness has changed since the run.
    """
    require_stopped(folder)
    state = load_state(folder)
    new = commit_id(folder.repo, commit) if commit else best(state)
    old = commit_id(folder.repo, against) if against else state.run.base
    (result,) = await _measure_pairs(folder, state, [(old, new)], seeds, log, sandbox)
    return result


async def remeasure_kept(
    folder: RunFolder,
    seeds: int,
    log: Callable[[str], None],
    *,
    sandbox: SandboxKind = "namespaces",
) -> list[tuple[KeptChange, Remeasurement]]:
    """Measure each kept change against its parent; otherwise as `remeasure`."""
    require_stopped(folder)
    state = load_state(folder)
    kept = list(state.keeps.values())
    if not kept:
        raise SetupError(nothing_kept(state))
    commits = [(change.parent, change.commit) for change in kept]
    return list(
        zip(kept, await _measure_pairs(folder, state, commits, seeds, log, sandbox), strict=True)
    )


async def _measure_pairs(  # noqa: PLR0913, PLR0917  # as above
    folder: RunFolder,
    state: State,
    commits: list[tuple[str, str]],
    seeds: int,
    log: Callable[[str], None],
    sandbox: SandboxKind,
) -> list[Remeasurement]:
    """Measure each pair of an old and a new commit, all pairs on the same seeds."""
    run = state.run
    bench_run = BenchRun(folder, state, "remeasure", seeds, sandbox)
    pairs = await bench_run.pairs(commits, log)
    return [
        Remeasurement(
            new,
            old,
            run.metric,
            run.evidence,
            run.harness,
            tuple(_scored(pair) for pair in pairs[old, new]),
        )
        for old, new in commits
    ]


@dataclass(frozen=True, slots=True)
class BenchRun:
    """A stopped run whose commits are measured on `seeds` fresh seeds that `purpose` alone uses."""

    folder: RunFolder
    state: State
    purpose: str
    seeds: int
    sandbox: SandboxKind

    async def pairs(
        self, commits: Sequence[tuple[str, str]], log: Callable[[str], None]
    ) -> dict[tuple[str, str], list[Pair | SetupError]]:
        """Measure each pair of an old and a new commit, all on the same seeds.

        Raises SetupError where the harness has changed since the run.
        """
        folder, run = self.folder, self.state.run
        require_sandbox(self.sandbox, folder.kept)
        program = load_program(folder.repo, run.base, run.program)
        bench = make_workbench(
            folder.repo,
            program,
            [commit for pair in commits for commit in pair],
            folder.remeasure,
            self.sandbox,
            frozen_at=run.base,
            problem=folder.problem,
            harness=folder.harness,
        )
        fresh = [seed_of(run.seed, self.purpose, k) for k in range(self.seeds)]
        jobs = [Job(old, new, seed) for old, new in commits for seed in fresh]
        async with bench.opened(program.settings.slices.max_foreign_cpu) as executor:
            if executor.harness != run.harness:
                raise SetupError(
                    f"the harness has changed: run {run.run} was scored by {run.harness},"
                    f" this one is {executor.harness}; check out the harness of that run"
                )
            found = await PairBench(bench).pairs(jobs, log)
        return {(old, new): [found[Job(old, new, seed)] for seed in fresh] for old, new in commits}


def _scored(pair: Pair | SetupError) -> Pair:
    """Return `pair`. Raises it where a commit of it has no score."""
    if isinstance(pair, SetupError):
        raise pair
    return pair


def commit_id(repo: Path, name: str) -> str:
    """Return the id of the commit that `name` means. Raises SetupError where there is none."""
    try:
        return str(Git(repo).rev_parse("--verify", "--quiet", f"{name}^{{commit}}"))
    except GitCommandError:
        if name == "HEAD":
            raise SetupError(NO_COMMIT.format(repo)) from None
        raise SetupError(f"no commit {name!r} in {repo}") from None
