"""Language-model agent: prompts a model, parses its reply, and asks for repairs of a bad one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

from harness.contract import SetupError
from islands.records import Attempt, Brief, Entry, Proposal, Usage
from swarm.agents.base import AgentError, ErrorKind
from swarm.agents.gateway.prices import price_line
from swarm.agents.llm import line_edits
from swarm.agents.llm.apply_edits import apply_changes, require_effect
from swarm.agents.llm.budget import BudgetError
from swarm.agents.llm.client import ModelClient
from swarm.agents.llm.meter import Bill
from swarm.agents.llm.prompt import answer_form, render, summary_prompt
from swarm.agents.llm.provider import Prompt, Reply, Turn, reason_line
from swarm.agents.llm.reasoning import without_reasoning
from swarm.agents.llm.reply_forms import read_reply
from swarm.agents.llm.search_replace import EditError, MalformedError, ParsedReply, clean
from swarm.agents.llm.tools import ENOUGH, TOOLS, Tool, ToolResult, result_of
from swarm.agents.questions import Asked, RunQuestions

MAX_REPAIRS = 3
"""How often an unusable reply is sent back with what is wrong with it."""

MAX_SHORTENED = 4
"""How often a brief that is too long for the model is shortened before it is dropped."""

MAX_ERROR_CHARS = 8_000

PROBE = Prompt("You are asked whether you can be reached.", "Hello.", "Answer with the word yes.")
PROBE_TOKENS = 16
PROBE_TRIES = 2

PASSING: frozenset[ErrorKind] = frozenset({"rate", "server", "timeout", "refusal"})
"""Errors of a probe that may be over when the first proposal is asked for."""

UsageCallback = Callable[[Brief, Usage], None]
"""Called with a brief and what its proposal costs if no further reply arrives.

