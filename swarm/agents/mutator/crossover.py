"""Takes a change that another island kept over to this head.

Where the change is one of values, the same sites get the same values, whatever they have here.
Otherwise its hunks are applied where this head still reads as the other island's did before the
change, one unchanged line around each, as git would merge them.

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
"""Of a file that is merged: matching lines takes time that grows faster than their number."""

ValueChanges = Mapping[str, tuple[str, str]]
"""Site ids, each with its text before and after a change."""


@dataclass(frozen=True, slots=True)
class Crossover:
    """A change from elsewhere: the values it is one of, if it is, or else the edits it takes."""

    change: Change
    values: ValueChanges
    edits: tuple[Edit, ...] = ()

    def edits_for(self, sites: Mapping[str, Site]) -> tuple[Edit, ...]:
        """Return the edits that bring the change to a head with these sites, by id."""
        if self.edits:
            return self.edits
        wanted = [(sites.get(site), new) for site, (_, new) in self.values.items()]
        return tuple(site.edit(new) for site, new in wanted if site and site.text != new)


def find_crossover(change: Change, head: Mapping[str, ParsedFile]) -> Crossover | None:
    """Return how to apply `change` to `head`; None where it does not fit."""
    if change.before.keys() != change.after.keys():
        return None
    touched = [path for path in sorted(change.before) if change.before[path] != change.after[path]]
    if any(path not in head for path in touched):
        return None
    values = [_value_changes(path, change.before[path], change.after[path]) for path in touched]
    if values and all(values):
        return Crossover(change, {site: texts for one in values for site, texts in one.items()})
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
    """Return the sites whose values are all that differs; none where more does."""
    one, other = parse_file(path, before), parse_file(path, after)
    if one is None or other is None:
        return {}
    there = {site.id: site for site in other.sites}
    changed = {
        (site.start, site.end): (site, there[site.id].text)
        for site in one.sites
        if site.id in there and there[site.id].text != site.text
    }
    rebuilt = splice(one.source, tuple(site.edit(text) for site, text in changed.values()))
    if rebuilt is None or compare(path, rebuilt, other.source.data) != "same":
        return {}
    return {site.id: (site.text, text) for site, text in changed.values()}


@lru_cache(maxsize=64)
def _merge(path: str, mine: str, before: str, after: str) -> tuple[Edit, ...] | None:
    """Return the edits that do to `mine` what made `after` of `before`; None on a conflict."""
    lines = [text.splitlines(keepends=True) for text in (before, after, mine)]
    if max(map(len, lines)) > MAX_MERGE_LINES:
        return None
    old, new, here = lines
    blocks = SequenceMatcher(None, old, here).get_matching_blocks()
    offsets = [0]
    for line in here:
        offsets.append(offsets[-1] + len(line.encode()))
    edits = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new).get_opcodes():
        if tag == "equal":
            continue
        first, last = max(0, i1 - 1), min(len(old), i2 + 1)
        moved = [b.b - b.a for b in blocks if b.a <= first and last <= b.a + b.size]
        if not moved:
            return None
        start, end = offsets[i1 + moved[0]], offsets[i2 + moved[0]]
        edits.append(Edit(path, start, end, "".join(new[j1:j2])))
    return tuple(edits)
