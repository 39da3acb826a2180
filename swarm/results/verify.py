"""Consistency checks of a run's record: chain, events, scores, git refs, merges, lineage.duckdb.

Read-only, and safe while a coordinator runs: the ledger is read before git's refs and again after
them, and events in between are allowed for.

Not covered:
- someone who can rewrite the whole ledger can recompute its links and set refs until all agree:
  only a link noted elsewhere shows it (`swarm.results.anchor`);
- lines cut off at the end leave a valid chain. The cut shows only if one of those lines admitted a
  candidate or moved a head, whose ref still exists, or if a merge or an anchor has a later link;
- whether the scores are true: `swarm measure` measures again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from analysis.database.refresh import strays
from analysis.hash_chain import START
from analysis.ledger import Line, read_lines
from harness.contract import SetupError
from islands import events as ev
from islands.git.packs import CandidatePacks
from islands.git.plumbing import Plumbing
from islands.promotion.consensus import NAME as CONSENSUS
from islands.state.lifecycle import LifecycleError
from islands.state.run_state import State
from swarm.project.runs import RunFolder, fold
from swarm.results.anchor import anchor_violations
from swarm.results.verify_merges import merge_violations

E = TypeVar("E", bound=ev.Event)

REPLACED = "refs/replace/"


@dataclass(frozen=True, slots=True)
class VerifyCheck:
    """One check of the record, and its result."""

    name: str
    rule: str
    """What must hold, for people."""
    violations: tuple[str, ...] = ()
    """Each violation in one line; empty if the check holds."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of all checks of a run's record."""

    run: str
    link: str
    """Of the ledger's last line; it stands for all events before."""
    events: int
    """Number of valid lines in the ledger."""
    checks: tuple[VerifyCheck, ...]
    base: str = ""
    """The commit that the run began on; "" where the record is broken or empty."""

    @property
    def holds(self) -> bool:
        """Whether every check that ran holds."""
        return not any(check.violations for check in self.checks)


@dataclass(frozen=True, slots=True)
class _Ref:
    """A ref's commit and that commit's first parent ("" for none)."""

    commit: str
    parent: str


@dataclass(frozen=True, slots=True)
class _Record:
    """The ledger before git's refs were read (`lines`), the refs, and lines appended since."""

    folder: RunFolder
    git: Plumbing
    lines: Sequence[Line]
    later: Sequence[Line]
    refs: Mapping[str, _Ref]

    @property
    def opened(self) -> ev.RunOpened:
        """The event that opened the run."""
        return _fold(self.lines[:1]).run

    @property
    def tried(self) -> str:
        """The prefix of the refs that hold the run's candidates."""
        return f"refs/swarm/{self.folder.name}/tried/"


def verify(folder: RunFolder, anchor: str = "") -> VerifyReport:
    """Check the record of a run; skip checks that depend on one that fails.

    `anchor` is a file of noted links to compare with, too. Raises SetupError where there is no
    ledger, where it is a link, or git is not installed.
    """
    _require_real(folder)
    lines, broken = _read(folder)
    link, end = (lines[-1].link, lines[-1].end) if lines else (START, 0)
    checks = [VerifyCheck("chain", f"{len(lines)} lines, each linked to the one before", broken)]
    if not broken:
        unfit = tuple(_impossible_events(lines))
        checks.append(VerifyCheck("events", "each is possible after those before it", unfit))
        if lines and not unfit:
            git = Plumbing(folder.repo)
            refs = _refs(git, folder.name)
            record = _Record(folder, git, lines, _read(folder, end)[0], refs)
            checks += _consistency_checks(record)
            known = {line.link for line in (*lines, *record.later)}
            odd = tuple(anchor_violations(folder, anchor, known))
            checks.append(VerifyCheck("anchors", "each notes a link of this ledger", odd))
        stray = strays(folder.path)
        rule = "matches the ledger up to the line that it has read"
        checks.append(
            VerifyCheck("projection", f"lineage.duckdb {rule}", (stray,) if stray else ())
        )
    base = lines[0].event.base if lines and isinstance(lines[0].event, ev.RunOpened) else ""
    return VerifyReport(folder.name, link, len(lines), tuple(checks), base)


def _consistency_checks(record: _Record) -> Iterator[VerifyCheck]:
    """Yield the checks of the events against scores, refs and merges."""
    checks = {
        "scores": (f"all are of harness {record.opened.harness}", _foreign_scores),
        "candidates": (f"git holds each, by a ref or packed, as {record.tried}<N>", _candidates),
        "heads": ("each island's branch is at its head", _heads),
        "stacks": ("each stack that was assembled is held by its ref, and no other is", _stacks),
        "consensus": ("the consensus branch is where the last promotion moved it", _consensus),
        "merges": (f"those on {record.opened.target} say what this ledger said", _merges),
        "objects": ("git shows none of the repository's objects in place of another", _replaced),
    }
    for name, (rule, check) in checks.items():
        yield VerifyCheck(name, rule, tuple(check(record)))


