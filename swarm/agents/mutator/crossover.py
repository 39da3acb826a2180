"""Crossover: applies a change that another island kept to this head.

If the change only sets values, the same sites get the same values, whatever they have here.
Otherwise its hunks are applied where this head still reads as the other island's did before the
change, with one unchanged line around each, as git would merge them.

Not covered: files that the change adds or deletes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from islands.genome.syntax_diff import compare
from islands.records import Change
from swarm.agents.mutator.edit_sites import Site
from swarm.agents.mutator.parsed_file import ParsedFile, parse_file
from swarm.agents.mutator.source import Edit, splice

MAX_MERGE_LINES = 5_000
"""Longest file that is merged: the time to match lines grows faster than their number."""

ValueChanges = Mapping[str, tuple[str, str]]
"""Text before and after a change, by site id."""


@dataclass(frozen=True, slots=True)
class Crossover:
    """A change kept elsewhere: the values it sets, or else (`values` empty) the edits it takes."""

    change: Change
    values: ValueChanges
    edits: tuple[Edit, ...] = ()

    def edits_for(self, sites: Mapping[str, Site]) -> tuple[Edit, ...]:
        """Return the edits that apply the change to a head with these `sites` (by id)."""
        if self.edits:
            return self.edits
        targets = [(sites.get(id_), new) for id_, (_, new) in self.values.items()]
        return tuple(site.edit(new) for site, new in targets if site and site.text != new)


def find_crossover(change: Change, head: Mapping[str, ParsedFile]) -> Crossover | None:
    """Return how to apply `change` to `head` (files by path); None if it does not fit."""
    if change.before.keys() != change.after.keys():
        return None
    touched = [path for path in sorted(change.before) if change.before[path] != change.after[path]]
    if any(path not in head for path in touched):
        return None
    values = [_value_changes(path, change.before[path], change.after[path]) for path in touched]
    if values and all(values):
        return Crossover(
            change, {id_: texts for of_file in values for id_, texts in of_file.items()}
        )
    edits: list[Edit] = []
    for path in touched:
        mine = head[path].source.data.decode()
        merged = _merge(path, mine, change.before[path], change.after[path])
        if merged is None:
            return None
        edits += merged
    return Crossover(change, {}, tuple(edits)) if edits else None


@lru_cache(maxsize=64)
def _value_changes(path: str, before: str, after: str) -> ValueChanges:
    """Return the changed values if nothing else differs, else {}."""
    old, new = parse_file(path, before), parse_file(path, after)
    if old is None or new is None:
        return {}
    new_texts = {site.id: site.text for site in new.sites}
    changed = {
        (site.start, site.end): (site, new_texts[site.id])
        for site in old.sites
        if site.id in new_texts and new_texts[site.id] != site.text
    }
    # setting these values in the old file must give the new one: else more than values differs
    rebuilt = splice(old.source, tuple(site.edit(text) for site, text in changed.values()))
    if rebuilt is None or compare(path, rebuilt, new.source.data) != "same":
        return {}
    return {site.id: (site.text, text) for site, text in changed.values()}


@lru_cache(maxsize=64)
def _merge(path: str, mine: str, before: str, after: str) -> tuple[Edit, ...] | None:
    """Return the edits of `mine` that correspond to `before` -> `after`; None on a conflict."""
    lines = [text.splitlines(keepends=True) for text in (before, after, mine)]
    if max(map(len, lines)) > MAX_MERGE_LINES:
        return None
    old, new, own = lines
    blocks = SequenceMatcher(None, old, own).get_matching_blocks()
    offsets = [0]
    for line in own:
        offsets.append(offsets[-1] + len(line.encode()))
    edits = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new).get_opcodes():
        if tag == "equal":
            continue
        first, last = max(0, i1 - 1), min(len(old), i2 + 1)
        # a hunk fits if it and a line around it lie inside one block of equal lines
        moved = [b.b - b.a for b in blocks if b.a <= first and last <= b.a + b.size]
        if not moved:
            return None
        start, end = offsets[i1 + moved[0]], offsets[i2 + moved[0]]
        edits.append(Edit(path, start, end, "".join(new[j1:j2])))
    return tuple(edits)
