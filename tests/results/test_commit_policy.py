"""A merge is signed as the user's configuration says, and hooks run on demand."""

import subprocess

import pytest

from harness.contract import SetupError
from islands.git.plumbing import Plumbing
from swarm.results.commit_policy import COMMIT_HOOKS, MERGE_HOOKS, CommitPolicy, signs
from swarm.results.git_merge import merge_commit
from tests.support.merging import GENOME, assert_merged, commit_candidate, make_target, snapshot
from tests.support.repository import git

TEXT = "Merge island north\n\nSwarm-Run: run1\nSwarm-Gain: +1±0.1\n"


@pytest.fixture
def repo(tmp_path):
    """Make the repository to merge into."""
    return make_target(tmp_path / "repo")


def merged(repo, head, **policy):
    """Merge `head` by a policy."""
    return merge_commit(
        Plumbing(repo, worktree=True), "main", head, TEXT, GENOME, policy=CommitPolicy(**policy)
    )


def hook(repo, name, script, folder=".git/hooks"):
    """Write a hook that notes its name and arguments, then runs `script`."""
    path = repo / folder / name
    path.parent.mkdir(exist_ok=True)
    log = repo.parent / "log"
    path.write_text(f'#!/bin/sh\necho {name} $(basename -a "$@" 2>/dev/null) >>{log}\n{script}\n')
    path.chmod(0o755)


def log(repo):
    """Return what hooks noted."""
    path = repo.parent / "log"
    return path.read_text().splitlines() if path.exists() else []


def with_key(repo):
    """Have git sign with an SSH key, as `git config` of a user says; return who may sign."""
    key = repo.parent / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    allowed = repo.parent / "allowed"
    allowed.write_text(f"uwe@example.org {key.with_suffix('.pub').read_text()}")
    settings = {
        "commit.gpgsign": "true",
        "gpg.format": "ssh",
        "user.signingkey": key,
        "gpg.ssh.allowedSignersFile": allowed,
    }
    for name, value in settings.items():
        git(repo, "config", name, str(value))
    return key


@pytest.mark.parametrize("squash", [False, True])
def test_the_users_signing_is_honoured(repo, squash):
    """commit.gpgSign with gpg.format ssh makes a commit that git verifies."""
    head = commit_candidate(repo)
    assert not signs(Plumbing(repo, worktree=True))
    with_key(repo)
    assert signs(Plumbing(repo, worktree=True))
    commit = merged(repo, head, sign=True, squash=squash)
    assert git(repo, "log", "-1", "--format=%G?", commit) == "G"


def test_a_key_that_does_not_work_changes_nothing(repo):
    """One line names the setting and the option that merges without a signature."""
    head = commit_candidate(repo)
    with_key(repo).unlink()
    before = snapshot(repo)
    with pytest.raises(SetupError, match=r"could not sign.*user\.signingKey.*--no-sign") as error:
        merged(repo, head, sign=True)
    assert "\n" not in str(error.value)
    assert snapshot(repo) == before
    assert git(repo, "log", "-1", "--format=%G?", merged(repo, head)) == "N"


@pytest.mark.parametrize(("squash", "names"), [(False, MERGE_HOOKS), (True, COMMIT_HOOKS)])
@pytest.mark.parametrize("folder", [".git/hooks", "hooks"])
def test_hooks_run_on_demand_as_git_runs_them(repo, squash, names, folder):
    """In git's order and with its arguments, from core.hooksPath too; else none runs."""
    if folder == "hooks":
        git(repo, "config", "core.hooksPath", "hooks")
    for name in {*MERGE_HOOKS, *COMMIT_HOOKS}:
        hook(repo, name, "git diff --cached --quiet && exit 9; exit 0", folder)
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    merged(repo, head, squash=squash)
    assert log(repo) == []
    git(repo, "reset", "-q", "--hard", old)
    (repo.parent / "log").unlink(missing_ok=True)
    merged(repo, head, squash=squash, run_hooks=True)
    kind = "message" if squash else "merge"
    arguments = ["", f" COMMIT_EDITMSG {kind}", " COMMIT_EDITMSG", "" if squash else " 0"]
    assert log(repo) == [name + words for name, words in zip(names, arguments, strict=True)]


def test_a_message_hook_may_add_to_the_message(repo):
    """A Change-Id, say; the merge is complete."""
    hook(repo, "commit-msg", 'echo "Change-Id: I1" >>"$1"')
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    commit = merged(repo, head, run_hooks=True)
    assert_merged(repo, commit, head, old)
    assert git(repo, "log", "-1", "--format=%B").endswith("Swarm-Gain: +1±0.1\nChange-Id: I1")


@pytest.mark.parametrize(
    ("name", "script", "line"),
    [
        ("pre-merge-commit", "exit 1", r"hook pre-merge-commit refused the merge \(exit 1\)"),
        ("commit-msg", "exit 3", r"hook commit-msg refused the merge \(exit 3\)"),
        ("commit-msg", "sed -i s/+1/+9/ $1", "changed the evidence in the message"),
        ("pre-merge-commit", "echo b >harness.py; git add -A gen harness.py", "never measured"),
    ],
)
def test_a_hook_that_refuses_undoes_the_merge(repo, name, script, line):
    """Files, index and branch are as before; a hook's own edits stay, as they do with git."""
    hook(repo, name, script)
    head, before = commit_candidate(repo), snapshot(repo)
    with pytest.raises(SetupError, match=line) as error:
        merged(repo, head, run_hooks=True)
    assert "\n" not in str(error.value)
    if "harness" not in script:
        assert snapshot(repo) == before
    assert git(repo, "diff", "--name-only", "main", "--", "gen") == ""
    assert not (repo / ".git/swarm-merge").exists()


def test_the_plan_says_what_is_not_done(repo):
    """Signature, hooks that do not run, and the commits that come along."""
    plumbing = Plumbing(repo, worktree=True)
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    hook(repo, "commit-msg", "")
    hook(repo, "pre-push", "")
    assert CommitPolicy().describe(plumbing, old, head) == (
        "The merge commit is not signed (--sign signs it). Your hooks (commit-msg) do not run on it"
        " (--run-hooks runs them). It holds one commit by swarm <swarm@localhost>, unsigned and"
        " unseen by hooks."
    )
    assert CommitPolicy(squash=True, sign=True, run_hooks=True).describe(plumbing, old, head) == (
        "The commit is signed by your key. Your hooks (commit-msg) run on it."
    )
