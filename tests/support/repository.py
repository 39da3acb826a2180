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


def git(folder, *args, stdin=b"", check=True):
    """Run git in `folder` as a user would and return its output as text."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    clean = {
        **inherited,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_DATE": WHEN,
        "GIT_COMMITTER_DATE": WHEN,
    }
    identity = ["-c", "user.name=U", "-c", "user.email=u@example.org"]
    result = subprocess.run(
        ["git", *identity, *args],
        cwd=folder,
        env=clean,
        input=stdin,
        capture_output=True,
        check=False,
    )
    if check:
        assert result.returncode == 0, f"git {args}: {(result.stdout + result.stderr).decode()}"
    return result.stdout.decode().rstrip("\n")


def make(folder, files):
    """Make a repository on branch main whose one commit holds `files` (text by path)."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one")
    return folder


def write(folder, files):
    """Write `files` (text by path) below `folder`."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


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
