"""Holds a run's record against itself: chain, events, scores, git's refs, merges, projection.

Nothing is changed, and a coordinator may be at work meanwhile: the ledger is read before git's
refs and after them, and what happened in between is allowed for.

Not covered:
- whoever can rewrite the whole ledger can rewrite its links, and set refs, until all agree:
  compare the last link with one that was noted elsewhere;
- lines cut off at the end leave a chain that holds. They show where they admitted a candidate or
  moved a head, whose ref is still there, and where a merge carries a later link; where they did
  none of this, nothing tells;
- whether the scores are true: `swarm measure` measures again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from analysis.database.refresh import strays
from analysis.ledger import START, Line, read_lines
from harness.contract import SetupError
from islands import events as ev
from islands import trailers
from islands.git.plumbing import Plumbing
from islands.promotion.consensus import NAME as CONSENSUS
from islands.state.lifecycle import LifecycleError
from islands.state.run_state import State
from swarm.project.runs import RunFolder, fold

E = TypeVar("E", bound=ev.Event)


@dataclass(frozen=True, slots=True)
class VerifyCheck:
    """One thing that must hold; `wrong` says how it does not, a line each."""

    name: str
    tells: str
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it: `link` is the last one, and stands for `events` events."""

    run: str
    link: str
    events: int
    checks: tuple[VerifyCheck, ...]

    @property
    def holds(self) -> bool:
        """Whether everything holds that was looked at."""
        return not any(check.wrong for check in self.checks)


@dataclass(frozen=True, slots=True)
class _Ref:
    """A ref's commit and that commit's first parent ("" for none)."""

    commit: str
    parent: str


@dataclass(frozen=True, slots=True)
class _Record:
    """A ledger as it was before git's refs were read (`lines`), and what it has got since."""

    folder: RunFolder
    git: Plumbing
    lines: Sequence[Line]
    later: Sequence[Line]
    refs: Mapping[str, _Ref]

    @property
    def opened(self) -> ev.RunOpened:
        """Return the event that opened the run."""
        return _fold(self.lines[:1]).run

    @property
    def tried(self) -> str:
        """Return where the run's candidates are held."""
        return f"refs/swarm/{self.folder.name}/tried/"


def verify(folder: RunFolder) -> Verified:
    """Check the record of a run. What rests on a check that fails is not looked at.

    Raises SetupError where there is no ledger, or no git.
    """
    lines, broken = _read(folder)
    link, end = (lines[-1].link, lines[-1].end) if lines else (START, 0)
    checks = [VerifyCheck("chain", f"{len(lines)} lines, each linked to the one before", broken)]
    if not broken:
        unfit = tuple(_unfit(lines))
        checks.append(VerifyCheck("events", "each could happen when it did", unfit))
        if lines and not unfit:
            git = Plumbing(folder.repo)
            refs = _refs(git, folder.name)
            checks += _against(_Record(folder, git, lines, _read(folder, end)[0], refs))
        stray = strays(folder.path)
        told = "is what the ledger comes to, as far as it goes"
        checks.append(
            VerifyCheck("projection", f"lineage.duckdb {told}", (stray,) if stray else ())
        )
    return Verified(folder.name, link, len(lines), tuple(checks))


def _against(record: _Record) -> Iterator[VerifyCheck]:
    """Yield what the events of a record are held against."""
    tells = {
        "scores": (f"all are of harness {record.opened.harness}", _foreign),
        "candidates": (f"each is held by its ref under {record.tried}", _candidates),
        "heads": ("each island's branch is at its head", _heads),
        "stacks": ("what stack checks measured is held by its ref, and nothing else is", _stacks),
        "consensus": ("the consensus branch is where the last promotion put it", _consensus),
        "merges": (f"those on {record.opened.target} carry links of this ledger", _merges),
    }
    for name, (told, look) in tells.items():
        yield VerifyCheck(name, told, tuple(look(record)))


