"""Runs git's plumbing on one repository, with everything off that its configuration could start.

A repository's configuration can name programs: hooks, fsmonitor, filters, merge drivers, external
diffs. None of them may run on what an agent wrote, so every call here is given settings of its
own through the environment, which beat all files: no hooks, no fsmonitor, no garbage collection,
and each configured filter and merge driver replaced (a filter by nothing, a merge driver by
`false`, so that it shows as a conflict and never as a wrong merge). Nothing is written to the
user's configuration. GIT_* variables that this process inherited (a hook or `git rebase --exec`
sets them) do not reach git.

Without `worktree` git runs inside the repository's own directory and sees no working tree, hence
no `.gitattributes` of one. External diffs and textconv are switched off where `diff-tree` is
called.

Not covered: a partial clone still fetches what it lacks, by the user's own transport; programs
that git's trace2 settings name are left alone; a path with a newline in it is not found.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.contract import SetupError

# GitPython looks for git when it is imported and raises ImportError; Plumbing says it in one line
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import git

OLDEST_GIT = (2, 38)
"""The first version whose merge-tree writes a tree."""

IDENTITY = {
    "GIT_AUTHOR_NAME": "swarm",
    "GIT_AUTHOR_EMAIL": "swarm@localhost",
    "GIT_COMMITTER_NAME": "swarm",
    "GIT_COMMITTER_EMAIL": "swarm@localhost",
}
"""Who makes candidates. Never the user: the same proposal must be the same commit everywhere."""

_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    # the ledger is fsynced, so what it names must be on disk before it: by default git syncs refs
    # but not loose objects (measured: 12.5 ms a commit with it, 12 ms without)
    "core.fsync": "committed",
    "core.filesRefLockTimeout": "2000",
    "core.quotePath": "false",
    "fastimport.unpackLimit": "100",
    "gc.auto": "0",
    "i18n.commitEncoding": "utf-8",
    "maintenance.auto": "false",
    "merge.default": "text",
    # a file never lands where neither side put it; renames as git finds them by default, everywhere
    "merge.directoryRenames": "false",
    "merge.renames": "true",
    "submodule.recurse": "false",
}

_ENVIRONMENT = {
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}

_KEPT = {
    *IDENTITY,
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
    "GIT_SSL_CAINFO",
}
"""Inherited GIT_* variables that say who the user is, where git's files are and whom the user's
transport trusts: these stay."""

_FILTER = re.compile(r"filter\..+\.(clean|smudge|process|required)", re.DOTALL)
_DRIVER = re.compile(r"merge\..+\.driver", re.DOTALL)


class GitError(Exception):
    """Git did what we did not expect: our fault or the machine's, never a candidate's."""


@dataclass(frozen=True, slots=True)
class GitResult:
    """What a git process came to: its exit status, its output, its complaints."""

    code: int
    out: bytes
    err: str


class Plumbing:
    """Git on one repository; safe to use from several threads, each call is its own process.

    `worktree` runs git in the user's working tree (for merging home) and not in the repository's
    directory. Raises SetupError where there is no such repository, or no git that can do it.
    """

    def __init__(self, repo: Path, *, worktree: bool = False) -> None:
        unset = [word for name in os.environ if _stray(name) for word in ("-u", name)]
        self._command = ["env", *unset, "git"] if unset else ["git"]
        self._env = dict(_ENVIRONMENT)
        self._git = git.Git(repo)
        self._check_version()
        self.git_dir, self.common_dir = self._find(repo)
        self.top = self._find_top(repo) if worktree else self.git_dir
        self._env["GIT_DIR"] = str(self.git_dir)
        if worktree:
            self._env["GIT_WORK_TREE"] = str(self.top)
        self._git = git.Git(self.top)
        self.disabled_settings = self._silence()

    def run(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        """Return what `git ARGS` wrote. Raises GitError where it fails."""
        answer = self.try_run(*args, stdin=stdin, env=env)
        if answer.code != 0:
            raise GitError(f"git {' '.join(args)}: exit {answer.code}: {answer.err.strip()}")
        return answer.out

    def run_line(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """Return the one line that `git ARGS` wrote, as text. Raises GitError where it fails."""
        return os.fsdecode(self.run(*args, stdin=stdin, env=env)).rstrip("\n")

    def try_run(
        self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> GitResult:
        """Return what `git ARGS` came to, success or not."""
        with tempfile.TemporaryFile() as stream:
            stream.write(stdin)
            stream.seek(0)
            try:
                code, out, err = self._git.execute(
                    [*self._command, *args],
                    istream=stream,
                    env={**self._env, **(env or {})},
                    with_extended_output=True,
                    with_exceptions=False,
                    stdout_as_string=False,
                    strip_newline_in_stdout=False,
                    process_group=0,  # a terminal's Ctrl-C is for us: we stop in good order
                )
            except git.GitCommandNotFound as error:
                raise SetupError("git is not installed, or not on PATH: install it") from error
        return GitResult(code, out, err)

    def commit_id(self, rev: str) -> str | None:
        """Return the id of the commit that `rev` names, None where it names none."""
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", rev + "^{commit}")
        answer = self.try_run(*asked)
        return answer.out.decode().strip() if answer.code == 0 else None

    def merge_tree(self, ours: str, theirs: str) -> tuple[str, tuple[str, ...]]:
        """Merge two commits without touching anything: the tree, and the paths in conflict."""
        asked = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
        answer = self.try_run(*asked)
        if answer.code not in {0, 1}:
            raise GitError(f"git merge-tree {ours} {theirs}: {answer.err.strip()}")
        tree, *conflicts = os.fsdecode(answer.out).rstrip("\0").split("\0")
        return tree, tuple(sorted(set(conflicts)))

    def _check_version(self) -> None:
        said = self.run_line("version")
        found = re.search(r"(\d+)\.(\d+)", said)
        if found is None or (int(found[1]), int(found[2])) < OLDEST_GIT:
            raise SetupError(f"{said} is too old: install git 2.38 or later")

    def _find(self, repo: Path) -> tuple[Path, Path]:
        if not repo.is_dir():
            raise SetupError(f"{repo}: no such directory")
        answer = self.try_run(
            "rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir"
        )
        if answer.code != 0:
            reason = answer.err.strip().partition("\n")[0].removeprefix("fatal: ")
            raise SetupError(f"{repo}: {reason}: run `git init` there, or name a repository")
        git_dir, common_dir = os.fsdecode(answer.out).splitlines()
        return Path(git_dir), Path(common_dir)

    def _find_top(self, repo: Path) -> Path:
        answer = self.try_run("rev-parse", "--path-format=absolute", "--show-toplevel")
        if answer.code != 0:
            raise SetupError(f"{repo} is a bare repository: work in a clone with a working tree")
        return Path(os.fsdecode(answer.out).rstrip("\n"))

    def _silence(self) -> frozenset[str]:
        """Give every later call our settings; return the configured names that they replace."""
        listed = self.run("config", "--list", "--name-only", "-z")
        names = set(os.fsdecode(listed).split("\0"))
        filters = {name for name in names if _FILTER.fullmatch(name)}
        drivers = {name for name in names if _DRIVER.fullmatch(name)}
        settings = dict(_SETTINGS)
        settings |= {name: "false" if name.endswith(".required") else "" for name in filters}
        settings |= dict.fromkeys(drivers, "false")
        for number, (name, value) in enumerate(settings.items()):
            self._env[f"GIT_CONFIG_KEY_{number}"] = name
            self._env[f"GIT_CONFIG_VALUE_{number}"] = value
        self._env["GIT_CONFIG_COUNT"] = str(len(settings))
        return frozenset(filters | drivers)


def message_bytes(text: str) -> bytes:
    """Return a commit message as git takes it: UTF-8, no null bytes, one newline at the end."""
    return text.replace("\0", "").rstrip("\n").encode(errors="replace") + b"\n"


def _stray(name: str) -> bool:
    return name.startswith("GIT_") and not name.startswith("GIT_PYTHON_") and name not in _KEPT
