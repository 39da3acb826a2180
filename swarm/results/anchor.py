"""Anchors: notes of a ledger's last link in a place that the ledger's writer does not reach.

A ledger that is rewritten as a whole, links and refs with it, is consistent; it differs from an
anchor. A file has one line for each anchor; a tag's message holds one.

Not covered: whoever can write the anchor's place, too, can change both.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from harness.contract import SetupError
from islands import trailers
from islands.git.plumbing import Plumbing
from swarm.project.runs import HOME, RunFolder

TAG = "tag:"


def set_anchor(folder: RunFolder, place: str, link: str, commit: str) -> str:
    """Note `link` at `place`, a file or `tag:NAME`; return a line about it.

    A tag points to `commit`. Raises SetupError where that cannot be done.
    """
    if place.startswith(TAG):
        return _set_tag(Plumbing(folder.repo), folder.name, place.removeprefix(TAG), link, commit)
    path = Path(place).expanduser().absolute()
    if HOME in path.parts:
        raise SetupError(f"--anchor {place} lies in {HOME}, with the ledger: choose another place")
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"run": folder.name, "link": link}) + "\n")
    except OSError as error:
        raise SetupError(f"--anchor {place}: {error.strerror}: choose a file to write to") from None
    return f"noted {link} in {path}"


def anchor_violations(folder: RunFolder, place: str, links: Collection[str]) -> Iterator[str]:
    """Yield anchors, those in the file `place` and in the repository's tags, with unknown links."""
    for where, link in (*_noted(folder.name, place), *_tagged(folder)):
        if link not in links:
            yield f"{where} notes link {link}: the ledger was rewritten or cut off since"


def _set_tag(git: Plumbing, run: str, name: str, link: str, commit: str) -> str:
    text = trailers.write({"Run": run, "Ledger": link})
    stamp = "swarm <swarm@localhost> 0 +0000"
    tag = f"object {commit}\ntype commit\ntag {name}\ntagger {stamp}\n\nRecord of {run}\n\n{text}"
    if git.try_run("check-ref-format", f"refs/tags/{name}").code != 0:
        raise SetupError(f"--anchor {TAG}{name}: git allows no such tag: choose another name")
    made = git.run_line("mktag", stdin=tag.encode())
    if git.try_run("update-ref", f"refs/tags/{name}", made, "0" * len(made)).code != 0:
        raise SetupError(f"--anchor {TAG}{name}: there is such a tag: choose another name")
    return f"noted {link} in tag {name}: `git push ORIGIN {name}` puts it out of reach"


def _noted(run: str, place: str) -> Iterator[tuple[str, str]]:
    path = Path(place).expanduser()
    if not place or place.startswith(TAG) or not path.exists():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            note = json.loads(line)
            if note["run"] == run:
                yield f"{path}, line {number},", str(note["link"])
        except (ValueError, TypeError, KeyError):
            raise SetupError(f"{path}: line {number} is no anchor: choose another file") from None


def _tagged(folder: RunFolder) -> Iterator[tuple[str, str]]:
    git = Plumbing(folder.repo)
    listed = git.run("for-each-ref", "--format=%(refname)%00%(contents)%01", "refs/tags/")
    for entry in listed.decode(errors="replace").split("\x01"):
        name, _, message = entry.strip("\n").partition("\0")
        values = trailers.read(message)
        if values.get("Run") == folder.name and "Ledger" in values:
            yield f"tag {name.removeprefix('refs/tags/')}", values["Ledger"]