def _read(folder: RunFolder, offset: int = 0) -> tuple[list[Line], tuple[str, ...]]:
    """Return the ledger's lines up to the first that does not hold, and what is wrong there."""
    lines: list[Line] = []
    try:
        lines.extend(read_lines(folder.ledger, offset))
    except SetupError as error:
        return lines, (str(error),)
    return lines, ()


def _fold(lines: Iterable[Line]) -> State:
    return fold(line.event for line in lines)


def _unfit(lines: Iterable[Line]) -> Iterator[str]:
    """Yield what is wrong with the first event that could not happen after those before it."""
    state = State()
    for number, line in enumerate(lines, 1):
        try:
            state.apply(line.event)
        except (LifecycleError, LookupError, ValueError) as error:
            yield f"line {number}: {line.event.kind}: {error}"
            return
        if state.opened is None:
            yield f"line 1: {line.event.kind}: a ledger begins with run_opened"
            return


def _foreign(record: _Record) -> Iterator[str]:
    for number, line in enumerate(record.lines, 1):
        event = line.event
        if isinstance(event, ev.TrialEnded) and event.outcome.harness != record.opened.harness:
            trial, harness = event.started.trial, event.outcome.harness
            yield f"line {number}: trial {trial} is of harness {harness}"


def _stacks(record: _Record) -> Iterator[str]:
    """Yield stacks that no ref holds, and refs of checks that the ledger does not know.

    The way to a stack is held too, a ref for each part that was put on the base.
    """
    kept = f"refs/swarm/{record.folder.name}/stacks/"
    for event in _of(ev.StackCheckAssembled, record.lines):
        name = f"{kept}{event.number}/{'-'.join(map(str, event.parts))}"
        ref = record.refs.get(name, _Ref("nothing", ""))
        if event.commit and event.parts and ref.commit != event.commit:
            yield f"{name} holds {ref.commit}, not {event.commit}"
    opened = _of(ev.StackCheckStarted, (*record.lines, *record.later))
    known = tuple(f"{kept}{event.number}/" for event in opened)
    for name in record.refs:
        if name.startswith(kept) and not name.startswith(known):
            yield f"{name} is of a stack check that the ledger does not know: was its end cut off?"


def _candidates(record: _Record) -> Iterator[str]:
    """Yield admitted commits that no ref holds, and refs that hold what was never admitted."""
    yield from _rebased(record)
    known = {each.experiment for each in _of(ev.CandidateAdmitted, record.later)}
    for event in _of(ev.CandidateAdmitted, record.lines):
        known.add(event.experiment)
        ref = record.refs.get(f"{record.tried}{event.experiment}", _Ref("nothing", ""))
        if ref.commit != event.commit:
            yield f"{record.tried}{event.experiment} holds {ref.commit}, not {event.commit}"
        elif ref.parent != event.parent:
            yield f"{event.commit} was made on {ref.parent}, not on {event.parent}"
    # a candidate is committed before it is recorded, and a coordinator may be killed between
    opened = (*record.lines, *record.later)
    open_ = {each.experiment for each in _of(ev.ProposalReceived, opened)}
    open_ |= {each.experiment for each in _of(ev.MigrantOffered, opened)}
    # a look at a candidate comes after its commit
    refused = _of(ev.ProposalRefused, record.lines)
    open_ -= {each.experiment for each in refused if each.rule != "preflight"}
    allowed = {f"{record.tried}{experiment}" for experiment in known | open_}
    for name in record.refs:
        if name.startswith(record.tried) and name not in allowed:
            yield f"{name} holds a candidate that the ledger does not know: was its end cut off?"


def _rebased(record: _Record) -> Iterator[str]:
    """Yield candidates that were made anew on a later head and are held by no ref.

    A ref that the ledger does not know is no fault: a look comes after the commit here, too.
    """
    for event in _of(ev.CandidateRebased, record.lines):
        name = f"refs/swarm/{record.folder.name}/rebased/{event.experiment}/{event.parent}"
        ref = record.refs.get(name, _Ref("nothing", ""))
        if ref != _Ref(event.commit, event.parent):
            yield f"{name} holds {ref.commit} on {ref.parent}, not {event.commit}"


