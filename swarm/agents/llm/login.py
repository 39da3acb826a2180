"""The ChatGPT login of Codex: whose account pays, from the file that `codex login` writes.

The gateway reads it for each proposal and sends it on; no agent is shown it. Codex renews a login
when it is used, so one that has run out is renewed by `codex login`, or by any use of Codex.

Not covered: no login was tried against ChatGPT itself; a subscription has no price in dollars, and
its backend takes no bound on a reply, so a limit in tokens can be exceeded by one reply.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.contract import SetupError

CHATGPT_URL: Final = "https://chatgpt.com/backend-api/codex"

LOGIN_FILE: Final = "~/.codex/auth.json"


@dataclass(frozen=True, slots=True)
class Login:
    """A login: its token, and the account that it is for ("": the token's own)."""

    token: str
    account: str


def read_login(agent: str, file: str) -> Login:
    """Return the login in `file`. Raises SetupError, with the fix, where there is none."""
    try:
        tokens = json.loads(Path(file).expanduser().read_bytes()).get("tokens") or {}
        token, account = tokens["access_token"], tokens.get("account_id") or ""
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        token, account = "", ""
    usable = all(
        isinstance(text, str) and text.isascii() and text.isprintable() and " " not in text
        for text in (token, account)
    )
    if not token or not usable:
        raise SetupError(
            f"agent {agent!r} in program.md: `login: true` needs a ChatGPT login in {file}: run"
            " `codex login`, or delete `login` and use a key"
        )
    return Login(token, account)
