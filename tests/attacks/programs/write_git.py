"""Change the repository: hooks, configuration (fsmonitor, filters), refs and attributes."""

from __future__ import annotations

from pathlib import Path

from attack_target import deface, trying


def attack(target):
    git = Path(target.folder, "repo/.git")
    for name in ("config", "refs/heads/main", "info/attributes", "packed-refs"):
        deface(git / name)
    with trying():
        hook = git / "hooks/post-checkout"
        hook.write_text("#!/bin/sh\nid\n")
        hook.chmod(0o755)


def landed(seen):
    return seen.changed("repo/.git")
