"""The commands `tried` and `preflight` in a coding agent's sandbox, and the same as an MCP server.

Started by path with `python -I -S -B`, so it imports only the standard library. Its first argument
is `tried`, `preflight` or `mcp`. Each question is one connection to the Unix socket SOCKET, with a
line of JSON each way; `swarm.agents.external.desk` answers.

Not covered: what an agent does to this process changes only what it is told itself.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

SOCKET = "/run/swarm/desk.sock"
SCRATCH = "/scratch/genome"
ANSWER_S = 120.0
MAX_FILES = 4096
MAX_BYTES = 4 << 20

PROTOCOL = "2025-06-18"


def main() -> int:
    """Answer the command line, or a client of MCP until it ends."""
    command, words = sys.argv[1], sys.argv[2:]
    if command == "mcp":
        serve(sys.stdin, sys.stdout)
        return 0
    answer = tried(" ".join(words)) if command == "tried" else preflight()
    sys.stdout.write(answer + "\n")
    return 0


def tried(words: str) -> str:
    """Ask what was tried."""
    return ask({"ask": "tried", "words": words})


def preflight() -> str:
    """Send the files as they are now, and ask whether they may be proposed and run."""
    files: dict[str, str] = {}
    total = 0
    for folder, names, found in os.walk(SCRATCH):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in found:
            path = Path(folder, name)
            if name.startswith(".") or not path.is_file() or path.is_symlink():
                continue
            try:
                text = path.read_bytes().decode()
            except (OSError, UnicodeDecodeError):
                continue
            total += len(text)
            if len(files) >= MAX_FILES or total > MAX_BYTES:
                return "there are too many files here to check"
            files[str(path.relative_to(SCRATCH))] = text
    return ask({"ask": "preflight", "files": files})


def ask(question: dict[str, Any]) -> str:
    """Send one question; return its answer, or why there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWER_S)
            line.connect(SOCKET)
            line.sendall(json.dumps(question).encode() + b"\n")
            with line.makefile("rb") as reader:
                return str(json.loads(reader.readline())["answer"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"the run does not answer: {error}"


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer a client of MCP: JSON-RPC, a message a line."""
    for line in requests:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if not isinstance(message, dict) or "id" not in message:
            continue  # a notification
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        reply |= replied(str(message.get("method")), message.get("params") or {})
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def replied(method: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the result, or the error, of one request of MCP."""
    match method:
        case "initialize":
            server = {"name": "swarm", "version": "1"}
            version = given.get("protocolVersion", PROTOCOL)
            told = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
            return {"result": told}
        case "ping":
            return {"result": {}}
        case "tools/list":
            return {"result": {"tools": tools()}}
        case "tools/call":
            arguments = given.get("arguments") or {}
            words = str(arguments.get("words", "")) if isinstance(arguments, dict) else ""
            text = tried(words) if given.get("name") == "tried" else preflight()
            return {"result": {"content": [{"type": "text", "text": text}], "isError": False}}
    return {"error": {"code": -32601, "message": f"there is no method {method}"}}


def tools() -> list[dict[str, Any]]:
    """Return the two tools; their descriptions come with the command line."""
    words = {"words": {"type": "string"}}
    texts = [*sys.argv[2:4], "", ""]
    return [
        {
            "name": "tried",
            "description": texts[0],
            "inputSchema": {"type": "object", "properties": words, "required": ["words"]},
        },
        {
            "name": "preflight",
            "description": texts[1],
            "inputSchema": {"type": "object", "properties": {}},
        },
    ]


if __name__ == "__main__":
    sys.exit(main())
