"""Runs git on one repository, with everything off that the repository's configuration could start.

A repository's configuration can name programs: hooks, fsmonitor, filters, merge drivers, external
diffs. None of them may run on what an agent wrote, so every call passes settings through the
environment, which overrides all files: no hooks, no fsmonitor, no garbage collection, and each
configured filter and merge driver replaced (a filter by nothing; a merge driver by `false`, so that
it shows as a conflict and never as a wrong merge). The user's configuration is not written. GIT_*
variables that this process inherited (from a hook or `git rebase --exec`) do not reach git, but for
those of `islands.environment`.

Without `worktree` git runs inside the repository's own directory and sees no working tree, hence
no `.gitattributes` of one. Callers of `diff-tree` switch off external diffs and textconv.

Not covered: a partial clone still fetches missing objects by the user's own transport; programs
that git's trace2 settings name are left alone; a path that contains a newline is not found.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.contract import SetupError
from islands.environment import reaches_no_git

# else GitPython raises ImportError on import where git is missing; Plumbing reports it in one line
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import git

OLDEST_GIT = (2, 38)
"""The first version with `merge-tree --write-tree`."""

IDENTITY = {
    "GIT_AUTHOR_NAME": "swarm",
    "GIT_AUTHOR_EMAIL": "swarm@localhost",
    "GIT_COMMITTER_NAME": "swarm",
    "GIT_COMMITTER_EMAIL": "swarm@localhost",
}
"""Author and committer of candidates. Never the user: one proposal is one commit everywhere."""

_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    # the ledger is fsynced, so the commits it names must be on disk first: by default git syncs
    # refs but not loose objects (measured: 12.5 ms a commit with this setting, 12 ms without)
    "core.fsync": "committed",
    "core.filesRefLockTimeout": "2000",
    "core.quotePath": "false",
    "fastimport.unpackLimit": "100",
    "gc.auto": "0",
    "i18n.commitEncoding": "utf-8",
    "maintenance.auto": "false",
    "merge.default": "text",
    # a merge moves no file to a folder that neither side chose; renames are found as by default
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

_NO_GIT = "git is not installed, or not on PATH: install it"

_FILTER = re.compile(r"filter\..+\.(clean|smudge|process|required)", re.DOTALL)
_DRIVER = re.compile(r"merge\..+\.driver", re.DOTALL)


class GitError(Exception):
    """Git failed unexpectedly: our fault or the machine's, never a candidate's."""


@dataclass(frozen=True, slots=True)
class GitResult:
    """How a git process ended."""

    code: int
    """Exit status."""

    out: bytes
    """Standard output."""

    err: str
    """Standard error."""


class Plumbing:
    """Git on one repository. Safe to use from several threads: each call is its own process.

    With `worktree` git runs in the user's working tree (for `swarm merge`) instead of the
    repository's directory. Raises SetupError if there is no such repository, or no git >= 2.38.
    """

    def __init__(self, repo: Path, *, worktree: bool = False) -> None:
        unset = [word for name in os.environ if reaches_no_git(name) for word in ("-u", name)]
        self._command = ["env", *unset, "git"] if unset else ["git"]
        self._env = dict(_ENVIRONMENT)
        self._git = git.Git(repo)
        require_git()
        self.git_dir, self.common_dir = self._find(repo)
        self.top = self._find_top(repo) if worktree else self.git_dir
        self._env["GIT_DIR"] = str(self.git_dir)
        if worktree:
            self._env["GIT_WORK_TREE"] = str(self.top)
        self._git = git.Git(self.top)
        self.disabled_settings = self._disable()

    def run(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        """Return the output of `git ARGS`. Raises GitError if it fails."""
        result = self.try_run(*args, stdin=stdin, env=env)
        if result.code != 0:
            raise GitError(f"git {' '.join(args)}: exit {result.code}: {result.err.strip()}")
        return result.out

    def run_line(self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """Return the one line of output of `git ARGS`. Raises GitError if it fails."""
        return os.fsdecode(self.run(*args, stdin=stdin, env=env)).rstrip("\n")

    def try_run(
        self,
        *args: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        foreground: bool = False,
    ) -> GitResult:
        """Run `git ARGS` and return its result, success or not.

        In the `foreground` it may ask on the terminal, and a terminal's Ctrl-C reaches it.
        """
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
                    # a terminal's Ctrl-C must reach the coordinator only
                    process_group=None if foreground else 0,
                )
            except git.GitCommandNotFound as error:
                raise SetupError(_NO_GIT) from error
        return GitResult(code, out, err)

    def commit_id(self, rev: str) -> str | None:
        """Return the id of the commit that `rev` names, None if it names none."""
        args = ("rev-parse", "--verify", "--quiet", "--end-of-options", rev + "^{commit}")
        result = self.try_run(*args)
        return result.out.decode().strip() if result.code == 0 else None

    def merge_tree(self, ours: str, theirs: str) -> tuple[str, tuple[str, ...]]:
        """Return the merged tree of two commits and the paths in conflict; move no ref."""
        args = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
        result = self.try_run(*args)
        if result.code not in {0, 1}:
            raise GitError(f"git merge-tree {ours} {theirs}: {result.err.strip()}")
        tree, *conflicts = os.fsdecode(result.out).rstrip("\0").split("\0")
        return tree, tuple(sorted(set(conflicts)))

    def _find(self, repo: Path) -> tuple[Path, Path]:
        if not repo.is_dir():
            raise SetupError(f"{repo}: no such directory")
        result = self.try_run(
            "rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir"
        )
        if result.code != 0:
            reason = result.err.strip().partition("\n")[0].removeprefix("fatal: ")
            raise SetupError(f"{repo}: {reason}: run `git init` there, or name a repository")
        git_dir, common_dir = os.fsdecode(result.out).splitlines()
        return Path(git_dir), Path(common_dir)

    def _find_top(self, repo: Path) -> Path:
        result = self.try_run("rev-parse", "--path-format=absolute", "--show-toplevel")
        if result.code != 0:
            raise SetupError(f"{repo} is a bare repository: work in a clone with a working tree")
        return Path(os.fsdecode(result.out).rstrip("\n"))

    def _disable(self) -> frozenset[str]:
        """Pass our settings to every later call; return the configured names that they replace."""
        listed = self.run("config", "--list", "--name-only", "-z")
        names = set(os.fsdecode(listed).split("\0"))
        filters = {name for name in names if _FILTER.fullmatch(name)}
        drivers = {name for name in names if _DRIVER.fullmatch(name)}
        settings = dict(_SETTINGS)
        settings |= {name: "false" if name.endswith(".required") else "" for name in filters}
        settings |= dict.fromkeys(drivers, "false")
        given = os.environ.get("GIT_CONFIG_COUNT", "")
        first = int(given) if given.isdecimal() else 0  # the user's, which ours override
        for number, (name, value) in enumerate(settings.items(), first):
            self._env[f"GIT_CONFIG_KEY_{number}"] = name
            self._env[f"GIT_CONFIG_VALUE_{number}"] = value
        self._env["GIT_CONFIG_COUNT"] = str(first + len(settings))
        return frozenset(filters | drivers)


def require_git() -> None:
    """Raise SetupError unless git is installed, in a version with all that swarm asks of it."""
    try:
        version = git.Git().version_info
    except git.GitCommandNotFound as error:
        raise SetupError(_NO_GIT) from error
    if version < OLDEST_GIT:
        number = ".".join(map(str, version))
        raise SetupError(f"git {number} is too old: install git 2.38 or later")


def message_bytes(text: str) -> bytes:
    """Return a commit message for git: UTF-8, no null bytes, one newline at the end."""
    return text.replace("\0", "").rstrip("\n").encode(errors="replace") + b"\n"
