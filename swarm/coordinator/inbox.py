"""The inbox of a run: the folder through which a person's commands reach its coordinator.

Only the coordinator writes the ledger while it runs. `send` puts a command into
`.swarm/<run>/steering/` as `<id>.request`, whole or not at all; the coordinator looks there every
POLL_S seconds, records the command as an event (islands/steering.py) and replies in `<id>.reply`.
Where no coordinator runs, or it dies before it replies, `send` takes the run's lock and records the
command itself; the next launch takes it up. The event has the command's id, so that none is
recorded twice.

So when `send` returns, the event is on the disk, and what follows from it survives a kill.

Not covered: a command that is killed may still be carried out, within PATIENCE_S; a process of the
same user can write here, as it can write the ledger (no sandbox sees this folder).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from analysis.ledger import InUseError, Ledger, writer
from harness.contract import SetupError
from islands.events import steering as se
from islands.git.branches import Branches
from islands.steering import SteeringCommand, accept, encode_command
from swarm.project.runs import RunFolder, fold

POLL_S = 0.2
"""Seconds between two looks into the inbox."""

PATIENCE_S = 60.0
"""Seconds for which a command waits for its reply; older requests are nobody's any more."""

_LOOK_S = 0.05
"""Seconds between two looks for a reply."""

_REQUEST, _REPLY = ".request", ".reply"


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A command in the inbox, encoded, and its id."""

    id: str
    command: bytes


@dataclass(frozen=True, slots=True)
class CommandReply:
    """The event that records a command, or why it was refused."""

    event: se.Command | None = None
    refused: str = ""


_ENCODED: TypeAdapter[CommandReply] = TypeAdapter(CommandReply)


@dataclass(frozen=True, slots=True)
class Inbox:
    """The coordinator's side of the folder."""

    folder: Path

    def waiting(self) -> list[CommandRequest]:
        """Return the requests that wait for a reply, oldest first; delete those left behind."""
        found = list[tuple[float, CommandRequest]]()
        for path in self.folder.glob("*"):
            with suppress(FileNotFoundError):  # its sender gave up
                age = time.time() - path.stat().st_mtime
                if age > PATIENCE_S:
                    path.unlink()
                elif path.suffix == _REQUEST and not path.with_suffix(_REPLY).exists():
                    found.append((age, CommandRequest(path.stem, path.read_bytes())))
        return [request for _, request in sorted(found, key=lambda one: -one[0])]

    def answer(self, request: CommandRequest, reply: CommandReply) -> None:
        """Reply to a request."""
        with suppress(FileNotFoundError):  # the folder is gone with its sender
            _write(self.folder / f"{request.id}{_REPLY}", _ENCODED.dump_json(reply))


def send(run: RunFolder, command: SteeringCommand) -> se.Command:
    """Have `command` carried out in `run`; return the event that records it.

    Blocks while it waits for the coordinator. Raises SetupError, in one line, where the command is
    refused and where nobody replies.
    """
    id_ = uuid.uuid4().hex
    if writer(run.path) is None:
        with suppress(InUseError):
            return _record(run, command, id_)
    path = run.steering / f"{id_}{_REQUEST}"
    try:
        run.steering.mkdir(exist_ok=True)
        _write(path, encode_command(command))
        return _reply(run, command, id_)
    except OSError as error:
        raise SetupError(f"{run.steering}: {error.strerror}; make it writable") from None
    finally:
        path.unlink(missing_ok=True)
        path.with_suffix(_REPLY).unlink(missing_ok=True)


def _reply(run: RunFolder, command: SteeringCommand, id_: str) -> se.Command:
    """Wait for the coordinator's reply; do it ourselves as soon as no coordinator is left."""
    for _ in _until(PATIENCE_S):
        reply = _read(run.steering / f"{id_}{_REPLY}")
        if reply is not None and reply.event is not None:
            return reply.event
        if reply is not None:
            raise SetupError(reply.refused)
        if writer(run.path) is None:
            with suppress(InUseError):
                return _record(run, command, id_)
        time.sleep(_LOOK_S)
    raise SetupError(
        f"run {run.name} is in use by process {writer(run.path)}, which took no command within"
        f" {PATIENCE_S:g} s: it may be starting or ending, or is no launch; try again"
    )


def _record(run: RunFolder, command: SteeringCommand, id_: str) -> se.Command:
    """Record the command under the run's lock. Raises InUseError where another process has it."""
    with Ledger.open(run.path, time.time) as ledger:
        state = fold(ledger.events())
        taken = state.steering.requests.get(id_)
        if taken is not None:  # by a coordinator that died before it replied
            return taken
        event = ledger.append(accept(state, command, id_, running=False))
        state.apply(event)
        while (quarantine := state.quarantines.next_event()) is not None:
            state.apply(ledger.append(quarantine))
        if isinstance(event, se.ChangeDropped):
            heads = {name: island.head for name, island in state.islands.items()}
            Branches(run.repo, run.name, state.run.genome).sync_branches(heads)
        return event


def _until(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def _read(path: Path) -> CommandReply | None:
    """Return the reply in `path`, None while there is none."""
    try:
        return _ENCODED.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(data)
    draft.rename(path)
