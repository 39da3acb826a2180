"""Policy of a merge's commit: whether git signs it, and whether the repository's hooks run.

By default it is signed where the user's `commit.gpgSign` says so, by what `gpg.format` and
`user.signingKey` name, and no hook runs: what is merged was measured, and hooks of the repository
are not needed to make a commit of it. `swarm merge --run-hooks` runs the hooks of a `git merge`, or
with --squash those of a `git commit`, in the user's own environment, with the merge's files in
index and working tree. A hook may edit the message, but not the evidence in its trailers, and not
the files: what would be merged then was never measured.

Not covered: hooks of a push, of a checkout and of refs (post-checkout, reference-transaction) do
not run; the commits of the changes themselves are swarm's and never signed, so a branch that must
hold signed commits alone wants --squash.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.contract import SetupError
from islands import trailers
from islands.git.plumbing import IDENTITY, Plumbing

MERGE_HOOKS = ("pre-merge-commit", "prepare-commit-msg", "commit-msg", "post-merge")
"""The hooks of `git merge`, in the order in which they run."""

COMMIT_HOOKS = ("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit")
"""The hooks of `git commit`, in the order in which they run."""

AUTHOR = f"{IDENTITY['GIT_AUTHOR_NAME']} <{IDENTITY['GIT_AUTHOR_EMAIL']}>"


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """How to make the commit of a merge."""

    squash: bool = False
    """One commit without the changes' own commits, instead of a merge."""
    sign: bool = False
    """Git signs it with the user's key."""
    run_hooks: bool = False
    """The repository's hooks run."""

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hooks that git would run for such a commit."""
        return COMMIT_HOOKS if self.squash else MERGE_HOOKS

    def describe(self, git: Plumbing, base: str, head: str) -> str:
        """Return a line on signatures and hooks, for a merge of the commits `base..head`."""
        commits = int(git.run_line("rev-list", "--count", f"{base}..{head}"))
        return self.line(commits, self.hooks_here(git))

    def line(self, commits: int, hooks: Sequence[str]) -> str:
        """Return that line for so many commits of swarm's and the hooks of a repository."""
        what = "commit" if self.squash else "merge commit"
        signed = "signed by your key" if self.sign else "not signed (--sign signs it)"
        sentences = [f"The {what} is {signed}."]
        if hooks:
            names = ", ".join(hooks)
            run = "run on it" if self.run_hooks else "do not run on it (--run-hooks runs them)"
            sentences.append(f"Your hooks ({names}) {run}.")
        if not self.squash:
            own = "one commit" if commits == 1 else f"{commits} commits"
            sentences.append(f"It holds {own} by {AUTHOR}, unsigned and unseen by hooks.")
        return " ".join(sentences)

    def hooks_here(self, git: Plumbing) -> tuple[str, ...]:
        """Return the hooks that this repository has, of those that git would run."""
        folder = _hooks_folder(git)
        return tuple(
            name
            for name in self.hooks
            if (folder / name).is_file() and os.access(folder / name, os.X_OK)
        )


def signs(git: Plumbing) -> bool:
    """Return whether the user's configuration has git sign commits (commit.gpgSign)."""
    told = git.try_run("config", "--type=bool", "--get", "commit.gpgSign")
    return told.out.strip() == b"true"


def run_hooks_before(git: Plumbing, policy: CommitPolicy, message: str, tree: str) -> str:
    """Run the hooks that come before a commit of `tree`; return the message as they leave it.

    Raises SetupError where one refuses, or leaves other files or other evidence.
    """
    check, prepare, verify, _ = policy.hooks
    _require(git, check)
    if git.run_line("write-tree") != tree:
        raise SetupError(
            f"hook {check} changed the files of the merge, and what it would merge was never"
            " measured: merge without --run-hooks, then commit what the hook does"
        )
    edited = git.git_dir / "COMMIT_EDITMSG"
    edited.write_text(message)
    _require(git, prepare, str(edited), "message" if policy.squash else "merge")
    _require(git, verify, str(edited))
    text = edited.read_text(errors="replace")
    if trailers.read(text) != trailers.read(message):
        raise SetupError(
            f"hook {prepare} or {verify} changed the evidence in the message (its Swarm- lines):"
            " merge without --run-hooks"
        )
    return text


def run_hooks_after(git: Plumbing, policy: CommitPolicy) -> None:
    """Run the hook that comes after the commit; as in git, its end changes nothing."""
    last = policy.hooks[-1]
    _run(git, last, ["0"] if last == "post-merge" else [])


def _require(git: Plumbing, name: str, *args: str) -> None:
    code = _run(git, name, args)
    if code:
        raise SetupError(f"hook {name} refused the merge (exit {code}): nothing was merged")


def _run(git: Plumbing, name: str, args: Sequence[str]) -> int:
    """Run a hook as git runs it, its output on standard error; return its exit code."""
    sys.stderr.flush()
    done = subprocess.run(
        ["git", "hook", "run", "--ignore-missing", name, "--", *args],  # noqa: S607 - as Plumbing
        cwd=git.top,
        env={**os.environ, "GIT_INDEX_FILE": str(git.git_dir / "index"), "GIT_EDITOR": ":"},
        stdin=subprocess.DEVNULL,
        stdout=2,
        check=False,
    )
    return done.returncode


def _hooks_folder(git: Plumbing) -> Path:
    """Return where the user's hooks are: the last setting of core.hooksPath is ours."""
    listed = git.try_run("config", "--type=path", "-z", "--get-all", "core.hooksPath")
    *users, _ = os.fsdecode(listed.out).rstrip("\0").split("\0")
    return git.top / users[-1] if users else git.common_dir / "hooks"
