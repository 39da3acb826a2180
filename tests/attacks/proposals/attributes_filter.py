"""Have git pass a file through a filter of the user's: it runs when a file is read into git."""

from __future__ import annotations

FILES = {"gen/.gitattributes": "* filter=evil\n"}


def settings(trap):
    return {"filter.evil.clean": trap, "filter.evil.smudge": trap}


def careless(git):
    git("hash-object", "gen/train.py")
