"""Change the program that the user has git ask which files changed."""

from __future__ import annotations

FILES = {"gen/hooks/watch": "#!/bin/sh\ntouch FIRED\n"}


def settings(_):
    return {"core.fsmonitor": "gen/hooks/watch"}


def careless(git):
    git("status")
