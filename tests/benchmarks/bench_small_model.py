"""What share of a small model's answers are admitted on `packing`, and what share is kept.

    llama-server -m model.gguf --port 8080 --ctx-size 8192 &
    python -m tests.benchmarks.bench_small_model --base-url http://127.0.0.1:8080/v1 --answers 30

A whole `swarm launch` in a new repository, one island, trials of a second, until the model has been
asked for so many proposals. What does not read or apply after its repairs counts against the model,
as does a proposal that admission refuses or a preflight breaks, and one that the record answers,
since it repeats another.
"""

import argparse
import json
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.target import command, environment, ledger, packing, rewrite


def main():
    """Print the shares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", default="small")
    parser.add_argument("--answers", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=120)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swarm-small-") as folder:
        Path(folder).chmod(0o755)
        repo = packing(Path(folder))
        rewrite(
            repo,
            agents={
                "small": {
                    "kind": "openai",
                    "model": given.model,
                    "base_url": given.base_url,
                    "timeout_seconds": 3600,
                }
            },
            agent="small",
            islands=1,
            rungs=[{"depth": 1, "seconds": 1.0, "memory_mib": 1024}],
            summary_every=0,
            limits={"minutes": given.minutes},
        )
        with subprocess.Popen(command("launch"), cwd=repo, env=environment()) as launch:
            while launch.poll() is None and outcomes(seen(repo)).total() < given.answers:
                time.sleep(1)
            launch.send_signal(signal.SIGINT)
        for line in report(ledger(repo)):
            print(line)


def seen(repo):
    """Return the events so far."""
    try:
        return ledger(repo)
    except (FileNotFoundError, StopIteration, ValueError):
        return []


def outcomes(events):
    """Return how many answers ended in each way."""
    null = {e["experiment"] for e in events if e.get("agent") == "null" or e.get("null")}
    ends, kept = {}, set()
    for event in events:
        number, kind = event.get("experiment"), event["kind"]
        if number in null:
            continue
        if kind == "agent_failed" and event["error_kind"] in {"malformed", "unapplied"}:
            ends[number] = f"not usable ({event['error_kind']})"
        elif kind == "proposal_refused":
            ends[number] = "a repeat" if event.get("repeats") else f"refused ({event['rule']})"
        elif kind == "candidate_admitted":
            ends[number] = "admitted"
        elif kind == "verdict_reached" and event["verdict"] == "keep":
            kept.add(number)
    return Counter(f"{end}, kept" if number in kept else end for number, end in ends.items())


def interval(part, whole):
    """Return Wilson's interval of a share, at 95 %."""
    z, share = 1.96, part / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * (share * (1 - share) / whole + (z / whole / 2) ** 2) ** 0.5
    return f"{share:.0%} [{max(middle - half, 0):.0%}, {min(middle + half, 1):.0%}]"


def report(events):
    """Yield what came of the model's answers, a line each."""
    for event in events:
        if event["kind"] in {"proposal_received", "proposal_refused", "agent_failed"}:
            names = ("kind", "hypothesis", "rule", "reason")
            yield json.dumps({name: event[name] for name in names if name in event})
    ends = outcomes(events)
    if not ends:
        yield "no answers"
        return
    admitted = sum(count for end, count in ends.items() if end.startswith("admitted"))
    calls = [event for event in events if event["kind"] == "model_called"]
    seconds = sum(call["seconds"] for call in calls) / ends.total()
    yield f"{ends.total()} answers: {dict(ends)}"
    yield f"admitted {interval(admitted, ends.total())}"
    yield f"kept {interval(ends['admitted, kept'], ends.total())}"
    yield f"{len(calls) / ends.total():.1f} calls and {seconds:.0f} s an answer"


if __name__ == "__main__":
    main()
