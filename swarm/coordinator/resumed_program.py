"""The program.md by which a resumed run goes on: its own, with what a person has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from islands.events.steering import LimitsSet, ProgramRevised
from islands.state.run_state import State
from islands.steering import said
from swarm.project.named_programs import notify_problem
from swarm.project.program import Program
from swarm.project.repository import is_dirty, load_prose, load_revised
from swarm.project.revision import revise


class ResumedProgram(NamedTuple):
    """A program, the event that records what it takes up, and what a person should know."""

    program: Program
    revision: ProgramRevised | None = None
    notices: tuple[str, ...] = ()


def resumed_program(repo: Path, program: Program, past: State, *, take_up: bool) -> ResumedProgram:
    """Return how the run whose state is `past` goes on; `program` is that of its base.

    `take_up`: whether what program.md says in the checked-out commit counts. Raises SetupError
    where it asks for what a run keeps.
    """
    name, path = past.run.run, program.path
    since = load_prose(repo, past.steering.program, path) if past.steering.program else None
    if since is not None:
        program = revise(program, since, name).program
    if not take_up:
        return ResumedProgram(program)
    notices = (*_merged(past), *_said_before(past), *_uncommitted(repo, path))
    now = load_revised(repo, path)
    if now is None:
        missing = f"no {path} in the checked-out commit: the run goes on by its own"
        return ResumedProgram(program, None, (*notices, missing))
    revision = revise(program, now[1], name)
    event = ProgramRevised(now[0], revision.changes, revision.limits)
    if problem := notify_problem(repo, revision.program):
        notices = (*notices, problem)
    return ResumedProgram(revision.program, event if revision.changes else None, notices)


def _merged(past: State) -> Iterator[str]:
    """Yield where a run that was merged goes on from."""
    if past.merges:
        last, run = past.merges[-1], past.run
        yield (
            f"{run.run} was merged into {last.target} as {last.commit[:10]}; it goes on from its"
            f" own base {run.base[:10]}, and `swarm launch --new` starts a run from {last.target}"
        )


def _said_before(past: State) -> Iterator[str]:
    paused = [name for name in past.islands if name in past.steering.paused]
    if paused:
        yield f"paused: {', '.join(paused)}; `swarm resume` lets them go on"
    if past.steering.limits:
        yield f"{said(LimitsSet(past.steering.limits))} (by `swarm limits`)"


def _uncommitted(repo: Path, path: str) -> Iterator[str]:
    if is_dirty(repo, path):
        yield f"{path} has changes that do not count until they are committed"
