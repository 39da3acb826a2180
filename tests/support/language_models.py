"""Language-model agents on a scripted server: settings, briefs, replies and proposals."""

import asyncio
import contextlib
from importlib import import_module

from harness.contract import SetupError
from islands.records import Brief
from swarm.agents.base import AgentError
from swarm.agents.llm.agent import LanguageModel
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.client import ModelClient
from swarm.agents.llm.meter import Meter
from swarm.agents.llm.rate_limiter import RateLimiter, RateLimits
from swarm.agents.llm.settings import ModelSettings, Price
from tests.support.loopback import KEY, Say

PRICE = Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)

GENOME = {"seed/train.py": "lr = 0.1\ndepth = 2\n\ndef step(x):\n    return x * lr\n"}

BRIEF = Brief(
    experiment=1,
    island="a",
    metric="val_bpb",
    direction="minimize",
    program="Make it better.",
    genome=GENOME,
    score=1.9,
    sigma=0.01,
    recent=(),
    elsewhere=(),
    seed=7,
)


def edit(search, replace, why="a smaller step"):
    """Return a reply with one block."""
    block = f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE"
    return f"HYPOTHESIS: {why}\n\nFILE: seed/train.py\n{block}\n"


GOOD = Say(edit("lr = 0.1", "lr = 0.05"))

MISSES = Say(edit("def step(x):\n  return x * lr", "pass"))

# imported by who calls one: the SDKs take two seconds, and every worker collects every test
APIS = {
    "anthropic": "anthropic.AnthropicModel",
    "responses": "openai.ResponsesModel",
    "chat": "openai.ChatModel",
}

FAST = RateLimits(100_000, max_concurrent=16, first_pause_s=0.0005, longest_pause_s=0.005)


def make_model_agent(  # noqa: PLR0913, PLR0917 - what all agents share
    server, api, budget=None, limiter=None, key=KEY, questions=None, **settings
):
    """Return an agent that calls `server` through `api`, with short back-offs."""
    kind, path = ("anthropic", "") if api == "anthropic" else ("openai", "/v1")
    given = {"base_url": server.url + path, "api_key_env": "LOOPBACK_KEY", "price": PRICE}
    settings = ModelSettings(kind, "some-model", **{**given, **settings})
    limiter = limiter or RateLimiter(FAST)
    module, _, name = APIS[api].partition(".")
    known = Capabilities()
    provider = getattr(import_module(f"swarm.agents.llm.{module}"), name)(settings, key, known)
    meter = Meter("m", settings, limiter, budget or Budget())
    client = ModelClient(meter, provider, known)
    return LanguageModel("m", client, questions=questions)


def propose(agent, brief=BRIEF):
    """Return the agent's proposal, or the AgentError that it raises."""

    async def main():
        async with contextlib.aclosing(ClosingAgents(agent)):
            return await agent.propose(brief)

    try:
        return asyncio.run(main())
    except AgentError as error:
        return error


def probe(agent):
    """Return the SetupError that the probe of a launch raises, None if the agent can be used."""

    async def main():
        async with contextlib.aclosing(ClosingAgents(agent)):
            await agent.probe()

    try:
        asyncio.run(main())
    except SetupError as error:
        return error
    return None


class ClosingAgents:
    """Adapts agents to `aclosing`."""

    def __init__(self, *agents):
        self.agents = agents

    async def aclose(self):
        for agent in self.agents:
            await agent.close()


async def outcome_of(agent, brief):
    """Return the agent's proposal, or its AgentError or BudgetError."""
    try:
        return await agent.propose(brief)
    except (AgentError, BudgetError) as error:
        return error
