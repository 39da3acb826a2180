"""Has a model write, every so many verdicts, what the run has taught so far.

It is shown what the ledger says of ended experiments, rounded as in briefs, and its own last words.
Its answer is an event, and stands in all briefs until the next one. An answer that does not come
costs the run nothing but its price: the next one is asked for as many verdicts later.

Not covered: whether the paragraph is true. Briefs quote it as a model's, beside the figures.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import islice

from harness.contract import one_line
from islands import events as ev
from islands.ratchet.ladder import step
from swarm.agents.base import AgentError, Summariser
from swarm.agents.llm.budget import BudgetError
from swarm.agents.llm.prompt import MAX_LEARNED_CHARS, quoted
from swarm.coordinator.agent_calls import agent_call
from swarm.coordinator.brief import Briefer
from swarm.coordinator.record_answers import attempt_line
from swarm.coordinator.run import Run

MAX_ATTEMPTS = 150
"""Ended experiments that the model is shown, the latest."""


async def keep_summaries(run: Run, briefer: Briefer) -> None:
    """Ask for a summary whenever one is due, until cancelled."""
    every, writer = run.launch.summary_every, run.writer
    while every and writer is not None:
        while run.state.verdicts - run.state.summary_asked_at < every:
            await run.changes.wait()
        await _write(run, briefer, writer)


async def _write(run: Run, briefer: Briefer, writer: Summariser) -> None:
    """Ask for one summary and record what came."""
    number, verdicts = run.next_number(), run.state.verdicts
    island = next(one.name for one in run.launch.islands if writer.name in one.agents)
    brief = replace(briefer.brief(run.state, island, number), agent=writer.name)
    learned = known(run)

    def ended(text: str, reason: str) -> ev.SummaryWritten:
        return ev.SummaryWritten(number, island, writer.name, verdicts, text, reason)

    try:
        with agent_call(run, number):
            said, usage = await writer.summarise(brief, learned)
    except asyncio.CancelledError:
        call = run.state.calls.open.get(number)
        if call is not None:
            stopped = ended("", "the coordinator stopped before it answered")
            run.record(replace(stopped, usage=call.usage))
        raise
    except AgentError as error:
        run.record(replace(ended("", str(error)), usage=error.usage))
    except BudgetError as error:
        run.record(ended("", str(error)))
    else:
        run.record(replace(ended(one_line(said, MAX_LEARNED_CHARS), ""), usage=usage))


def known(run: Run) -> str:
    """Return what the ledger says of the ended experiments, the latest last, a line each."""
    state, by = run.state, step(run.state.scores.noise())
    lines = [
        attempt_line(one, by, state.quarantines.commits)
        for one in islice(state.attempts, MAX_ATTEMPTS)
    ]
    before = quoted(state.summary, MAX_LEARNED_CHARS) if state.summary else "nothing yet"
    return "\n".join([f"Written before: {before}", "", *reversed(lines)])
