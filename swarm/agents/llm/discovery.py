"""Discovery of a model by what its server says: how many parameters, how long a context.

llama.cpp tells both, vLLM the context; of others nothing is known. A context that program.md names
(`context_tokens`) counts instead of the server's.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

import httpx2
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.settings import ModelSettings
from swarm.agents.llm.token_counts import IF_READABLE

DISCOVERY_S = 5.0
"""Seconds for each question about the server."""

MAX_LOOKS, LOOK_EVERY_S = 60, 1.0
"""Patience with a server that loads its weights: llama.cpp answers 503 meanwhile."""

_Count = Annotated[Annotated[int, Field(gt=0)] | None, IF_READABLE]


class _Meta(BaseModel):
    n_params: _Count = None
    n_ctx: _Count = None


class _Model(BaseModel):
    id: str
    meta: Annotated[_Meta | None, IF_READABLE] = None
    max_model_len: _Count = None


class _Models(BaseModel):
    data: list[_Model]


async def discover(
    http: httpx2.AsyncClient, settings: ModelSettings, key: str, capabilities: Capabilities
) -> None:
    """Note what the server says, a minute later where it still loads its weights; raise nothing."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    url = f"{settings.url.rstrip('/')}/models"
    try:
        for _ in range(MAX_LOOKS):
            told = await http.get(url, headers=headers, timeout=DISCOVERY_S)
            busy = told.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            if not (busy and b"oading" in told.content):
                break
            await asyncio.sleep(LOOK_EVERY_S)
        models = TypeAdapter(_Models).validate_json(told.content).data
    except (httpx2.HTTPError, ValidationError):
        return
    # llama.cpp serves one model, whatever name it is asked for
    named = [one for one in models if one.id == settings.model] or models
    if len(named) != 1:
        return
    found = named[0]
    meta = found.meta or _Meta()
    capabilities.parameters = meta.n_params
    capabilities.window = capabilities.window or found.max_model_len or meta.n_ctx
