"""climbmix is downloaded, tokenised, split and resumed, from shards that the tests make."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from click.testing import CliRunner

from harness import data
from harness.contract import Rung, SetupError
from harness.data import climbmix, corpus
from harness.data.spec import HELD_OUT, SPLITS
from swarm.cli.prepare import prepare as command
from swarm.cli.prepare import shards_of
from tests.support.children import child
from tests.support.shardserver import Fault, documents, parquet, serving
from tests.support.target import rewrite, swarm

LAST = "shard_06542.parquet"
NAME = "shard_00000.parquet"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of this test's own."""
    monkeypatch.setenv("SWARM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def texts():
    """Four shards' documents by name; one document is a stretch that rustbpe alone loses."""
    names = [*(f"shard_{at:05d}.parquet" for at in range(3)), LAST]
    made = {name: documents(seed) for seed, name in enumerate(names, start=1)}
    made[names[1]] += documents(9)  # larger than the first
    made[names[1]][7] = "x" * 5000 + " " * 5000
    return made


@pytest.fixture(scope="module")
def shards(tmp_path_factory, texts):
    """The same four as parquet files."""
    folder = tmp_path_factory.mktemp("shards")
    return {name: parquet(folder / name, held) for name, held in texts.items()}


@pytest.fixture
def server(shards, monkeypatch):
    """A server of the shards."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(shards) as state:
        yield state


def climb(server, shards=2, progress=None):
    """Prepare climbmix from `server`."""
    return data.prepare("climbmix", {"shards": shards, "base_url": server.url}, progress)


def documents_of(opened, split):
    """Return a split's documents, from its tokens: one separator comes before each."""
    tokens, ids = corpus.vocabulary(opened.folder), opened.tokens(split)
    assert ids[0] == opened.vocab - 1
    starts = np.flatnonzero(ids == opened.vocab - 1)
    pieces = np.split(ids, starts)[1:]
    return [b"".join(tokens[token] for token in piece).decode() for piece in pieces]


def test_climbmix_is_downloaded_tokenised_and_split(cache, server, texts):
    """Train is the shards' documents in order; the last one's are dealt in turn."""
    opened = climb(server)
    assert opened == data.open_corpus("climbmix")
    assert (opened.vocab, opened.context) == (8192, 2048)
    assert opened.token_bytes[-1] == 0
    assert opened.token_bytes[:-1].min() == 1
    first, second, _, last = texts.values()
    assert documents_of(opened, "train") == first + second
    for at, split in enumerate(HELD_OUT):
        assert documents_of(opened, split) == last[at :: len(HELD_OUT)]
    for split in SPLITS:
        assert opened.token_bytes[opened.tokens(split)].sum() == opened.splits[split].bytes
    assert {path.name for path in opened.folder.parent.iterdir()} == {
        ".lock", "current", "shards", opened.digest,
    }  # fmt: skip


def test_a_held_out_split_is_full_at_its_size(cache, server, texts, monkeypatch):
    """Once every held-out split has its tokens, the rest of the shard is left."""
    monkeypatch.setattr(climbmix, "CLIMBMIX_HELD", dict.fromkeys(HELD_OUT, 9_000))
    opened = climb(server)
    for split in HELD_OUT:
        longest = int(np.diff(np.flatnonzero(opened.tokens(split) == opened.vocab - 1)).max())
        assert 9_000 <= len(opened.tokens(split)) < 9_000 + 2 * longest


def test_a_prepared_corpus_is_kept_until_other_shards_are_asked_for(cache, server, texts):
    """Without --shards any prepared corpus will do; one shard more downloads that shard alone."""
    two = climb(server)
    server.requests.clear()
    assert data.prepare("climbmix") == two
    assert server.requests == []
    three = climb(server, shards=3)
    assert server.requests == [("shard_00002.parquet", None, 200)]
    assert three.digest != two.digest
    assert three.source == "shards 0 to 2 and 6542"
    assert len(documents_of(three, "train")) == sum(map(len, list(texts.values())[:3]))


def test_a_killed_prepare_resumes_with_the_next_shard(cache, server):
    """Killed while it encodes the second shard, prepare encodes only that one when run again."""
    code = f"""
        import os
        from harness import data
        def progress(step, _):
            if step == "encode shard 2 of 3":
                os.kill(os.getpid(), 9)
        data.prepare("climbmix", dict(shards=2, base_url={server.url!r}), progress)
    """
    assert child(code, cache, NO_PROXY="127.0.0.1").returncode == -signal.SIGKILL
    server.requests.clear()
    steps = []
    resumed = climb(server, progress=lambda step, _: steps.append(step))
    assert server.requests == []
    assert "encode shard 2 of 3" in steps
    assert "encode shard 1 of 3" not in steps
    shutil.rmtree(resumed.folder)
    assert climb(server) == resumed


def test_a_killed_download_resumes_where_it_was(cache, server, shards):
    """Killed in mid-body, the next prepare asks for the rest of that file and no other byte."""
    name = "shard_00001.parquet"
    server.faults[name].append(Fault(cut=200_000, hang=True))
    code = f"""
        from harness import data
        def progress(step, share):
            print(step, share, flush=True)
        data.prepare("climbmix", dict(shards=2, base_url={server.url!r}), progress)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child_process:
        lines = (line.rsplit(maxsplit=1) for line in child_process.stdout)
        shares = (float(share) for step, share in lines if step == "download shard 2 of 3")
        next(share for share in shares if share >= 3 * 2**16 / len(shards[name]))
        child_process.kill()
    part = cache / "data" / "climbmix" / "shards" / f"{name}.part"
    have = part.stat().st_size
    server.requests.clear()
    climb(server)
    assert server.requests == [(name, f"bytes={have}-", 206), (LAST, None, 200)]
    assert part.with_suffix("").read_bytes() == shards[name]


def test_a_full_disk_keeps_the_shards_that_are_there(cache, server, shards):
    """If a shard does not fit, one line says so; later only the rest is downloaded."""
    code = f"""
        import resource
        from harness import data
        from harness.contract import Rung, SetupError
        room = ({len(shards["shard_00000.parquet"])}, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
        try:
            data.prepare("climbmix", dict(shards=2, base_url={server.url!r}))
        except SetupError as error:
            print(error)
    """
    output = child(code, cache, NO_PROXY="127.0.0.1").stdout
    assert re.fullmatch(r"cannot use .* \(File too large\): free some space.*\n", output)
    name = "shard_00001.parquet"
    have = (cache / "data/climbmix/shards" / f"{name}.part").stat().st_size
    assert have > 0
    server.requests.clear()
    climb(server)
    assert server.requests == [(name, f"bytes={have}-", 206), (LAST, None, 200)]


def test_the_command_tells_each_step_once(cache, server):
    """Away from a terminal each step is one plain line on stderr."""
    result = CliRunner().invoke(
        command, ["--data", "climbmix", "--shards", "1", "--base-url", server.url]
    )
    assert result.exit_code == 0
    steps = result.stderr.splitlines()
    assert steps == list(dict.fromkeys(steps))
    assert steps[:2] == ["download shard 1 of 2", "download shard 2 of 2"]
    assert result.stdout.startswith("climbmix is ready: digest ")


def test_as_many_shards_as_the_rungs_read(tmp_path, monkeypatch):
    """11 at depth 8 in 300 s; `--for-rungs` takes the most that a rung of program.md needs."""
    rungs = [Rung(8, 300.0), Rung(12, 600.0), Rung(24, 3600.0)]
    assert [shards_of(rung) for rung in rungs] == [11, 8, 7]
    assert shards_of(Rung(2, 1e9)) == 6542
    repo = tmp_path / "repo"
    swarm(tmp_path, "init", repo, "--task", "gpt")
    rewrite(repo, rungs=[{"depth": rung.depth, "seconds": rung.seconds} for rung in rungs])
    monkeypatch.chdir(repo)
    built = []
    monkeypatch.setattr(data, "prepare", lambda name, options, progress: built.append(options))
    CliRunner().invoke(command, ["--data", "climbmix", "--for-rungs"])
    assert [options["shards"] for options in built] == [11]
    refused = CliRunner().invoke(command, ["--for-rungs"])
    assert "--for-rungs goes with --data climbmix" in str(refused.exception)


@pytest.mark.parametrize("url", ["ftp://x/y", "no-url", "http://[", "http://"])
def test_a_bad_base_url_is_refused(cache, url):
    """An address that is none is refused before anything is made."""
    with pytest.raises(SetupError, match="--base-url"):
        data.prepare("climbmix", {"base_url": url})


@pytest.mark.parametrize("shards", [0, 6543])
def test_a_bad_number_of_shards_is_refused(cache, shards):
    """There are 6,542 shards to train on."""
    with pytest.raises(SetupError, match="choose 1 to 6542"):
        data.prepare("climbmix", {"shards": shards})


def test_a_shard_without_text_is_refused(cache, server, tmp_path):
    """A parquet file without the column `text` is named."""
    server.files[NAME] = parquet(tmp_path / "other.parquet", ["x"], column="words")
    with pytest.raises(SetupError, match=r"cannot read .*shard_00000.*delete it") as error:
        climb(server)
    assert "\n" not in str(error.value)


def test_too_little_text_for_the_vocabulary_is_refused(cache, server, tmp_path):
    """Shards that cannot fill 8,192 tokens make no corpus."""
    server.files[NAME] = parquet(tmp_path / "other.parquet", ["too short"])
    with pytest.raises(SetupError, match="too little text for 8192 tokens"):
        climb(server, shards=1)
