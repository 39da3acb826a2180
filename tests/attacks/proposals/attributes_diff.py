"""Have git show a file by a program of the user's."""

from __future__ import annotations

FILES = {"gen/.gitattributes": "* diff=evil\n"}


def settings(trap):
    return {"diff.evil.command": trap, "diff.evil.textconv": trap}


def careless(git):
    git("diff", "HEAD~")
