"""Tells before a launch whether a coding agent starts in its sandbox, and its model answers.

Both are cheap: it is asked for its version, and its model for a word, through the gateway.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx2

from harness.contract import HarnessError, SetupError
from swarm.agents.external.command_line import CommandLine, last_line
from swarm.agents.external.installation import Installation
from swarm.agents.external.sandbox import AgentJob, run_job
from swarm.agents.llm.agent import PROBE, PROBE_TOKENS

VERSION_S: Final = 60.0
ANSWER_S: Final = 60.0

_VERSION = re.compile(r"(?<!\d)\d++\.\d+[.\w-]*")


async def version(line: CommandLine, installation: Installation) -> str:
    """Return the agent's version, as it prints it in a sandbox.

    Raises SetupError, with what it printed, where it does not start there.
    """
    words = (*installation.words, *line.version_words)
    job = AgentJob(words, {}, {}, read=installation.mounts, seconds=VERSION_S)
    with tempfile.TemporaryDirectory(prefix="swarm-probe-") as folder:
        try:
            finished = await run_job(job, (), Path(folder) / "log")
        except HarnessError as error:
            raise SetupError(f"{line.title} does not start in a sandbox: {error}") from None
    found = _VERSION.search(finished.output)
    if finished.code or found is None:
        told = last_line(finished.output) or f"exit status {finished.code}"
        raise SetupError(
            f"{line.title} at {installation.path} does not start in a sandbox: {told};"
            f" install it anew (`{line.install}`)"
        )
    return found.group().rstrip(".-")


async def ask_for_a_word(url: str, token: str, wire: str, *, stream: bool = False) -> None:
    """Ask a model for a word through the gateway; what it answers does not matter here."""
    async with httpx2.AsyncClient(trust_env=False, timeout=ANSWER_S) as client:
        headers = {"authorization": f"Bearer {token}"}
        with suppress(httpx2.HTTPError):
            asked = _question(wire) | ({"stream": True} if stream else {})
            await client.post(f"{url}/v1/{wire}", json=asked, headers=headers)


def _question(wire: str) -> dict[str, object]:
    """Return a request as a wire format has it; the gateway names the model."""
    told, asked = PROBE.system, {"role": "user", "content": f"{PROBE.genome} {PROBE.request}"}
    match wire:
        case "messages":
            return {"system": told, "messages": [asked], "max_tokens": PROBE_TOKENS}
        case "responses":
            return {"instructions": told, "input": [asked], "max_output_tokens": PROBE_TOKENS}
    system = {"role": "system", "content": told}
    return {"messages": [system, asked], "max_tokens": PROBE_TOKENS}
