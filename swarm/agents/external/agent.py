"""A coding agent as an agent of an island: one run of its command line is one proposal.

Its model is reached through the gateway alone, which holds the key and counts what is spent, also
by a run that is killed. Its output is needed for two things: whether it ended well, and its
hypothesis. A run that does not say that it is done is no proposal, whatever it changed.

The values of its variables (`env`) are redacted in its log, which all that is quoted is taken from,
and a proposal whose files hold one is refused: it would be committed.

Not covered: what `harness.sandbox.monitor.redaction` does not find; an agent with a network can
send a value anywhere.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from harness.contract import DisturbedError, SetupError
from harness.sandbox.monitor.redaction import redacted
from islands.environment import secret
from islands.records import Attempt, Brief, Entry, Proposal, Usage
from swarm.agents.base import AgentError, Summariser
from swarm.agents.external.command_line import (
    AsksBy,
    Assignment,
    CommandLine,
    Invocation,
    RunEnd,
    hypothesis,
)
from swarm.agents.external.desk import BOX_COMMANDS, COMMANDS, SOCKET, commands, desk
from swarm.agents.external.installation import Installation
from swarm.agents.external.probe import ask_for_a_word, version
from swarm.agents.external.prompt import task_text
from swarm.agents.external.sandbox import (
    HOME,
    SCRATCH,
    SOCKETS,
    SYSTEM_PATH,
    AgentJob,
    Finished,
    run_job,
)
from swarm.agents.external.scratch import ScratchError, changes, given
from swarm.agents.external.settings import ExternalSettings
from swarm.agents.gateway.gateway import Gateway
from swarm.agents.gateway.lease import Lease
from swarm.agents.gateway.prices import price_line
from swarm.agents.llm.agent import PASSING, UsageCallback, ignore_usage, named
from swarm.agents.llm.budget import BudgetError
from swarm.agents.llm.provider import reason_line
from swarm.agents.questions import Asked, RunQuestions

PORT: Final = 8765
"""Of the sandbox's own loopback, where its agent finds the gateway."""

GATEWAY: Final = "gateway.sock"

MAX_LOGS: Final = 32
"""Logs of a run's coding agents that are kept, latest last."""


@dataclass(slots=True)
class _Guard:
    """Ends a run that has called its model too often or spent too much."""

    settings: ExternalSettings
    passed_on: Callable[[Usage], None]
    before: Usage
    """What the probe cost, reported with the first proposal."""

    latest: Usage = Usage()
    """What the run's own calls have cost, at most."""

    run: asyncio.Task[Finished] | None = None
    reason: str = ""

    def spent(self, usage: Usage) -> None:
        """Take in what the run has spent, before each call to the model."""
        most, settled = self.settings, usage.calls == self.latest.calls
        self.latest = usage
        self.passed_on(self.total)
        if usage.calls > most.max_turns:
            self.end(f"ended at `max_turns: {most.max_turns}` calls to the model")
        # before a call it would be the most that this may cost, many times what it will
        if settled and most.max_usd is not None and usage.usd > most.max_usd:
            self.end(f"ended at `max_usd: {most.max_usd:g}`, dollars of one proposal")

    @property
    def total(self) -> Usage:
        """All that is reported with the proposal."""
        pairs = zip(astuple(self.latest), astuple(self.before), strict=True)
        return Usage(*(one + other for one, other in pairs))

    def end(self, reason: str) -> None:
        """Kill the run."""
        self.reason = self.reason or reason
        if self.run is not None:
            self.run.cancel()


