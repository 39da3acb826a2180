"""The first process in a coding agent's sandbox: lays out its files, bridges the model, starts it.

Started as any script in a sandbox, so it imports only the standard library and what the harness has
there. Its one argument is the descriptor of a file in memory that holds a job (see
`swarm.agents.external.sandbox`).

The sandbox has no network but its own loopback. This process listens there and passes each
connection to a Unix socket, which is the only way out and leads to the gateway.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guest import bridge  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from typing import NoReturn

MAX_ERROR_BYTES = 16 << 10
"""Bytes of the end of the agent's standard error that are passed on, after all it printed."""


def main() -> NoReturn:
    """Run the job's command and exit as it does."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        job = json.load(file)
    Path(job["cwd"]).mkdir(parents=True, exist_ok=True)
    for path, text in job["files"].items():
        write(Path(path), text)
    for port, path in job["bridges"].items():
        start_bridge(int(port), path)
    code = run(job, Path(job["env"]["TMPDIR"]))
    if job["report"]:
        report(*job["report"])
    os._exit(code if code >= 0 else 128 - code)


def write(path: Path, text: str) -> None:
    """Write a file of the job, with its folders; what begins with #! can be executed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    path.chmod(0o755 if text.startswith("#!") else 0o644)


def run(job: dict[str, Any], tmp: Path) -> int:
    """Run the command to its end; return its exit status, negative for a signal."""
    prompt, errors = tmp / ".prompt", tmp / ".stderr"
    prompt.write_bytes(job["stdin"].encode())
    with prompt.open("rb") as stdin, errors.open("wb") as stderr:
        prompt.unlink()  # the agent reads it as a stream that ends
        try:
            child = subprocess.Popen(
                job["argv"], stdin=stdin, stderr=stderr, cwd=job["cwd"], env=job["env"]
            )
        except OSError as error:
            sys.stdout.write(f"\n{job['argv'][0]}: {error.strerror}\n")
            sys.stdout.flush()
            return 127
        code = child.wait()
    pass_on(errors)
    return code


def pass_on(errors: Path) -> None:
    """Print the end of the agent's standard error, which may not break its lines of JSON."""
    with errors.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_ERROR_BYTES))
        tail = file.read()
    if tail.strip():
        sys.stdout.buffer.write(b"\n" + tail)
        sys.stdout.flush()


def report(path: str, key: str) -> None:
    """Print a part of the JSON file that the agent wrote, where there is one, as one line."""
    try:
        value = json.loads(Path(path).read_text())[key]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return
    sys.stdout.write(f"\n{json.dumps(value)}\n")
    sys.stdout.flush()


def start_bridge(port: int, path: str) -> None:
    """Lead connections to a port of the loopback to the Unix socket `path`."""
    listener = bridge.listen(port)
    threading.Thread(target=bridge.serve, args=(listener, path), daemon=True).start()


if __name__ == "__main__":
    main()
