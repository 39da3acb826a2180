"""The ways that bits may pass between sandboxes, by name. Imported by both ends and by channels."""

from __future__ import annotations

from carriers.files import Leases, Locks, Mappings, Names, Pages, Residency, Watches
from carriers.kernel import Counts, Futexes, Inodes
from carriers.lines import Lines, LinesLeft

CARRIERS = {
    "names": Names,
    "pages": Pages,
    "residency": Residency,
    "lines left": LinesLeft,
    "lines": Lines,
    "futexes": Futexes,
    "inodes": Inodes,
    "counts": Counts,
    "mappings": Mappings,
    "locks": Locks,
    "leases": Leases,
    "watches": Watches,
}
