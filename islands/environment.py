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

_withdrawn: dict[str, str] = {}


def may_be_inherited(name: str) -> bool:
    """Return whether children get the variable `name`."""
    return (name in NAMES or name.startswith(PREFIXES)) and not SECRET.search(name)


def withdraw_secrets() -> None:
    """Take every variable that children must not get out of this process's environment."""
    for name in [name for name in os.environ if not may_be_inherited(name)]:
        _withdrawn[name] = os.environ.pop(name)


def secret(name: str) -> str:
    """Return a variable, withdrawn or not, "" where it is not set."""
    return os.environ.get(name) or _withdrawn.get(name, "")
