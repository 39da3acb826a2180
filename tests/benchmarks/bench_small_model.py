"""What share of a small model's answers are admitted on `packing`, and what share is kept.

    llama-server -m model.gguf --port 8080 --ctx-size 8192 &
    python -m tests.benchmarks.bench_small_model --base-url http://127.0.0.1:8080/v1 --minutes 60

A whole `swarm launch` in a new repository, one island, trials of a second. An answer that does not
read or apply counts against the model, as does a proposal that admission refuses; one that the
record answers, since it repeats another, is counted apart.
"""

import argparse
import json
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from tests.support.target import command, environment, ledger, packing, rewrite


def main():
    """Print the shares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", default="small")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--trials", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swarm-small-") as folder:
        Path(folder).chmod(0o755)
        repo = packing(Path(folder))
        keys = {"kind": "openai", "model": given.model, "base_url": given.base_url}
        keys |= {"timeout_seconds": 3600, "context_tokens": 8192, "max_output_tokens": 700}
        rewrite(
            repo,
            agents={"small": keys},
            agent="small",
            islands=1,
            rungs=[{"depth": 1, "seconds": 1.0, "memory_mib": 1024}],
            limits={"minutes": given.minutes, "trials": given.trials},
        )
        subprocess.run(command("launch"), cwd=repo, env=environment(), check=True)
        for line in report(ledger(repo)):
            print(line)


def report(events):
    """Return what came of the model's answers, a line each."""
    of_kind = Counter(event["kind"] for event in events if event.get("agent") != "null")
    failed = Counter(e["error_kind"] for e in events if e["kind"] == "agent_failed")
    refused = [event for event in events if event["kind"] == "proposal_refused"]
    repeats = sum(bool(event.get("repeats")) for event in refused)
    real = {e["experiment"] for e in events if e["kind"] == "proposal_received"}
    real -= {e["experiment"] for e in events if e.get("agent") == "null"}
    admitted = sum(e["kind"] == "candidate_admitted" and e["experiment"] in real for e in events)
    kept = sum(
        e["kind"] == "verdict_reached" and e["verdict"] == "keep" and not e["null"] for e in events
    )
    answers = of_kind["proposal_received"] + failed["malformed"] + failed["unapplied"]
    calls = [event for event in events if event["kind"] == "model_called"]
    yield f"answers {answers}: {of_kind['proposal_received']} could be applied"
    yield f"admitted {admitted}, repeats {repeats}, kept {kept}; failures {dict(failed)}"
    yield f"calls {len(calls)}, seconds each {[round(call['seconds']) for call in calls]}"
    for event in events:
        if event["kind"] in {"proposal_received", "proposal_refused", "agent_failed"}:
            yield json.dumps({k: event.get(k) for k in ("kind", "hypothesis", "rule", "reason")})


if __name__ == "__main__":
    main()
