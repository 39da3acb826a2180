"""Takes a change that another island kept over to this head.

Where the change is one of values, the same sites get the same values, whatever they have here.
Otherwise its hunks are applied where this head still reads as the other island's did before the
change, one unchanged line around each, as git would merge them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from islands.records import Change
from swarm.agents.mutator.sites import Site
from swarm.agents.mutator.source import Edit, Source, read, same, splice
from swarm.agents.mutator.survey import Survey, survey


@dataclass(frozen=True, slots=True)
class Crossing:
    """What to do here so as to do what was done there: values by site, or edits of the text."""

    change: Change
    values: Mapping[str, tuple[str, str]]
    edits: tuple[Edit, ...] = ()


def crossing(change: Change, head: Mapping[str, Survey]) -> Crossing | None:
    """Return how to apply `change` to `head`; None where it is there already or does not fit.

    `values` maps a site to its text before and after, on the other island.
    """
    values = values_changed(change)
    if values is not None:
        return Crossing(change, values)
    edits: list[Edit] = []
    for path in sorted(change.before.keys() | change.after.keys()):
        before, after = change.before.get(path), change.after.get(path)
        if before == after:
            continue
        if before is None or after is None or path not in head:
            return None
        merged = _merge(head[path].source, before, after)
        if merged is None:
            return None
        edits += merged
    return Crossing(change, {}, tuple(edits)) if edits else None


def values_changed(change: Change) -> Mapping[str, tuple[str, str]] | None:
    """Return the sites whose values are all that `change` changes, with the values."""
    if change.before.keys() != change.after.keys():
        return None
    values: dict[str, tuple[str, str]] = {}
    for path, text in change.before.items():
        if text == change.after[path]:
            continue
        before, after = survey(path, text), survey(path, change.after[path])
        if before is None or after is None:
            return None
        differing = _differing(before, after)
        if differing is None:
            return None
        values |= differing
    return values or None


def _differing(before: Survey, after: Survey) -> dict[str, tuple[str, str]] | None:
    there = {site.id: site for site in after.sites}
    here = {site.id: site for site in before.sites}
    both = [(site, there[id_]) for id_, site in here.items() if id_ in there]
    changed: dict[tuple[int, int], tuple[Site, str]] = {
        (one.start, one.end): (one, other.text) for one, other in both if one.text != other.text
    }
    rebuilt = splice(before.source, tuple(site.edit(text) for site, text in changed.values()))
    if rebuilt is None:
        return None
    tree = read(before.source.path, rebuilt)
    if tree is None or not same(tree.tree, after.source.tree):
        return None
    return {site.id: (site.text, text) for site, text in changed.values()}


def _merge(head: Source, before: str, after: str) -> list[Edit] | None:
    """Return the edits that do to `head` what made `after` of `before`; None on a conflict."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    mine = head.data.decode().splitlines(keepends=True)
    blocks = SequenceMatcher(None, old, mine, autojunk=False).get_matching_blocks()
    offsets = [0]
    for line in mine:
        offsets.append(offsets[-1] + len(line.encode()))
    edits = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        shift = _shift(blocks, max(0, i1 - 1), min(len(old), i2 + 1))
        if shift is None:
            return None
        text = "".join(new[j1:j2])
        edits.append(Edit(head.path, offsets[i1 + shift], offsets[i2 + shift], text))
    return edits


def _shift(blocks: list[tuple[int, int, int]] | list, first: int, last: int) -> int | None:  # type: ignore[type-arg]
    """Return how far lines `first` to `last` have moved; None if they did not survive together."""
    for old, mine, size in blocks:
        if old <= first and last <= old + size:
            return int(mine - old)
    return None
