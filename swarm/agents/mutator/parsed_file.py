"""A file and all that may be edited in it, read once for as long as its text stays the same."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from swarm.agents.mutator.edit_sites import Site, find_sites
from swarm.agents.mutator.source import Source, parse_source
from swarm.agents.mutator.structural_edits import StructuralEdit, find_structural_edits


class ParsedFile(NamedTuple):
    """A source, its sites, and the changes of structure that it offers."""

    source: Source
    sites: tuple[Site, ...]
    structural_edits: tuple[StructuralEdit, ...]


@lru_cache(maxsize=64)
def parse_file(path: str, text: str) -> ParsedFile | None:
    """Survey file `path`; None where it is no Python that parses."""
    source = parse_source(path, text) if path.endswith(".py") else None
    if source is None:
        return None
    return ParsedFile(source, tuple(find_sites(source)), tuple(find_structural_edits(source)))
