"""Asks a model about each message, with the prompt of prompt.md, and leaves its answers in $OUT.

MODEL_URL is an OpenAI-compatible or Anthropic API, MODEL a model of it, MODEL_KEY its key.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

LABELS = ("billing", "delivery", "returns", "account")

# What the model costs, in dollars per million tokens, and the most that one trial may cost.
USD_INPUT, USD_OUTPUT, MAX_USD = 0.25, 2.0, 0.02

MAX_TOKENS = 200

AT_A_TIME = 8

BUSY = 429
"""The status by which a server asks for patience."""


def main() -> None:
    """Ask about all messages of the trial's split."""
    text = Path("prompt.md").read_text(encoding="utf-8")
    prompt = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)  # notes for agents
    if "{message}" not in prompt:
        sys.exit("prompt.md must hold {message}")
    lines = Path("questions", f"{os.environ['SWARM_PART']}.jsonl").read_text().splitlines()
    questions = [json.loads(line) for line in lines]
    asked = [prompt.replace("{message}", question["message"]) for question in questions]
    worst = sum(cost(len(text), MAX_TOKENS) for text in asked)  # a token is a character or more
    if worst > MAX_USD:
        sys.exit(f"this prompt may cost {worst:.4f} dollars a trial, {MAX_USD} are allowed")
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        answers = list(pool.map(ask, asked))
    rows = [
        {"id": question["id"], "answer": label(text)}
        for question, (text, _) in zip(questions, answers, strict=True)
    ]
    Path(os.environ["OUT"], "answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    print(f"usd: {sum(spent for _, spent in answers):.6f}")


def ask(text: str) -> tuple[str, float]:
    """Return the model's answer and what it cost in dollars."""
    url, key = os.environ["MODEL_URL"].rstrip("/"), os.environ["MODEL_KEY"]
    anthropic = "anthropic" in url
    question = {
        "model": os.environ["MODEL"],
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": text}],
    }
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    if anthropic:
        headers |= {"x-api-key": key, "anthropic-version": "2023-06-01"}
        del headers["authorization"]
    request = urllib.request.Request(
        f"{url}/messages" if anthropic else f"{url}/chat/completions",
        json.dumps(question).encode(),
        headers,
    )
    reply = sent(request)
    used = reply.get("usage", {})
    if anthropic:
        spent = cost(used["input_tokens"], used["output_tokens"])
        return "".join(part.get("text", "") for part in reply["content"]), spent
    spent = cost(used.get("prompt_tokens", len(text)), used.get("completion_tokens", MAX_TOKENS))
    return reply["choices"][0]["message"]["content"], spent


def sent(request: urllib.request.Request) -> dict[str, Any]:
    """Return the reply to a request, which is sent again where no connection was made or held."""
    for wait in (0.5, 2.0, 8.0):
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code != BUSY:
                sys.exit(f"{request.host}: {error.code} {error.reason}")
        except OSError as error:
            print(f"{request.host}: {error}; asking again")
        time.sleep(wait)
    sys.exit(f"{request.host} does not answer")


def label(answer: str) -> str:
    """Return the label that an answer ends on, "" where it names none."""
    named = [(answer.lower().rfind(name), name) for name in LABELS]
    place, name = max(named)
    return name if place >= 0 else ""


def cost(tokens_in: int, tokens_out: int) -> float:
    """Return dollars."""
    return (tokens_in * USD_INPUT + tokens_out * USD_OUTPUT) / 1e6


if __name__ == "__main__":
    main()
