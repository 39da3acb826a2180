"""A launch that is killed before its first event hides no other run, and the next one begins."""

import shutil
from contextlib import closing

import pytest

from swarm.project import runs
from tests.support.histories import lived
from tests.support.killed_launch import KilledLaunches
from tests.support.record import write
from tests.support.target import git, packing, rewrite, swarm

LAUNCHES = {
    "accepted": ("--new", "--islands", "1", "--sandbox", "none"),
    "refused at once": ("--new", "--run", "a/b"),
    "refused late": ("--new", "--islands", "1", "--agent", "m", "--sandbox", "none"),
}
ENDS = {"accepted": "begins", "refused at once": "refused", "refused late": "refused"}
SERVER = {"m": {"kind": "openai", "model": "x", "base_url": "http://127.0.0.1:9/v1"}}


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A repository with a run, and an agent whose server does not answer."""
    home = tmp_path_factory.mktemp("killed")
    repo = packing(home)
    rewrite(repo, agents=SERVER)
    write(runs.create(repo, "good").path, lived(home / "lab", 20)[0])
    return repo


@pytest.fixture(scope="module")
def launches():
    """The process that launches."""
    with closing(KilledLaunches()) as process:
        yield process


@pytest.mark.parametrize("every", [24, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", LAUNCHES)
def test_no_kill_between_two_steps_hides_a_run(target, tmp_path, launches, kind, every):
    """The good run stays the latest and the only one; nothing but the good run has refs."""
    repo = tmp_path / "repo"
    shutil.copytree(target, repo, symlinks=True)
    (repo / ".git/swarm/runs/good").write_text(str(repo / ".swarm/good"))
    refs, words = git(repo, "for-each-ref"), LAUNCHES[kind]
    step = 1 + every // 2
    while (ended := launches.launch(repo, step, *words)) == "":
        assert [run.name for run in runs.runs(repo)] == ["good"]
        assert runs.latest(repo).name == "good"
        assert git(repo, "for-each-ref") == refs
        step += every
    assert ended == ENDS[kind]
    assert step > 1 + every // 2 or kind == "refused at once"  # else nothing was killed
    assert "lab: lab, loss" in swarm(repo, "status")
