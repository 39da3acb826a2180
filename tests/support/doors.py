"""A gateway before the scripted server, and clients as external coding agents are."""

from __future__ import annotations

import contextlib

import httpx2

from swarm.agents.gateway.gateway import Gateway
from swarm.agents.llm.budget import Budget
from swarm.agents.llm.factory import RateLimiters
from swarm.agents.llm.rate_limiter import RateLimiter
from swarm.agents.llm.settings import ModelSettings
from tests.support.language_models import FAST, PRICE

APIS = ("messages", "responses", "chat")

PATHS = {
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
}

TURN = {"role": "user", "content": "improve it"}


class FastLimiters(RateLimiters):
    """Limiters with short back-offs, shared by all."""

    def __init__(self, seed=0):
        super().__init__()
        self.limiter = RateLimiter(FAST, seed)

    def shared(self, settings, key):
        """Return the one limiter."""
        return self.limiter


def settings_of(server, api, **more):
    """Return settings of a model behind `server`."""
    kind, path = ("anthropic", "") if api == "messages" else ("openai", "/v1")
    given = {"base_url": server.url + path, "api_key_env": "LOOPBACK_KEY", "price": PRICE}
    return ModelSettings(kind, "some-model", **{**given, **more})


def gateway_of(budget=None, record=lambda call: None, seed=0):
    """Return a gateway with short back-offs that waits for nobody at its end."""
    return Gateway(budget or Budget(), FastLimiters(seed), record, settle_s=0.0)


def body_of(api, *, stream=True, text="improve it", **more):
    """Return a request as a coding agent makes one: another model, and more output than allowed."""
    turns = [{"role": "user", "content": text}]
    bodies = {
        "messages": {"messages": turns, "max_tokens": 32_000, "system": "be brief"},
        "responses": {"input": turns, "instructions": "be brief"},
        "chat": {"messages": [{"role": "system", "content": "be brief"}, *turns]},
    }
    return {"model": "their-model", "stream": stream, **bodies[api], **more}


@contextlib.asynccontextmanager
async def client_of(lease, token=None):
    """Yield an HTTP client that calls a lease's door."""
    token = lease.token if token is None else token
    headers = {"authorization": f"Bearer {token}"}
    # certificates take 40 ms to load
    async with httpx2.AsyncClient(
        base_url=lease.url, headers=headers, timeout=60, verify=False, trust_env=False
    ) as client:
        yield client


async def post(lease, api, **more):
    """Make one call through the lease's door; return the answer."""
    async with client_of(lease) as client:
        return await client.post(PATHS[api], json=body_of(api, **more))