It is called before each request goes out and when it is settled. A caller that records the latest
usage, until the proposal or an AgentError brings the final one, has an upper bound on what was
spent at any moment, after a crash too; it never exceeds the budget.
"""


def ignore_usage(brief: Brief, usage: Usage) -> None:
    """Ignore the usage."""


@dataclass(slots=True)
class LanguageModel:
    """An agent that proposes its model's reply. Stateless: all it should know is in the brief."""

    name: str
    client: ModelClient
    on_usage: UsageCallback = field(default=ignore_usage, repr=False)
    questions: RunQuestions | None = field(default=None, repr=False)
    """Who answers what it asks by tools; None: nobody."""

    _before: Usage = field(default=Usage(), repr=False)
    """What the probe cost, reported with the first proposal."""

    async def probe(self) -> None:
        """Make one small call, before anything is measured.

        It finds a wrong key or address, and teaches what the model takes. Raises SetupError if
        only the user can help; what may pass, such as an overload, is no error here.
        """
        bill = Bill()
        try:
            await self.client.provider.discover()
            await self.client.ask(
                PROBE, (), bill, max_output=PROBE_TOKENS, tools=self._tools, tries=PROBE_TRIES
            )
        except AgentError as error:
            if error.error_kind in PASSING:
                return
            raise SetupError(named(self.name, str(error))) from None
        except BudgetError:
            return
        finally:
            self._before = bill.usage

    async def propose(self, brief: Brief) -> Proposal:
        """Return a proposal for `brief`; a brief that is too long for the model is shortened.

        Raises AgentError if there is no usable reply, BudgetError if the budget has no room for a
        request.
        """
        # tools and parsers run between a reply and the proposal's end, and other agents' calls too
        with self._bill(brief, report_settled=True) as bill:
            return await self._propose(brief, bill)

    async def _propose(self, brief: Brief, bill: Bill) -> Proposal:
        known = self.client.capabilities
        for shortened in count():
            prompt = self._prompt(brief, picks_lines=known.prefers_lines(self.client.settings))
            try:
                return await self._converse(brief, prompt, bill)
            except AgentError as error:
                last = shortened == MAX_SHORTENED or error.error_kind != "too_long"
                if last or not known.shorten(prompt.chars):
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    async def _converse(self, brief: Brief, prompt: Prompt, bill: Bill) -> Proposal:
        """Ask, and send an unusable reply back with what is wrong with it.

        Where a repair did not help, a model that costs nothing is asked anew, for a line from a
        list, and one that picks lines already is shown others: its own mistakes mislead it.
        """
        known, turns, before = self.client.capabilities, list[Turn](), ""
        for repairs in range(MAX_REPAIRS + 1):
            reply = await self._reply(brief, prompt, turns, bill)
            try:
                answer = _read(reply, brief.genome)
                files = apply_changes(brief.genome, answer)
                # off the event loop: a hostile file can keep the parser busy for seconds
                await asyncio.to_thread(require_effect, brief.genome, files)
            except EditError as error:
                bill.record_error(error.error_kind)
                complaint = str(error)
                answer_text = without_reasoning(clean(reply.text))
                again, before = bool(repairs) and answer_text == before, answer_text
                if repairs and (prompt.lines or self._may_pick_lines):
                    another = replace(brief, seed=brief.seed + repairs)
                    other = self._prompt(another, picks_lines=True)
                    if other.lines:
                        prompt, turns, before = other, [], ""
                        continue
                if again:
                    complaint = f"the same answer again: {complaint}"
                    break
            else:
                notes: dict[str, str | float] = {
                    "model": self.client.settings.model,
                    "repairs": float(repairs),
                    "error_kinds": ", ".join(bill.error_kinds),
                }
                known.picks_lines = bool(prompt.lines)
                return Proposal(answer.hypothesis, _entries(files), notes, bill.usage)
            turns += [
                Turn("assistant", without_reasoning(clean(reply.text))),
                Turn("user", _repair_request(complaint, _form(brief, prompt))),
            ]
        known.picks_lines = None
        settings = self.client.settings
        where = f"{settings.model} at {settings.url}"
        reason = reason_line(f"{where}: no usable answer after {repairs} repairs: {complaint}")
        raise AgentError(bill.error_kind, reason, bill.usage)

    async def _reply(self, brief: Brief, prompt: Prompt, turns: list[Turn], bill: Bill) -> Reply:
        """Ask, answer what the model asks by tools, and return its answer.

        `turns` grows by the questions. The JSON form of small models goes without: a server that
        enforces a schema lets them call nothing. Raises AgentError if it refuses.
        """
        lines = prompt.lines
        most = 0 if lines else self.client.settings.tool_calls
        schema = line_edits.schema(lines) if lines else None
        max_output = line_edits.MAX_TOKENS if lines else None
        asked = Asked(self.questions, brief) if self.questions is not None else None
        asked_before = sum(len(turn.results) for turn in turns)
        while True:
            tools = self._tools if not lines else ()
            reply = await self.client.ask(
                prompt,
                turns,
                bill,
                max_output=max_output,
                schema=schema,
                tools=tools,
                may_call=asked_before < most,
            )
            if reply.ending == "refused":
                reason = f"the model refused: {reply.detail or 'no reason given'}"
                raise AgentError("refusal", reason, bill.usage)
            if asked is None or not reply.calls or asked_before >= most or reply.ending == "cut":
                return reply
            results = [await result_of(call, asked) for call in reply.calls[: most - asked_before]]
            late = [ToolResult(call, ENOUGH) for call in reply.calls[len(results) :]]
            asked_before += len(results)
            last = ENOUGH if asked_before >= most else ""
            turns += [
                Turn("assistant", without_reasoning(clean(reply.text)), reply.calls, reply.raw),
                Turn("user", last, results=(*results, *late)),
            ]

    @contextmanager
    def _bill(self, brief: Brief, *, report_settled: bool = False) -> Iterator[Bill]:
        """Yield a bill for `brief`, which the first time has what the probe cost.

        Where the budget has no room nothing is reported, and the next bill has it.
        """
        bill = Bill(partial(self.on_usage, brief), brief.experiment, report_settled)
        bill.carry(self._before)
        self._before = Usage()
        try:
            yield bill
        except BudgetError:
            self._before = bill.usage
            raise

    @property
    def _tools(self) -> tuple[Tool, ...]:
        client = self.client
        if self.questions is None or client.capabilities.prefers_lines(client.settings):
            return ()
        return TOOLS if client.settings.tool_calls else ()

    def _prompt(self, brief: Brief, *, picks_lines: bool) -> Prompt:
        limit = self.client.capabilities.max_prompt_chars(self.client.settings)
        return render(brief, limit, picks_lines=picks_lines)

    @property
    def _may_pick_lines(self) -> bool:
        settings = self.client.settings
        return settings.is_free or settings.price is None

    @property
    def writer(self) -> LanguageModel:
        """The model itself."""
        return self

    async def summarise(self, brief: Brief, known: str) -> tuple[str, Usage]:
        """Return what the model writes on what is `known`, and its cost.

        Raises AgentError if it writes nothing, BudgetError if the budget has no room for it.
        """
        limit = self.client.capabilities.max_prompt_chars(self.client.settings)
        with self._bill(brief) as bill:
            reply = await self.client.ask(summary_prompt(brief, known, limit), (), bill)
        text = without_reasoning(clean(reply.text)).strip()
        if reply.ending != "done" or not text:
            raise AgentError("malformed", f"the answer was {reply.ending} and is empty", bill.usage)
        return text, bill.usage

    def learn(self, attempt: Attempt) -> None:
        """Do nothing: the next brief says how the experiment ended."""

    def price_line(self) -> str:
        """Return a line that tells a person what its model costs, and who says so."""
        return price_line(self.name, self.client.settings)

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self.client.provider.close()


def _read(reply: Reply, genome: Mapping[str, str]) -> ParsedReply:
    if reply.ending == "cut":
        most = f" at {reply.tokens.output} tokens" if reply.tokens else ""
        raise MalformedError(f"the answer was cut off{most}; make it shorter")
    return read_reply(reply.text, genome)


def _form(brief: Brief, prompt: Prompt) -> str:
    return line_edits.form(prompt.lines) if prompt.lines else answer_form(brief)


def _repair_request(complaint: str, form: str) -> str:
    return (
        f"That answer could not be used, and nothing of it was applied.\n\n"
        f"{complaint[:MAX_ERROR_CHARS]}\n\n"
        f"Send the whole answer again, the hypothesis and every block, in this form:\n\n{form}"
    )


def named(name: str, reason: str) -> str:
    """Return `reason` with the agent's name in it."""
    agent = f"agent {name!r}"
    return reason if agent in reason else f"{agent} in program.md: {reason}"


def _entries(files: Mapping[str, str | None]) -> dict[str, Entry | None]:
    return {path: None if text is None else Entry(text.encode()) for path, text in files.items()}
