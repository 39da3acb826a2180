"""Change the hook that the user keeps among the files that may change."""

from __future__ import annotations

FILES = {"gen/hooks/post-checkout": "#!/bin/sh\ntouch FIRED\n"}


def settings(_):
    return {"core.hooksPath": "gen/hooks"}


def careless(git):
    git("switch", "-qc", "other")
