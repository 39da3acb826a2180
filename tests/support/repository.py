"""A real git repository to test on, and the traps that its configuration can hold."""

import os
import subprocess

HOOKS = (
    "pre-commit",
    "commit-msg",
    "post-commit",
    "pre-merge-commit",
    "post-merge",
    "post-checkout",
    "post-index-change",
    "pre-auto-gc",
    "reference-transaction",
)

WHEN = "1700000000 +0000"


def git(where, *args, stdin=b"", check=True):
    """Run git in `where` as a user would and return its output as text."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    clean = {
        **kept,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_DATE": WHEN,
        "GIT_COMMITTER_DATE": WHEN,
    }
    who = ["-c", "user.name=U", "-c", "user.email=u@example.org"]
    done = subprocess.run(
        ["git", *who, *args], cwd=where, env=clean, input=stdin, capture_output=True, check=False
    )
    if check:
        assert done.returncode == 0, f"git {args}: {(done.stdout + done.stderr).decode()}"
    return done.stdout.decode().rstrip("\n")


def make(where, files):
    """Make a repository on branch main whose one commit holds `files` (text by path)."""
    where.mkdir(parents=True)
    git(where, "init", "-q", "-b", "main")
    write(where, files)
    git(where, "add", "-A")
    git(where, "commit", "-qm", "one")
    return where


def write(where, files):
    """Write `files` (text by path) below `where`."""
    for path, text in files.items():
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_text(text)


def set_traps(repo):
    """Have git run `touch fired` by every means that configuration offers; return that file."""
    fired = repo.parent / "fired"
    trap = repo.parent / "trap"
    trap.write_text(f'#!/bin/sh\ntouch "{fired}"\ncat\n')
    trap.chmod(0o755)
    hooks = repo / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in HOOKS:
        (hooks / hook).write_text(trap.read_text())
        (hooks / hook).chmod(0o755)
    settings = {
        "core.fsmonitor": trap,
        "filter.evil.clean": trap,
        "filter.evil.smudge": trap,
        "filter.evil.process": trap,
        "filter.evil.required": "true",
        "diff.external": trap,
        "diff.evil.command": trap,
        "diff.evil.textconv": trap,
        "merge.default": "evil",
        "merge.evil.driver": f"{trap} %A %O %B",
    }
    for name, value in settings.items():
        git(repo, "config", name, str(value))
    return fired
