"""Have git merge a file by a program of the user's."""

from __future__ import annotations

FILES = {"gen/.gitattributes": "* merge=evil\n"}


def settings(trap):
    return {"merge.evil.driver": f"{trap} %A %O %B"}


def careless(git):
    git("merge-tree", "--write-tree", "main", "clash")
