"""Asks a model about each message, with the prompt of prompt.md, and leaves its answers in $OUT.

The model is that of program.md. In a trial $OPENAI_BASE_URL or $ANTHROPIC_BASE_URL leads to swarm's
gateway, which has the key, counts the dollars and refuses what `limits` has no room for.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LABELS = ("billing", "delivery", "returns", "account")

MAX_TOKENS = 200

AT_A_TIME = 8


def main() -> None:
    """Ask about all messages of the trial's split."""
    text = Path("prompt.md").read_text(encoding="utf-8")
    prompt = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)  # notes for agents
    if "{message}" not in prompt:
        sys.exit("prompt.md must hold {message}")
    lines = Path("questions", f"{os.environ['SWARM_PART']}.jsonl").read_text().splitlines()
    questions = [json.loads(line) for line in lines]
    asked = [prompt.replace("{message}", question["message"]) for question in questions]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        answers = list(pool.map(ask, asked))
    rows = [
        {"id": question["id"], "answer": label(answer)}
        for question, answer in zip(questions, answers, strict=True)
    ]
    Path(os.environ["OUT"], "answers.jsonl").write_text("\n".join(map(json.dumps, rows)))


def ask(text: str) -> str:
    """Return the model's answer."""
    api = "anthropic" if "ANTHROPIC_BASE_URL" in os.environ else "openai"
    url, key = (os.environ[f"{api.upper()}_{name}"] for name in ("BASE_URL", "API_KEY"))
    path = {"anthropic": "v1/messages", "openai": "v1/chat/completions"}[api]
    question = {
        "model": os.environ["SWARM_MODEL"],
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": text}],
    }
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/{path}", json.dumps(question).encode(), headers)
    try:
        with urllib.request.urlopen(request) as response:
            reply = json.load(response)
    except urllib.error.HTTPError as error:  # the gateway has tried again where that may help
        sys.exit(f"{error.code} {error.reason}: {error.read(500).decode(errors='replace')}")
    if api == "anthropic":
        return "".join(part.get("text", "") for part in reply["content"])
    return str(reply["choices"][0]["message"]["content"])


def label(answer: str) -> str:
    """Return the label that an answer ends on, "" where it names none."""
    named = [(answer.lower().rfind(name), name) for name in LABELS]
    place, name = max(named)
    return name if place >= 0 else ""


if __name__ == "__main__":
    main()
