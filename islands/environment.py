"""The environment variables that children of this process get: those on a list, never a key.

`withdraw_secrets` takes all others out of this process's environment when a command starts, so that
no way to start a child can pass one on: git's children, a library's, those of a Ray node. What a
provider needs is asked for by name.

Not covered: /proc/PID/environ of this process itself shows, to the same user and root, what it was
started with; no sandbox sees that process.
"""

from __future__ import annotations

import os
import re

_NAMES = """
PATH HOME USER LOGNAME SHELL PWD TERM COLORTERM COLUMNS LINES NO_COLOR FORCE_COLOR TZ LANG LANGUAGE
TMPDIR TEMP TMP VIRTUAL_ENV CONDA_PREFIX LD_LIBRARY_PATH DYLD_LIBRARY_PATH SSH_AUTH_SOCK
SSH_AGENT_PID GPG_TTY GNUPGHOME HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy
all_proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
"""
NAMES = frozenset(_NAMES.split())
PREFIXES = (
    "LC_",
    "GIT_",
    "PYTHON",
    "PYTEST_",
    "COV_",
    "XDG_",
    "SWARM_",
    "CUDA_",
    "NVIDIA_",
    "RAY_",
)
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
"""In a name, whatever its prefix: a user may call a key SWARM_KEY."""

GIT_INHERITED = frozenset(
    {
        *("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"),
        *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_COUNT"),
        *("GIT_EXEC_PATH", "GIT_SSL_CAINFO", "GIT_TEMPLATE_DIR", "GIT_DEFAULT_HASH"),
        *("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"),
    }
)
"""GIT_* variables that reach git: the user's identity, the places of git's own files, settings that
are given by number (safe.directory), the certificates that the user's transport trusts, what a new
repository begins with (hooks, object ids), and how far up git looks for a repository."""

_PLAIN_SECTIONS = frozenset({"commit", "core", "gpg", "init", "safe", "user"})
"""Sections of settings given by number that children get: no other holds a header or a password."""

_GIT_SETTING = re.compile(r"GIT_CONFIG_(KEY|VALUE)_[0-9]+")

_GIT_PLACES = (
    *("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"),
)

_withdrawn: dict[str, str] = {}


def may_be_inherited(name: str) -> bool:
    """Return whether children get the variable `name`."""
    if name == "GIT_CONFIG_COUNT" or _GIT_SETTING.fullmatch(name):
        keys = [value for key, value in os.environ.items() if key.startswith("GIT_CONFIG_KEY_")]
        return all(key.partition(".")[0].lower() in _PLAIN_SECTIONS for key in keys)
    return (name in NAMES or name.startswith(PREFIXES)) and not SECRET.search(name)


def reaches_no_git(name: str) -> bool:
    """Return whether `name` is a variable of git's that none of our calls of git gets."""
    if not name.startswith("GIT_") or name.startswith("GIT_PYTHON_"):
        return False
    return name not in GIT_INHERITED and not _GIT_SETTING.fullmatch(name)


def withdraw_git() -> dict[str, str]:
    """Take git's variables out of the environment, so that all of swarm sees one repository.

    Returns those that name a place: who calls refuses one that is elsewhere.
    """
    taken = {name: os.environ.pop(name) for name in list(os.environ) if reaches_no_git(name)}
    return {name: value for name, value in taken.items() if name in _GIT_PLACES and value}


def withdraw_secrets() -> None:
    """Take every variable that children must not get out of this process's environment."""
    for name in [name for name in os.environ if not may_be_inherited(name)]:
        _withdrawn[name] = os.environ.pop(name)


def secret(name: str) -> str:
    """Return a variable, withdrawn or not, "" where it is not set."""
    return os.environ.get(name) or _withdrawn.get(name, "")
