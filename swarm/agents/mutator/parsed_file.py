"""A parsed file with everything that may be edited in it, cached by its text."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from swarm.agents.mutator.edit_sites import Site, find_sites
from swarm.agents.mutator.source import TextSource, parse_source
from swarm.agents.mutator.structural_edits import StructuralEdit, find_structural_edits
from swarm.agents.mutator.text_sites import find_text_sites


class ParsedFile(NamedTuple):
    """A source file, its sites, and its possible structural edits."""

    source: TextSource
    sites: tuple[Site, ...]
    structural_edits: tuple[StructuralEdit, ...]


@lru_cache(maxsize=64)
def parse_file(path: str, text: str) -> ParsedFile | None:
    """Return file `path` parsed; None if it is Python that does not parse.

    Only Python is edited in its structure; of other languages only the values are changed.
    """
    if not path.endswith(".py"):
        data = text.encode("utf-8", "surrogatepass")
        return ParsedFile(TextSource(path, data), tuple(find_text_sites(path, text)), ())
    source = parse_source(path, text)
    if source is None:
        return None
    return ParsedFile(source, tuple(find_sites(source)), tuple(find_structural_edits(source)))