def _heads(record: _Record) -> Iterator[str]:
    """Yield branches that are not at the head that the ledger says.

    A head is recorded before its branch is moved, and a coordinator may be killed between.
    """
    state, heads = State(), dict[str, list[str]]()
    _follow(state, heads, record.lines)
    late = 1 if state.stopped else 2
    allowed = {name: len(known) - late for name, known in heads.items()}
    _follow(state, heads, record.later)
    for name, island in state.islands.items():
        ref = record.refs.get(f"refs/heads/{island.opened.branch}", _Ref("no commit", ""))
        if ref.commit not in heads[name][max(0, allowed.get(name, 0)) :]:
            yield f"branch {island.opened.branch} is at {ref.commit}, not at {island.head}"


def _follow(state: State, heads: dict[str, list[str]], lines: Iterable[Line]) -> None:
    """Fold `lines` into `state`, and add each head that an island gets to its list in `heads`."""
    for line in lines:
        state.apply(line.event)
        for name, island in state.islands.items():
            if heads.setdefault(name, [island.head])[-1] != island.head:
                heads[name].append(island.head)


def _consensus(record: _Record) -> Iterator[str]:
    """Yield how the consensus branch, or a commit of it, is not what the ledger says.

    It is recorded before the branch is moved, and a coordinator may be killed between.
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
            found = record.git.commit_id(f"{commit}^") if record.git.commit_id(commit) else None
            if found != below:
                yield f"{commit} of the consensus was not made on {below}"
            below = commit


def _merges(record: _Record) -> Iterator[str]:
    """Yield merges of this run that carry a link which the ledger does not have."""
    links = {line.link for line in (*record.lines, *record.later)}
    branch = f"refs/heads/{record.opened.target}"
    if record.git.commit_id(branch) is None:
        return
    named = f"--grep=Swarm-Run: {record.folder.name}"
    # a squashed one has one parent; candidates, which an agent words, are never first parents
    commits = dict[str, None]()
    for which in ("--min-parents=2", "--first-parent"):
        found = record.git.try_run("rev-list", which, "--fixed-strings", named, branch, "--")
        if found.code != 0:
            yield f"the history of {branch} is not whole: {found.err.partition(chr(10))[0]}"
            break
        commits |= dict.fromkeys(found.out.decode().split())
    for commit in commits:
        message = record.git.run("cat-file", "commit", commit).decode(errors="replace")
        values = trailers.read(message)
        link = values.get("Ledger")
        if link is None or values.get("Run") != record.folder.name:
            continue
        if link not in links:
            longer = link.partition(":")[0] not in {known.partition(":")[0] for known in links}
            reason = "end was cut off" if longer else "lines were rewritten"
            yield f"merge {commit} carries link {link}: the ledger's {reason}"


def _of(kind: type[E], lines: Iterable[Line]) -> Iterator[E]:
    return (line.event for line in lines if isinstance(line.event, kind))


def _refs(git: Plumbing, run: str) -> dict[str, _Ref]:
    """Return the run's branches and candidates by the full names of their refs."""
    asked = (f"refs/heads/swarm/{run}/", f"refs/swarm/{run}/")
    listed = git.run("for-each-ref", "--format=%(objectname) %(refname)", *asked).decode()
    names = [line.split(" ") for line in listed.splitlines()]
    parents = _parents(git, {commit for commit, _ in names})
    return {
        name: _Ref(commit if commit in parents else f"the lost {commit}", parents.get(commit, ""))
        for commit, name in names
    }


def _parents(git: Plumbing, commits: Iterable[str]) -> dict[str, str]:
    """Return the first parent ("" for none) of those commits that are in the repository."""
    asked = "".join(f"{commit}\n" for commit in commits).encode()
    args = ("rev-list", "--no-walk=unsorted", "--parents", "--ignore-missing", "--stdin")
    rows = git.run(*args, stdin=asked).decode().splitlines() if asked else []
    return {commit: parents[0] if parents else "" for commit, *parents in map(str.split, rows)}
