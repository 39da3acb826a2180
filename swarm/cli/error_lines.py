"""One line for each error that a user can fix: click's, ours, and those of the machine's files."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import click

from analysis.ledger import RUNS_HOME
from analysis.untrusted_text import printable
from harness.contract import HarnessError, SetupError

_FIXES = {
    errno.EROFS: "is on a read-only file system: mount it writable, or work in a copy"
    " (git clone REPO DIR)",
    errno.EACCES: "is not yours to use: change its owner or mode (chown, chmod)",
    errno.EPERM: "is not yours to use: change its owner or mode (chown, chmod)",
    errno.ENOSPC: "has no space left on its disk: free some; nothing recorded is lost",
    errno.EDQUOT: "is above your disk quota: free some space; nothing recorded is lost",
    errno.EMFILE: "is one file too many for a process: raise the limit (ulimit -n 4096)",
    errno.ENFILE: "is one file too many for this machine: close programs, or raise fs.file-max",
    errno.ELOOP: "is a loop of symbolic links: replace it by a folder",
    errno.ENAMETOOLONG: "has a name that is too long here: work in a folder with a shorter path",
}
"""What is wrong with a file of ours by the machine's doing, and the fix."""


def user_line(error: BaseException) -> str:
    """Return the line for an error that the user can fix, "" for a bug.

    The errors of a group are told once each; one bug among them makes the group a bug.
    """
    if isinstance(error, BaseExceptionGroup):
        lines = [user_line(each) for each in error.exceptions]
        return "\n".join(dict.fromkeys(lines)) if all(lines) else ""
    if isinstance(error, SetupError | HarnessError):
        return str(error)
    if isinstance(error, click.ClickException):
        return _click_line(error)
    return _file_line(error) if isinstance(error, OSError) else ""


def _file_line(error: OSError) -> str:
    """Return the line for a file that the machine refuses, or that was taken away."""
    given = error.filename
    if not isinstance(given, str | Path) or not str(given):
        return ""
    name = printable(os.fspath(given))  # agents and candidates choose names too
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        parts = Path(given).parts
        if RUNS_HOME not in parts:
            return ""
        return (
            f"{name} was taken away while swarm used it: the kept changes of a run stay in git"
            f" (git branch --list 'swarm/*'), its record is gone with {RUNS_HOME}"
        )
    fix = _FIXES.get(error.errno or 0)
    return f"{name} {fix}" if fix else ""


_TYPE = re.compile(r"a valid (integer|float)(?: range)?\b")
_PLAIN = {"integer": "an integer", "float": "a number"}
"""Plain words for click's types."""


def _click_line(error: click.ClickException) -> str:
    """Return click's message as one line that names the command's help."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if isinstance(error, click.NoSuchOption):
        text = f"no such option {error.option_name}{_similar(error, context)}"
    else:
        text = " ".join(error.format_message().split()).rstrip(".")
        text = _TYPE.sub(lambda match: _PLAIN[match[1]], text[:1].lower() + text[1:])
    return text if context is None else f"{text}; see `{context.command_path} --help`"


def _similar(error: click.NoSuchOption, context: click.Context | None) -> str:
    """Return the visible options like the one that does not exist."""
    params = context.command.params if context is not None else []
    shown = {name for each in params if not getattr(each, "hidden", False) for name in each.opts}
    names = [f"`{name}`" for name in error.possibilities or () if name in shown]
    return f": did you mean {' or '.join(names)}?" if names else ""
