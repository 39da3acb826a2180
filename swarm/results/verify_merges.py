"""Checks of a run's merges against its ledger: whether each says what the ledger said then.

A merge's trailers are computed again from the events up to the link that it names, and compared.
Only `swarm merge` knows how to write them, and only of what the ledger has.

Not covered: the text above the trailers; which files a squashed merge has; merges on branches other
than the run's target, and those that a host made of a pull request (it writes its own message).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from analysis.ledger import Line
from harness.contract import EVIDENCE, SetupError
from islands import trailers
from islands.git.plumbing import Plumbing
from islands.state.run_state import State
from swarm.project.runs import fold
from swarm.results.merge_message import merge_trailers
from swarm.results.selection import select

_LINE = re.compile(r"^Swarm-([A-Za-z]+): (\S.*)$", re.MULTILINE)


def merge_violations(
    git: Plumbing, run: str, target: str, lines: Sequence[Line], later: Sequence[Line]
) -> Iterator[str]:
    """Yield what is wrong with the merges of `run` on the branch `target`.

    `later` are lines that came while refs were read.
    """
    branch = f"refs/heads/{target}"
    if git.commit_id(branch) is None:
        return
    commits = dict[str, None]()
    # a squashed merge has one parent; candidates, whose messages agents write, are never on the
    # first-parent line
    for option in ("--min-parents=2", "--first-parent"):
        grep = ("--fixed-strings", f"--grep=Swarm-Run: {run}")
        result = git.try_run("rev-list", option, *grep, branch, "--")
        if result.code != 0:
            yield f"the history of {branch} is incomplete: {result.err.partition(chr(10))[0]}"
            break
        commits |= dict.fromkeys(result.out.decode().split())
    for commit in commits:
        text = git.run("cat-file", "commit", commit).decode(errors="replace")
        yield from (f"merge {commit} {wrong}" for wrong in _wrong(run, text, lines, later))


def _wrong(run: str, text: str, lines: Sequence[Line], later: Sequence[Line]) -> Iterator[str]:
    """Yield what is wrong with one commit."""
    head, _, message = text.partition("\n\n")
    parents = re.findall(r"^parent (\w+)$", head, re.MULTILINE)
    values = trailers.read(message)
    if values.get("Run") != run:
        return
    link = values.get("Ledger")
    if link is None:
        if len(parents) > 1:
            yield "carries no link of the ledger: `swarm merge` did not make it"
        return
    known = [*lines, *later]
    at = next((number for number, line in enumerate(known, 1) if line.link == link), None)
    if at is None:
        longer = link.partition(":")[0] not in {line.link.partition(":")[0] for line in known}
        reason = "end was cut off" if longer else "lines were rewritten"
        yield f"carries link {link}: the ledger's {reason}"
        return
    yield from _differences(fold(line.event for line in known[:at]), message, values, parents, link)


def _differences(
    state: State, message: str, values: dict[str, str], parents: Sequence[str], link: str
) -> Iterator[str]:
    """Yield the trailers that differ from what the ledger's `state` had to say."""
    try:
        plan = select(state, values.get("Island", ""), force="Forced" in values)
    except SetupError as error:
        yield f"has nothing behind it: {error}"
        return
    found: dict[str, list[str]] = {}
    for key, value in _LINE.findall(message):
        found.setdefault(key, []).append(value.rstrip())
    for key, value in merge_trailers(state, plan, link).items():
        wanted = [str(value)] if isinstance(value, str | int) else [*value]
        if key not in found and (key, value) == ("Evidence", EVIDENCE[-1]):
            continue  # merges of older versions, whose scores were all verified, say nothing
        if found.get(key, [])[-len(wanted) :] != wanted:
            says = ", ".join(found.get(key, ["nothing"]))
            yield f"says Swarm-{key}: {says}; the ledger says {', '.join(wanted)}"
    if len(parents) > 1 and plan.head not in parents[1:]:
        yield f"merges {parents[1]}, not {plan.head}"