@dataclass(slots=True)
class CodingAgent:
    """An agent whose proposals are runs of a coding agent's command line.

    - `home`: the folder of the run that keeps its logs
    - `scratch`: the folder of sockets, gone after each proposal
    - `genome`: the files and folders that may change
    - `places`: shared with the launch's other coding agents; each run takes one
    """

    name: str
    settings: ExternalSettings
    line: CommandLine
    installation: Installation
    gateway: Gateway
    genome: tuple[str, ...]
    home: Path
    scratch: Path
    places: asyncio.Semaphore = field(repr=False)
    on_usage: UsageCallback = field(default=ignore_usage, repr=False)
    questions: RunQuestions | None = field(default=None, repr=False)
    """Who answers what it asks of the run; None: nobody."""

    writer: Summariser | None = field(default=None, repr=False)
    """Its model, to be asked for more than proposals."""

    _before: Usage = field(default=Usage(), repr=False)

    async def probe(self) -> None:
        """Start the agent in a sandbox, and ask its model for a word.

        Raises SetupError for what only the user can fix.
        """
        if self.line.install:
            await version(self.line, self.installation)
        model = self.settings.model
        if model is None:
            return
        lease = await self.gateway.open(self.name, model)
        try:
            # ChatGPT, where a login pays, answers in streams alone
            stream = bool(model.login)
            await ask_for_a_word(lease.url, lease.token, self.settings.wire, stream=stream)
        finally:
            await lease.close()
        self._before = lease.usage
        failure = lease.failure
        if isinstance(failure, AgentError) and failure.error_kind not in PASSING:
            raise SetupError(named(self.name, str(failure)))

    async def propose(self, brief: Brief) -> Proposal:
        """Return what one run of the agent changed. Raises AgentError if it did not end well."""
        files = given(brief.genome)
        if not files:
            raise AgentError("unavailable", f"agent {self.name!r}: {_NOTHING_TO_EDIT}")
        log = self._log(brief)
        guard = _Guard(self.settings, partial(self.on_usage, brief), self._before)
        self._before = Usage()  # proposals that are asked for meanwhile do not report it again
        try:
            async with self.places:
                finished, failure = await self._in_sandbox(brief, files, log, guard)
            ending = self._checked(finished, guard, log, failure)
        except BudgetError:
            self._before = guard.before
            raise
        except AgentError as error:
            raise AgentError(error.error_kind, str(error), guard.total, error.retry_after) from None
        changed = changes(files, finished.files)
        if not changed:
            reason = self._said("changed no file of the genome", log)
            raise AgentError("unapplied", reason, guard.total)
        if reason := self._leak(changed, files):
            raise AgentError("malformed", self._said(reason, log), guard.total)
        return self._proposal(ending, changed, guard.total)

    async def _in_sandbox(
        self, brief: Brief, files: dict[str, str], log: Path, guard: _Guard
    ) -> tuple[Finished, AgentError | BudgetError | None]:
        """Return how its run ended, and why the latest call to its model failed, if it did.

        Raises AgentError where the guard has ended it.
        """
        prompt = task_text(brief, files, self.genome, self._asks_by)
        with _folder(self.scratch) as sockets, _short(sockets) as short:
            lease = await self._open(brief.experiment, short, guard)
            try:
                task = self._task(prompt, tuple(files), lease)
                invocation = self.line.invocation(task)
                job = self._job(invocation, files, lease, sockets)
                async with self._desk(short, brief, files):
                    finished = await self._run(job, log, guard)
            finally:
                if lease is not None:
                    await lease.close()
        return finished, lease.failure if lease is not None else None

    def learn(self, attempt: Attempt) -> None:
        """Do nothing: the next brief says how the experiment ended."""

    def price_line(self) -> str:
        """Return a line that tells a person what its model costs, and who says so."""
        model = self.settings.model
        return (
            price_line(self.name, model) if model else f"{self.name}: what it costs is not metered"
        )

    def _task(self, prompt: str, paths: tuple[str, ...], lease: Lease | None) -> Assignment:
        settings, model = self.settings, self.settings.model
        return Assignment(
            prompt=prompt,
            paths=paths,
            url=f"http://127.0.0.1:{PORT}" if lease is not None else "",
            token=lease.token if lease is not None else "",
            model=model.model if model is not None else "",
            max_turns=settings.max_turns,
            max_output_tokens=model.max_output_tokens if model is not None else 0,
            seconds=settings.seconds,
            provider=model.kind if model is not None else "openai",
            price=model.price if model is not None else None,
            asks=bool(self._asks_by),
        )

    @property
    def _asks_by(self) -> AsksBy:
        return self.line.asks_by if self.questions is not None else ""

    def _desk(
        self, sockets: Path, brief: Brief, files: dict[str, str]
    ) -> AbstractAsyncContextManager[None]:
        """Return the block inside which its questions are answered."""
        if self.questions is None or not self._asks_by:
            return nullcontext()
        return desk(sockets / SOCKET, Asked(self.questions, brief), files)

    def _job(
        self, invocation: Invocation, files: dict[str, str], lease: Lease | None, sockets: Path
    ) -> AgentJob:
        settings = self.settings
        given_variables = self._variables()
        asks = bool(self._asks_by)
        own = {**invocation.files, **(commands() if asks else {})}
        path = {"PATH": f"{HOME}/{COMMANDS}:{SYSTEM_PATH}"} if asks else {}
        return AgentJob(
            argv=(*(invocation.program or self.installation.words), *invocation.words),
            env={**given_variables, **path, **invocation.env},
            files={
                **{f"{SCRATCH}/{path}": text for path, text in files.items()},
                **{f"{HOME}/{path}": text for path, text in own.items()},
            },
            cwd=invocation.cwd,
            stdin=invocation.stdin,
            read=(*self.installation.mounts, *settings.mount, *((BOX_COMMANDS,) if asks else ())),
            sockets=sockets if lease is not None or asks else None,
            bridges={PORT: f"{SOCKETS}/{GATEWAY}"} if lease is not None else {},
            report=invocation.report,
            seconds=settings.seconds,
            memory_mib=settings.memory_mib,
            network=settings.network,
            secrets=(*given_variables.values(), *((lease.token,) if lease is not None else ())),
        )

    def _variables(self) -> dict[str, str]:
        """Return the user's variables that the agent has."""
        return {name: value for name in self.settings.env if (value := secret(name))}

    async def _open(self, experiment: int, sockets: Path, guard: _Guard) -> Lease | None:
        model = self.settings.model
        if model is None:
            return None
        socket = sockets / GATEWAY
        lease = await self.gateway.open(
            self.name, model, socket=socket, on_usage=guard.spent, experiment=experiment
        )
        socket.chmod(0o666)  # as root the sandbox has a uid of its own; the token guards the lease
        return lease

    async def _run(self, job: AgentJob, log: Path, guard: _Guard) -> Finished:
        """Run the job. Raises AgentError, without the cost, where it was ended or left too much."""
        guard.run = asyncio.ensure_future(run_job(job, self.genome, log))
        try:
            return await guard.run
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if not guard.reason or (me is not None and me.cancelling()):
                raise
            raise AgentError("timeout", self._said(guard.reason, log)) from None
        except ScratchError as error:
            raise AgentError("malformed", self._said(str(error), log)) from None
        except DisturbedError as error:
            raise AgentError("timeout", self._said(f"was disturbed: {error}", log)) from None

    def _checked(
        self,
        finished: Finished,
        guard: _Guard,
        log: Path,
        failure: AgentError | BudgetError | None,
    ) -> RunEnd:
        """Return how the run ended. Raises AgentError unless it says that it is done.

        BudgetError where the budget had no room for its first call.
        """
        settings, killed = self.settings, finished.exit.killed
        if killed == "deadline":
            reason = f"was killed after `seconds: {settings.seconds:g}` without an end"
            raise AgentError("timeout", self._said(reason, log))
        if killed:
            reason = f"was killed at `memory_mib: {settings.memory_mib}`"
            raise AgentError("malformed", self._said(reason, log))
        ending = self.line.ending(finished.output, finished.code)
        if ending.ended:
            return ending
        if isinstance(failure, BudgetError) and not guard.latest.calls:
            raise failure
        if isinstance(failure, AgentError):
            raise AgentError(failure.error_kind, str(failure), retry_after=failure.retry_after)
        reason = f"ended without a result: {ending.error or f'exit status {finished.code}'}"
        raise AgentError("malformed", self._said(reason, log))

    def _said(self, reason: str, log: Path) -> str:
        return f"{reason_line(f'{self.line.title} {reason}')} (log: {log})"

    def _leak(self, changed: Mapping[str, Entry | None], given: Mapping[str, str]) -> str:
        """Return which of its variables it has written into a file, "" for none.

        A value that the genome held before is in the repository, so it is no secret.
        """
        known = "\n".join(given.values())
        for name, value in self._variables().items():
            if redacted(known, (value,)) != known:
                continue
            for path, entry in changed.items():
                text = f"{path}\n{entry.data.decode(errors='replace') if entry else ''}"
                if redacted(text, (value,)) != text:
                    return f"wrote the value of {name} into {redacted(path, (value,))}"
        return ""

    def _proposal(self, ending: RunEnd, changed: dict[str, Entry | None], usage: Usage) -> Proposal:
        model = self.settings.model
        notes: dict[str, str | float] = {"model": model.model if model is not None else ""}
        if ending.session:
            notes["session"] = ending.session
        if not self.settings.metered:
            notes["unmetered"] = 1.0
        text = hypothesis(ending.text) or reason_line(ending.text) or "Change " + ", ".join(changed)
        return Proposal(text, changed, notes, usage)

    def _log(self, brief: Brief) -> Path:
        """Return the new log's place; the oldest logs beyond MAX_LOGS are removed."""
        self.home.mkdir(parents=True, exist_ok=True)
        logs = sorted(self.home.glob("*.log"), key=lambda path: path.stat().st_mtime)
        for old in logs[: max(0, len(logs) - MAX_LOGS + 1)]:
            old.unlink(missing_ok=True)
        return self.home / f"{brief.island}-{brief.experiment}.log"


_NOTHING_TO_EDIT = (
    "every file of the genome is one that coding agents take for instructions or configuration;"
    " use the mutator or a model (`kind: anthropic` or `openai`)"
)


@contextmanager
def _folder(above: Path) -> Iterator[Path]:
    """Yield a new folder that a sandbox with another uid can read; remove it at the end."""
    above.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="agent-", dir=above))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _short(folder: Path) -> Iterator[Path]:
    """Yield a short path of `folder`: a socket's may have 107 bytes."""
    number = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{number}")
    finally:
        os.close(number)
