"""The genome that the tests of islands/git work on."""

from islands.records import Entry
from tests.support.repository import git

GENOME = ("gen", 'odd name\'s "Ü".py')
FILES = {
    "gen/train.py": "a = 1\nb = 2\nc = 3\n",
    "gen/sub/data.txt": "one\ntwo\n",
    'odd name\'s "Ü".py': "x = 1\n",
    "harness.py": "frozen\n",
    "generator.py": "not the genome\n",
}
T = 1_700_000_000


def edit(text):
    """Return a proposal's change of train.py."""
    return {"gen/train.py": Entry(text.encode())}


def fsck(repo):
    """Return the errors that git finds in the repository."""
    return git(repo, "fsck", "--strict", "--full", "--no-dangling")
