"""No child of a command gets a key from the environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from islands.environment import may_be_inherited, reaches_no_git

SPY = """#!/bin/sh
env >> {seen}
exec {git} "$@"
"""


def test_no_git_process_sees_a_key(tmp_path):
    """Whatever a command asks of git, the variables of the providers stay behind."""
    seen, spy = tmp_path / "seen", tmp_path / "bin" / "git"
    spy.parent.mkdir()
    spy.write_text(SPY.format(seen=seen, git=shutil.which("git")))
    spy.chmod(0o755)
    secrets = {
        "ANTHROPIC_API_KEY": "sk-1",
        "SWARM_KEY": "sk-2",
        "HF_HUB": "sk-3",
        "GIT_TOKEN": "sk-4",
    }
    env = os.environ | secrets | {"PATH": f"{spy.parent}:{os.environ['PATH']}"}
    words = [sys.executable, "-m", "swarm.cli.main", "init", "circles", "--task", "packing"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "PATH=" in seen.read_text()
    assert "sk-" not in seen.read_text()


def test_what_children_need_is_on_the_list():
    """Where programs and files lie, the user's language and proxies: yes; names of secrets: no."""
    wanted = ("PATH", "HOME", "LC_ALL", "SSH_AUTH_SOCK", "HTTPS_PROXY", "GIT_AUTHOR_NAME")
    assert all(map(may_be_inherited, wanted))
    refused = ("OPENAI_API_KEY", "AWS_PROFILE", "GIT_PASSWORD", "SWARM_ACCESS_TOKEN")
    assert not any(map(may_be_inherited, refused))


def test_git_gets_the_users_settings_and_no_other_repository():
    """Identity, what a new repository begins with and how one is found count; its parts do not."""
    wanted = ("AUTHOR_NAME", "CONFIG_GLOBAL", "TEMPLATE_DIR", "DISCOVERY_ACROSS_FILESYSTEM")
    assert not any(reaches_no_git(f"GIT_{name}") for name in wanted)
    assert all(reaches_no_git(f"GIT_{name}") for name in ("DIR", "INDEX_FILE", "CONFIG_PARAMETERS"))