def _read(folder: RunFolder, offset: int = 0) -> tuple[list[Line], tuple[str, ...]]:
    """Return the ledger's lines up to the first broken one, and what is wrong there."""
    lines: list[Line] = []
    try:
        lines.extend(read_lines(folder.ledger, offset))
    except SetupError as error:
        return lines, (str(error),)
    return lines, ()


def _fold(lines: Iterable[Line]) -> State:
    return fold(line.event for line in lines)


def _impossible_events(lines: Iterable[Line]) -> Iterator[str]:
    """Yield what is wrong with the first event that is not possible after those before it."""
    state = State()
    for number, line in enumerate(lines, 1):
        try:
            state.apply(line.event)
        except (LifecycleError, LookupError, ValueError, ArithmeticError) as error:
            yield f"line {number}: {line.event.kind}: {error}"
            return
        if state.opened is None:
            yield f"line 1: {line.event.kind}: a ledger must begin with run_opened"
            return


def _foreign_scores(record: _Record) -> Iterator[str]:
    for number, line in enumerate(record.lines, 1):
        event = line.event
        if isinstance(event, ev.TrialEnded) and event.outcome.harness != record.opened.harness:
            trial, harness = event.started.trial, event.outcome.harness
            yield f"line {number}: trial {trial} is of harness {harness}"


def _stacks(record: _Record) -> Iterator[str]:
    """Yield stacks that no ref holds, and refs of stack checks that the ledger lacks.

    Intermediate commits are held too, one ref for each part that was applied to the base.
    """
    prefix = f"refs/swarm/{record.folder.name}/stacks/"
    for event in _of(ev.StackCheckAssembled, record.lines):
        name = f"{prefix}{event.number}/{'-'.join(map(str, event.parts))}"
        ref = record.refs.get(name, _Ref("nothing", ""))
        if event.commit and event.parts and ref.commit != event.commit:
            yield f"{name} holds {ref.commit}, not {event.commit}"
    opened = _of(ev.StackCheckStarted, (*record.lines, *record.later))
    recorded = tuple(f"{prefix}{event.number}/" for event in opened)
    for name in record.refs:
        if name.startswith(prefix) and not name.startswith(recorded):
            yield f"{name} is of a stack check that the ledger does not know: was its end cut off?"


def _candidates(record: _Record) -> Iterator[str]:
    """Yield admitted commits that no ref holds, and refs that hold a commit never admitted."""
    yield from _rebased(record)
    admitted = {event.experiment for event in _of(ev.CandidateAdmitted, record.later)}
    for event in _of(ev.CandidateAdmitted, record.lines):
        admitted.add(event.experiment)
        ref = record.refs.get(f"{record.tried}{event.experiment}", _Ref("nothing", ""))
        if ref.commit != event.commit:
            yield f"{record.tried}{event.experiment} holds {ref.commit}, not {event.commit}"
        elif ref.parent != event.parent:
            yield f"{event.commit} was made on {ref.parent}, not on {event.parent}"
    # a candidate is committed before it is recorded: a coordinator may be killed in between
    lines = (*record.lines, *record.later)
    pending = {event.experiment for event in _of(ev.ProposalReceived, lines)}
    pending |= {event.experiment for event in _of(ev.MigrantOffered, lines)}
    # a preflight comes after the candidate's commit, every other refusal before it
    refusals = _of(ev.ProposalRefused, record.lines)
    pending -= {refusal.experiment for refusal in refusals if refusal.rule != "preflight"}
    allowed = {f"{record.tried}{experiment}" for experiment in admitted | pending}
    for name in record.refs:
        if name.startswith(record.tried) and name not in allowed:
            yield f"{name} holds a candidate that the ledger does not know: was its end cut off?"


def _rebased(record: _Record) -> Iterator[str]:
    """Yield candidates that were rebased on a later head and are held by no ref.

    A ref without an event is valid: here, too, the preflight comes after the commit.
    """
    for event in _of(ev.CandidateRebased, record.lines):
        name = f"refs/swarm/{record.folder.name}/rebased/{event.experiment}/{event.parent}"
        ref = record.refs.get(name, _Ref("nothing", ""))
        if ref != _Ref(event.commit, event.parent):
            yield f"{name} holds {ref.commit} on {ref.parent}, not {event.commit}"


_NOWHERE = "no commit"
"""Where a branch is that does not exist."""


