"""Bury a repository: whoever asks git anything in that folder runs what its configuration names."""

from __future__ import annotations

CONFIG = """
[core]
    repositoryformatversion = 0
    bare = false
    worktree = .
    fsmonitor = touch FIRED;false
"""

FILES = {
    "gen/buried/HEAD": "ref: refs/heads/main\n",
    "gen/buried/config": CONFIG,
    "gen/buried/objects/note": "\n",
    "gen/buried/refs/note": "\n",
}


def settings(_):
    return {}


def careless(git):
    git("-C", "gen/buried", "status")
