"""Language-model agent: prompts a model, parses its reply, and asks for repairs of a bad one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from islands.records import Attempt, Brief, Entry, Proposal, Usage
from swarm.agents.base import AgentError
from swarm.agents.llm import search_replace as edits
from swarm.agents.llm.client import Bill, ModelClient
from swarm.agents.llm.prompt import render
from swarm.agents.llm.provider import Reply, Turn, one_line

MAX_REPAIRS = 3
"""How often an unusable reply is sent back with what is wrong with it."""

MAX_ERROR_CHARS = 8_000

UsageCallback = Callable[[Brief, Usage], None]
"""Called with a brief and what its proposal costs if no further reply arrives.

It is called before each request goes out and after a failed one. A caller that records the latest
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

    async def propose(self, brief: Brief) -> Proposal:
        """Return a proposal for `brief`.

        Raises AgentError if there is no usable reply, BudgetError if the budget has no room for a
        request, SetupError if the user must fix a setting.
        """
        prompt, bill = render(brief), Bill(partial(self.on_usage, brief))
        turns: list[Turn] = []
        for repairs in range(MAX_REPAIRS + 1):
            reply = await self.client.ask(prompt, turns, bill)
            if reply.ending == "refused":
                reason = f"the model refused: {reply.detail or 'no reason given'}"
                raise AgentError("refusal", reason, bill.usage)
            try:
                answer = self._read(reply)
                files = edits.apply_changes(brief.genome, answer)
            except edits.EditError as error:
                bill.record_error(error.error_kind)
                complaint = str(error)
            else:
                notes: dict[str, str | float] = {
                    "model": self.client.settings.model,
                    "repairs": float(repairs),
                    "error_kinds": ", ".join(bill.error_kinds),
                }
                return Proposal(answer.hypothesis, _entries(files), notes, bill.usage)
            turns += [
                Turn("assistant", edits.clean(reply.text)),
                Turn("user", _repair_request(complaint)),
            ]
        reason = one_line(f"no usable answer after {MAX_REPAIRS} repairs: {complaint}")
        raise AgentError(bill.error_kind, reason, bill.usage)

    def learn(self, attempt: Attempt) -> None:
        """Do nothing: the next brief says how the experiment ended."""

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self.client.provider.close()

    def _read(self, reply: Reply) -> edits.ParsedReply:
        if reply.ending == "cut":
            most = self.client.settings.max_output_tokens
            raise edits.MalformedError(f"the answer was cut off at {most} tokens; make it shorter")
        return edits.parse_reply(reply.text)


def _repair_request(complaint: str) -> str:
    return (
        f"That answer could not be used, and nothing of it was applied.\n\n"
        f"{complaint[:MAX_ERROR_CHARS]}\n\n"
        "Send the whole answer again: the hypothesis and every block."
    )


def _entries(files: Mapping[str, str | None]) -> dict[str, Entry | None]:
    return {path: None if text is None else Entry(text.encode()) for path, text in files.items()}
