"""Announcer: runs program.md's `notify` command at each claim, at trouble and at the end.

The command is the user's own: a shell runs it in the repository, outside of any sandbox, with the
variables of islands/environment.py and one JSON object on its standard input. Announcements are
made one after the other and never hold the run up; one that fails is logged and forgotten.

| topic | when |
| --- | --- |
| claim | a change was kept |
| trouble | a slice or a commit was quarantined, an agent fails again and again |
| end | the launch ended, in whatever way it could still say so |

A desktop, a mailbox and a web hook take one line each in program.md:

    notify: jq -r .text | xargs -0 notify-send swarm
    notify: jq -r .text | mail -s swarm me@example.org
    notify: curl -s --json @- https://example.org/hook

Not covered: a coordinator that is killed announces nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from islands import events as ev
from islands.environment import may_be_inherited
from islands.state.run_state import State

Topic: TypeAlias = Literal["claim", "trouble", "end"]

TIME_LIMIT_S = 30.0
"""Seconds that one command may take."""

MAX_WAITING = 100
"""Announcements that may wait for earlier ones; more are dropped."""

FAILURES = 5
"""Failures of an agent in a row that are trouble; told once, until it proposes again."""


def topic_of(event: ev.Event, state: State) -> Topic | None:
    """Return what kind of news `event`, which `state` holds already, is; None for none."""
    match event:
        case ev.VerdictReached(verdict="keep", null=False):
            return "claim"
        case ev.SliceQuarantined() | ev.CommitQuarantined():
            return "trouble"
        case ev.AgentFailed():
            failures = state.islands[event.island].agent_failures_in_a_row
            return "trouble" if failures == FAILURES else None
        case ev.RunStopped():
            return "end"
    return None


@dataclass(slots=True)
class Announcer:
    """Runs `command` in `folder` for each announcement; `log` prints a line about a failure."""

    command: str
    folder: Path
    log: Callable[[str], None]
    time_limit_s: float = TIME_LIMIT_S
    _waiting: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))

    def announce(self, news: Mapping[str, object]) -> None:
        """Queue an announcement."""
        if not self.command:
            return
        try:
            self._waiting.put_nowait(json.dumps(news).encode() + b"\n")
        except asyncio.QueueFull:
            self.log(f"notify: {MAX_WAITING} announcements wait already, this one is dropped")

    async def run(self) -> None:
        """Make announcements until cancelled."""
        while True:
            news = await self._waiting.get()
            try:
                if problem := await self._told(news):
                    self.log(f"notify: `{self.command}` {problem}")
            finally:
                self._waiting.task_done()

    async def finish(self) -> None:
        """Wait until all announcements are made, for two time limits at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * self.time_limit_s):
                await self._waiting.join()

    async def _told(self, news: bytes) -> str:
        """Run the command; return what went wrong, "" if nothing did."""
        try:
            child = await asyncio.create_subprocess_shell(
                self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd=self.folder,
                env={name: value for name, value in os.environ.items() if may_be_inherited(name)},
                start_new_session=True,
            )
        except OSError as error:
            return f"cannot start: {error.strerror}"
        try:
            async with asyncio.timeout(self.time_limit_s):
                _, said = await child.communicate(news)
        except TimeoutError:
            return f"took longer than {self.time_limit_s:g} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        reason = f": {last[0][:200]}" if last else ""
        return f"exited with {child.returncode}{reason}" if child.returncode else ""