def _heads(record: _Record) -> Iterator[str]:
    """Yield branches that are not at their island's head by the ledger.

    A head is recorded before its branch moves, the first one before it is made: a coordinator may
    be killed, or be, in between.
    """
    state, heads = State(), dict[str, list[str]]()
    _follow(state, heads, record.lines)
    accepted = 1 if state.stopped else 2  # the newest heads at which the branch may be
    first = {name: len(past) - accepted for name, past in heads.items()}
    _follow(state, heads, record.later)
    for name, island in state.islands.items():
        ref = record.refs.get(f"refs/heads/{island.opened.branch}", _Ref(_NOWHERE, ""))
        if ref.commit not in heads[name][max(0, first.get(name, 0)) :]:
            yield f"branch {island.opened.branch} is at {ref.commit}, not at {island.head}"


def _follow(state: State, heads: dict[str, list[str]], lines: Iterable[Line]) -> None:
    """Fold `lines` into `state`, and add each head that an island gets to its list in `heads`.

    Each list begins with where a branch is that has not been made.
    """
    for line in lines:
        state.apply(line.event)
        for name, island in state.islands.items():
            if heads.setdefault(name, [_NOWHERE, island.head])[-1] != island.head:
                heads[name].append(island.head)


def _consensus(record: _Record) -> Iterator[str]:
    """Yield differences of the consensus branch and its commits from the ledger.

    A move is recorded before the branch moves: a coordinator may be killed in between.
    """
    moves = list(_of(ev.ConsensusMoved, record.lines))
    branch = f"swarm/{record.folder.name}/{CONSENSUS}"
    now = record.refs.get(f"refs/heads/{branch}", _Ref("", "")).commit
    allowed = {move.commit for move in moves[-1:]}
    allowed |= {move.commit for move in _of(ev.ConsensusMoved, record.later)}
    if not _fold(record.lines).stopped:
        allowed |= {move.old for move in moves[-1:]}
    if now not in (allowed or {""}):
        due = moves[-1].commit if moves else "none: nothing was promoted"
        yield f"branch {branch} is at {now or 'no commit'}, not at {due}"
    for move in moves[-1:]:
        below = move.base
        for commit in move.changes:
            parent = record.git.commit_id(f"{commit}^") if record.git.commit_id(commit) else None
            if parent != below:
                yield f"{commit} of the consensus was not made on {below}"
            below = commit


def _merges(record: _Record) -> Iterator[str]:
    """Yield what is wrong with merges of this run on its target."""
    yield from merge_violations(
        record.git, record.folder.name, record.opened.target, record.lines, record.later
    )


def _replaced(record: _Record) -> Iterator[str]:
    """Yield objects in whose place git shows others, as this program does not."""
    listed = record.git.run("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", REPLACED)
    for row in listed.decode().splitlines():
        real, shown = row.split(" ")
        yield f"git shows {shown} in place of {real}: `git replace -d {real}`"
    if (record.git.common_dir / "info/grafts").exists():
        yield f"{record.git.common_dir / 'info/grafts'} changes the parents that git shows"


def _require_real(folder: RunFolder) -> None:
    """Raise SetupError where the record is reached through a link: what it is can be exchanged."""
    for path in (folder.path, folder.ledger):
        if path.is_symlink():
            raise SetupError(f"{path} is a link: put what it leads to in its place")


def _of(kind: type[E], lines: Iterable[Line]) -> Iterator[E]:
    return (line.event for line in lines if isinstance(line.event, kind))


def _refs(git: Plumbing, run: str) -> dict[str, _Ref]:
    """Return the run's branches and candidates by full ref name, packed ones too."""
    prefixes = (f"refs/heads/swarm/{run}/", f"refs/swarm/{run}/")
    lines = git.run("for-each-ref", "--format=%(objectname) %(refname)", *prefixes).decode()
    rows = (line.split(" ") for line in lines.splitlines())
    commits = {name: commit for commit, name in rows}
    commits = CandidatePacks(git, run).refs() | commits  # in this order: refs become packed ones
    parents = _parents(git, set(commits.values()))
    return {
        name: _Ref(commit if commit in parents else f"the lost {commit}", parents.get(commit, ""))
        for name, commit in commits.items()
    }


def _parents(git: Plumbing, commits: Iterable[str]) -> dict[str, str]:
    """Return the first parent ("" for none) of each commit that is in the repository."""
    lines = "".join(f"{commit}\n" for commit in commits).encode()
    args = ("rev-list", "--no-walk=unsorted", "--parents", "--ignore-missing", "--stdin")
    rows = git.run(*args, stdin=lines).decode().splitlines() if lines else []
    return {commit: parents[0] if parents else "" for commit, *parents in map(str.split, rows)}
