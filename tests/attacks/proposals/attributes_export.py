"""Have git leave a file out of an export, and write into another what the commit does not hold."""

from __future__ import annotations

import io
import tarfile

FILES = {"gen/.gitattributes": "data.txt export-ignore\n* export-subst\n"}


def settings(_):
    return {}


def careless(git):
    with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD", "gen"))) as archive:
        return "gen/data.txt" not in archive.getnames()
