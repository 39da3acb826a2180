"""The task `gpt`: its arithmetic, its audit, its sandboxes, honest and hostile, end to end."""

import json
import math
import os
import pickle
import select
import shutil
import struct
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness import data
from harness.contract import FULL_AUDIT, SCREENING_AUDIT, HarnessError, Rung, Slice, Trial
from harness.sandbox import Zygote, run
from harness.sandbox.policy import Exit
from harness.tasks import gpt
from harness.tasks.base import InvalidError
from harness.tasks.gpt.task import TASK, WEIGHTS
from harness.tasks.gpt.weights import MAX_HEADER_BYTES, count_parameters
from harness.trial import measure

SEED = Path(__file__).parents[2] / "islands" / "seeds" / "gpt"
CORE = min(os.sched_getaffinity(0))
VOCAB, CONTEXT, WINDOWS = 32, 16, 400


@pytest.fixture
def trial(tmp_path):
    """A trial whose genome is the seed."""
    genome = tmp_path / "genome"
    shutil.copytree(SEED, genome, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "scratch" / "t1").mkdir(parents=True)
    return Trial(
        id="t1",
        task="gpt",
        data="kjv",
        commit="c",
        seed=1,
        rung=Rung(depth=1, seconds=60),
        slice=Slice("cpu0", "cpu", (CORE,)),
        genome=str(genome),
        entry="train.py",
        scratch=str(tmp_path / "scratch"),
    )


@pytest.fixture
def model(trial, tmp_path, monkeypatch):
    """The candidate's model as the trusted side knows it; seven rows to a question."""
    monkeypatch.setattr(gpt.logits, "BATCH_BYTES", 7 * 4 * CONTEXT * VOCAB)
    weights = tmp_path / "weights"
    weights.write_bytes(b"")
    return gpt.logits.ScoredModel(trial, weights, VOCAB, CONTEXT)


def _table():
    """A bigram model: logits [VOCAB, VOCAB], sharp enough to be worth knowing."""
    return np.random.default_rng(0).normal(size=(VOCAB, VOCAB)).astype(np.float32) * 2


@pytest.fixture(scope="module")
def text():
    """Windows of text that the bigram model made, and training text of the same kind."""
    random = np.random.default_rng(1)
    chance = np.exp(_table().astype(float)).cumsum(axis=1)
    chance /= chance[:, -1:]
    tokens = [0]
    for draw in random.random(2 * WINDOWS * CONTEXT):
        tokens.append(int(np.searchsorted(chance[tokens[-1]], draw)))
    half = WINDOWS * CONTEXT + 1
    dev, train = np.array(tokens[:half], np.uint16), np.array(tokens[half:], np.uint16)
    inputs, targets = gpt.windows.windows(dev, CONTEXT, max_tokens=len(dev))
    reference = gpt.windows.bigram(train, inputs, targets, VOCAB)
    return gpt.windows.Windows(inputs, targets, targets % 3 + 1, reference, train)


class Side:
    """The sandbox's side of the protocol, played by this process or by a child."""

    def __init__(self, argv):
        words = dict(pairwise(argv))
        self.rows, self.context, self.vocab, self.channel, self.memory = (
            int(words[f"--{name}"]) for name in ("rows", "context", "vocab", "channel", "memory")
        )

    def ready(self):
        for _ in range(4):
            self.say()

    def say(self):
        os.write(self.channel, b".")

    def asked(self):
        """Yield the questions: tokens int32 [rows, length], and a position of each row or None."""
        while said := os.read(self.channel, 5):
            length, alone = struct.unpack("<i?", said)
            behind = 4 * self.rows * self.context * self.vocab
            raw = os.pread(self.memory, 4 * self.rows * (length + alone), behind)
            words = np.frombuffer(raw, np.int32)
            there = self.rows * length
            yield words[:there].reshape(self.rows, length), words[there:] if alone else None

    def serve(self, forward):
        """Answer with `forward(tokens)` until the end."""
        self.ready()
        for tokens, at in self.asked():
            logits = forward(tokens).astype(np.float32)
            answer = logits if at is None else logits[np.arange(self.rows), at]
            os.pwrite(self.memory, answer.tobytes(), 0)
            self.say()


def sandbox(behave):
    """A confine in which `behave(side)` plays the sandbox; it returns why it was killed."""

    def confine(policy, argv, log):
        return Exit(0, behave(Side(argv)) or "", seconds=0.0, start=0.0, peak_mib=0.0)

    return confine


def served(make):
    """A confine whose every sandbox answers with a fresh `make()`."""
    return sandbox(lambda side: side.serve(make()))


def honest():
    """The bigram model itself."""
    table = _table()
    return lambda tokens: table[tokens]


def _expected(text):
    """The bits of each target under the bigram model, by the book, in float64."""
    logits = _table().astype(np.float64)[text.inputs]
    chosen = np.take_along_axis(logits, text.targets[..., None], axis=-1)[..., 0]
    return (np.log(np.exp(logits).sum(axis=-1)) - chosen) / math.log(2)


# --- arithmetic ---------------------------------------------------------------------------------


def test_bits_are_those_of_a_softmax_in_double_precision():
    """Within 1e-6 bits, large and small logits too, and whatever is added to a whole row."""
    random = np.random.default_rng(0)
    for scale, shift in ((1, 0), (20, 0), (1, 3000), (1e-3, -5)):
        logits = (random.normal(size=(300, 50)) * scale + shift).astype(np.float32)
        targets = random.integers(50, size=300).astype(np.int32)
        exact = logits.astype(np.float64) - shift
        want = np.log2(np.exp(exact).sum(1)) - exact[np.arange(300), targets] / math.log(2)
        assert np.abs(gpt.bits.bits(logits, targets) - want).max() < 1e-6 * max(1, abs(want).max())


def test_no_logits_buy_more_than_certainty():
    """However large, the chances of a row sum to one: no target costs less than nothing."""
    logits = np.full((3, 8), -3e38, np.float32)
    logits[:, 2] = 3e38
    assert gpt.bits.bits(logits, np.array([2, 2, 2], np.int32)).tolist() == [0, 0, 0]
    flat = np.full((1, 8), 1e30, np.float32)
    assert gpt.bits.bits(flat, np.array([5], np.int32)) == pytest.approx(3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_invalid(bad):
    """One is enough, also where no target asks for it."""
    logits = np.zeros((5, 8), np.float32)
    logits[3, 4] = bad
    with pytest.raises(InvalidError, match="not finite"):
        gpt.bits.bits(logits, np.zeros(5, np.int32))


def test_every_token_but_the_first_is_a_target_once():
    """Windows do not overlap, and a target is the token after its input."""
    inputs, targets = gpt.windows.windows(np.arange(35, dtype=np.uint16), 8, max_tokens=99)
    assert inputs.ravel().tolist() == list(range(32))
    assert targets.ravel().tolist() == list(range(1, 33))


def test_a_short_budget_scores_windows_from_all_along_the_text():
    """As many as are wanted, none twice, the first and the last quarter included."""
    inputs, targets = gpt.windows.windows(np.arange(81, dtype=np.uint16), 8, max_tokens=40)
    assert inputs[:, 0].tolist() == [0, 16, 32, 48, 64]
    assert (targets == inputs + 1).all()
    cpu, gpu = Slice("c", "cpu"), Slice("g", "cuda")
    assert gpt.windows.max_scored_tokens(Rung(2, 20), cpu) == 24_000
    assert gpt.windows.max_scored_tokens(Rung(2, 20), gpu) == 70_000
    assert gpt.windows.max_scored_tokens(Rung(12, 300), gpu) == gpt.windows.MAX_TOKENS
    assert gpt.windows.max_scored_tokens(Rung(8, 3600), cpu) == gpt.windows.MAX_TOKENS


def test_the_score_of_random_windows_errs_by_its_error():
    """Over many draws of 40 windows of a noisy text, scores spread as each one says."""
    random = np.random.default_rng(0)
    sizes = random.integers(0, 5, size=(20_000, CONTEXT)).astype(np.int32)
    hard = random.gamma(2, size=(20_000, 1))  # the tokens of one window go together
    cost = sizes * hard + random.gamma(1, size=sizes.shape)
    draws = random.integers(len(sizes), size=(1_000, 40))
    found = [gpt.bits.bits_per_byte(cost[rows], sizes[rows]) for rows in draws]
    scores, errors = np.array(found).T
    whole = np.where(sizes > 0, cost, 0).sum() / sizes.sum()
    assert scores.mean() == pytest.approx(whole, rel=0.01)
    assert scores.std() == pytest.approx(errors.mean(), rel=0.1)


def test_the_reference_is_counted_from_the_training_text(text):
    """A pair costs what its count, smoothed by the single's, says."""
    train = np.array([0, 1, 0, 1, 0, 2], np.uint16)
    pairs = np.array([[0, 2]], np.int32), np.array([[1, 0]], np.int32)
    got = 2 ** -gpt.windows.bigram(train, *pairs, vocab=3)
    prior, weight = np.array([4, 3, 2]) / 9, gpt.windows.PRIOR_TOKENS
    want = [(2 + weight * prior[1]) / (3 + weight), (0 + weight * prior[0]) / (1 + weight)]
    assert got[0] == pytest.approx(want)
    # on much text of a bigram's making it is nearly as good as its maker
    assert text.reference.mean() == pytest.approx(_expected(text).mean(), rel=0.1)


def test_threads_change_no_bit(monkeypatch):
    """However many cores there are, each position is computed alike."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(7, 500, 400)).astype(np.float32)
    targets = random.integers(400, size=(7, 500)).astype(np.int32)
    found = []
    for count in (1, 3):
        monkeypatch.setattr(gpt.bits, "usable_cores", lambda count=count: [*range(count)])
        found.append(gpt.bits.bits(logits, targets))
    assert (found[0] == found[1]).all()


# --- the score and the audit of models, honest and not ----------------------------------------


def test_the_score_is_that_of_the_forecasts(model, text):
    """Whatever order the windows were asked in, each bit lands at its own target."""
    cost, start = gpt.bits.score(model, text, served(honest), 9)
    assert np.abs(cost - _expected(text)).max() < 1e-5
    assert start >= 0


def test_questions_hold_inputs_in_an_order_of_their_own(model, text):
    """Each window comes at least once, whole, and rarely beside its neighbour."""
    seen = []

    def listen():
        answer = honest()
        return lambda tokens: seen.append(tokens) or answer(tokens)

    gpt.bits.score(model, text, served(listen), 9)
    assert {len(tokens) for tokens in seen} == {7}
    rows = [row.tobytes() for tokens in seen for row in tokens]
    numbers = {row.tobytes(): i for i, row in enumerate(text.inputs)}
    assert set(rows) == set(numbers)
    order = [numbers[row] for row in rows]
    assert sum(b - a == 1 for a, b in pairwise(order)) < WINDOWS / 10


def _attends():
    """Causal, and more than a bigram: the mean of all logits so far joins in."""
    table = _table()

    def forward(tokens):
        logits = table[tokens]
        past = logits.cumsum(axis=1) / np.arange(1, tokens.shape[1] + 1)[:, None]
        return logits + 0.1 * past

    return forward


def _rounds():
    """Honest, on a device that never sums twice in the same order."""
    table, random = _table(), np.random.default_rng()
    return lambda tokens: table[tokens] + random.normal(size=(*tokens.shape, VOCAB)) * 5e-5


@pytest.mark.parametrize("make", [honest, _attends, _rounds])
def test_an_honest_model_passes_its_audit(model, text, make):
    """No answer differs, and what was gained by peeking is nothing."""
    cost, _ = gpt.bits.score(model, text, served(make), 9)
    found = gpt.audit.audit(model, text, cost, served(make), 9)
    assert found.positions > 450
    assert abs(found.hidden_gain) < 1e-4


def _peek(where, strength=3.0):
    def make():
        table = _table()

        def forward(tokens):
            logits = table[tokens]
            following = np.eye(VOCAB)[np.roll(tokens, -1, axis=1)] * strength
            there = where(np.arange(tokens.shape[1]))[:, None]
            return logits + following * there

        return forward

    return make


def _other_rows():
    table = _table()
    return lambda tokens: table[tokens] + 0.1 * table[tokens].mean(axis=(0, 1))


def _remembers():
    table, counts = _table(), np.zeros((VOCAB, VOCAB))

    def forward(tokens):
        logits = table[tokens] + 0.1 * np.log1p(counts[tokens])
        np.add.at(counts, (tokens[:, :-1], tokens[:, 1:]), 1)
        return logits

    return forward


def _rolls_dice():
    table, random = _table(), np.random.default_rng()
    return lambda tokens: table[tokens] + random.normal(size=(*tokens.shape, VOCAB)) * 0.1


def _knows_its_place():
    table = _table()
    return lambda tokens: table[tokens] + np.eye(VOCAB)[np.arange(len(tokens))][:, None] * 0.1


CHEATS = {
    "everywhere": _peek(lambda t: t >= 0),
    "inside blocks of four": _peek(lambda t: t % 4 < 3),
    "in the tail": _peek(lambda t: t >= CONTEXT - 3),
    "at one place": _peek(lambda t: t == 5),
    "everywhere, but hardly": _peek(lambda t: t >= 0, strength=3e-4),
    "at other rows": _other_rows,
    "back at other batches": _remembers,
    "at dice": _rolls_dice,
    "at its row's number": _knows_its_place,
}


@pytest.mark.parametrize("make", CHEATS.values(), ids=CHEATS.keys())
def test_a_model_that_looks_elsewhere_is_invalid(model, text, make):
    """Whatever but its own prefix a forecast is made of, the audit finds it."""
    cost, _ = gpt.bits.score(model, text, served(make), 9)
    with pytest.raises(InvalidError, match=r"its model uses more than the tokens before$"):
        gpt.audit.audit(model, text, cost, served(make), 9)


def test_the_audit_sandbox_never_saw_what_it_must_forecast(text):
    """No earlier question, nor this one, holds the window beyond the position that is asked."""
    random = np.random.default_rng(0)
    spots = np.concatenate(gpt.audit.choose(np.ones(text.targets.shape), SCREENING_AUDIT, random))
    shown = np.zeros(WINDOWS, int)
    asked = 0
    for batch in gpt.audit.arrange(spots, CONTEXT, rows=7):
        window, at = np.divmod(batch, CONTEXT)
        assert len(set(window)) == len(window) <= 7
        assert (shown[window] <= at).all()
        shown[window] = at + 1
        asked += len(batch)
        put = gpt.audit.question(batch, text, 7, random)
        tokens = put.tokens
        assert tokens.shape[1] == max(at) + 1
        assert put.at[: len(at)].tolist() == at.tolist()
        assert max(put.at) <= max(at)
        for row, (w, t) in enumerate(zip(window, at, strict=True)):
            assert tokens[row, : t + 1].tolist() == text.inputs[w, : t + 1].tolist()
    assert asked == len(set(spots))


def test_what_follows_an_audited_prefix_is_training_text(text):
    """The rest of a row, and rows that hold no prefix, are windows of the training text."""
    random = np.random.default_rng(0)
    spot = np.array([CONTEXT * 9 + 2])
    tokens = gpt.audit.question(spot, text, 7, random).tokens
    train = text.train.astype(np.int32)
    windows = np.lib.stride_tricks.sliding_window_view(train, tokens.shape[1])
    assert (windows[:, 3:] == tokens[0, 3:]).all(axis=1).any()
    assert all((windows == row).all(axis=1).any() for row in tokens[1:])


def test_a_sharp_audit_meets_what_a_screening_may_miss(model, text):
    """Of 6,400 forecasts 40 change: a screening misses them one time in five, a sharp one never."""
    full = replace(model, trial=replace(model.trial, audit=FULL_AUDIT))
    cost, _ = gpt.bits.score(model, text, served(honest), 9)
    assert gpt.audit.audit(full, text, cost, served(honest), 9).positions > 3_000
    cost[:40, 3] += 0.01
    with pytest.raises(InvalidError, match=r"of 3[0-9]{3} audited forecasts change"):
        gpt.audit.audit(full, text, cost, served(honest), 9)


def test_half_of_an_audit_goes_where_a_peek_would_pay(text):
    """Positions of great gain are asked more often than their share."""
    gain = np.zeros(text.targets.shape)
    gain[:, 5] = 4.0
    uniform, keen = gpt.audit.choose(gain, SCREENING_AUDIT, np.random.default_rng(0))
    assert len(uniform) == len(keen) == SCREENING_AUDIT // 2
    assert (keen % CONTEXT == 5).all()
    assert (uniform % CONTEXT == 5).mean() < 0.2


# --- sandboxes that break the protocol --------------------------------------------------------


def _ends_after(steps):
    def behave(side):
        for _ in range(steps):
            side.say()

    return behave


def _dies_unasked(side):
    """Answer before it is asked, and end once it is: what it was told is never read."""
    side.ready()
    side.say()
    select.select([side.channel], [], [])


def _answers_once(side):
    side.ready()
    next(side.asked())
    side.say()


def _fills(value):
    return lambda: lambda tokens: np.full((*tokens.shape, VOCAB), value)


def _descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


ENDINGS = {
    "not imported": (_ends_after(1), "entry file could not be imported"),
    "not built": (_ends_after(2), "build[(][)] failed"),
    "not loaded": (_ends_after(3), "do not fit what build"),
    "failed at once": (_ends_after(4), "forward must take int64 tokens"),
    "failed later": (_answers_once, "forward must take int64 tokens"),
    "failed unasked": (_dies_unasked, "forward must take int64 tokens"),
    "hung": (lambda side: side.say() or "deadline", "took more than 9 s"),
    "too large": (lambda side: side.say() or "memory", "held more than 4096 MiB"),
    "nan": (lambda side: side.serve(_fills(np.nan)()), "not finite"),
    "infinity": (lambda side: side.serve(_fills(np.inf)()), "not finite"),
}


@pytest.mark.parametrize(("behave", "reason"), ENDINGS.values(), ids=ENDINGS.keys())
def test_a_sandbox_that_does_not_answer_is_invalid_and_the_reason_is_one_line(
    model, text, behave, reason
):
    """The reason says how far it came, and quotes nothing that the sandbox printed."""
    descriptors = _descriptors()
    with pytest.raises(InvalidError, match=reason) as caught:
        gpt.bits.score(model, text, sandbox(behave), 9)
    assert "\n" not in str(caught.value)
    assert _descriptors() == descriptors


def test_a_harness_that_fails_is_not_the_candidates_fault(model, text):
    """What confine raises comes through."""

    def confine(policy, argv, log):
        raise HarnessError("no processes left")

    with pytest.raises(HarnessError, match="no processes left"):
        gpt.bits.score(model, text, confine, 9)


@pytest.mark.parametrize("killed", ["", "deadline", "memory"])
def test_a_sandbox_that_ends_before_the_genome_is_not_the_candidates_fault(model, text, killed):
    """Whatever it died of: nothing of the candidate had run."""
    with pytest.raises(HarnessError, match="ended before it could import torch"):
        gpt.bits.score(model, text, sandbox(lambda side: killed), 9)


def test_the_size_of_the_shared_memory_is_sealed(model, text):
    """A sandbox can neither shrink nor grow the memory that answers are read from."""
    refused = []

    def behave(side):
        size = os.fstat(side.memory).st_size
        for wanted in (0, size - 1, size + 1):
            with pytest.raises(PermissionError):
                os.truncate(side.memory, wanted)
            refused.append(wanted)
        side.serve(honest())

    gpt.bits.score(model, text, sandbox(behave), 9)
    assert len(refused) == 3


def test_a_file_in_the_place_of_sealed_memory_may_be_cut_without_harm(model, text, monkeypatch):
    """Where memory cannot be sealed a short answer is invalid, and reading it never faults."""
    monkeypatch.setattr(gpt.logits.sys, "platform", "darwin")

    def behave(side):
        side.ready()
        next(side.asked())
        os.truncate(side.memory, 5)
        side.say()

    with pytest.raises(InvalidError, match="truncated the memory"):
        gpt.bits.score(model, text, sandbox(behave), 9)


HOSTILE = {
    "hangs": (
        "import time; os.write(int(argv['--channel']), b'.'); time.sleep(60)",
        "took more than 1 s",
    ),
    "kills itself": (
        "os.write(int(argv['--channel']), b'.'); os.kill(os.getpid(), 9)",
        "could not be imported",
    ),
    "closes the channel, then hangs": (
        "import time; c = int(argv['--channel']); os.write(c, b'.'); os.close(c); time.sleep(60)",
        "took more than 1 s",
    ),
}


@pytest.mark.sandbox
@pytest.mark.parametrize(("program", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_sandbox_is_ended_and_invalid(model, text, program, reason):
    """In the real sandbox: dead at its deadline, and one line said of it."""
    with pytest.raises(InvalidError, match=reason):
        gpt.bits.score(model, text, _runs(program), 1)


def _runs(program):
    """A confine whose sandbox runs `program`, which knows the true command line as `argv`."""

    def confine(policy, argv, log):
        words = dict(pairwise(argv))
        line = [sys.executable, "-I", "-S", "-c", f"import os\nargv = {words}\n{program}"]
        return run(replace(policy, seconds=1.0), line, log)

    return confine


_DEED = (
    st.tuples(st.just("say"), st.integers(1, 70).map(lambda n: b"." * n) | st.binary(max_size=9))
    | st.tuples(st.just("listen"), st.integers(1, 40))
    | st.tuples(st.just("write"), st.binary(max_size=64), st.integers(0, 7 * CONTEXT * VOCAB * 4))
    | st.tuples(st.just("cut"), st.integers(0, 1 << 20))
    | st.tuples(st.just("fill"), st.integers(0, 2**32 - 1))
)


def _does(deeds):
    """A sandbox that takes the given actions and ends; it ignores what is refused."""

    def behave(side):
        side.say()  # the runner's own report, before any code of the candidate runs
        os.set_blocking(side.channel, False)
        whole = side.rows * side.context * side.vocab
        for deed, *what in deeds:
            with suppress(OSError):
                if deed == "say":
                    os.write(side.channel, what[0])
                elif deed == "listen":
                    os.read(side.channel, what[0])
                elif deed == "write":
                    os.pwrite(side.memory, *what)
                elif deed == "cut":
                    os.truncate(side.memory, what[0])
                else:
                    os.pwrite(side.memory, np.full(whole, what[0], np.uint32).tobytes(), 0)

    return behave


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_DEED, max_size=12))
def test_whatever_a_sandbox_does_its_model_has_finite_costs_or_is_invalid(model, text, deeds):
    """Any bytes on the channel and in the memory: no other error, and one line."""
    try:
        cost, _ = gpt.bits.score(model, beginning(text, 30), sandbox(_does(deeds)), 9)
    except InvalidError as error:
        cost, said = np.zeros(1), str(error)
    else:
        said = ""
    assert np.isfinite(cost).all() and (cost >= 0).all()
    assert "\n" not in said


def beginning(text, count):
    """The first windows of a text."""
    return replace(
        text,
        inputs=text.inputs[:count],
        targets=text.targets[:count],
        sizes=text.sizes[:count],
        reference=text.reference[:count],
    )


@given(st.binary(min_size=4 * VOCAB, max_size=4 * VOCAB), st.integers(0, VOCAB - 1))
def test_any_bytes_are_logits_that_cost_something_or_invalid(raw, target):
    """Not a number, infinity and what overflows are refused or count as what they say."""
    logits = np.frombuffer(raw, np.float32)[None]
    try:
        cost = gpt.bits.bits(logits, np.array([target], np.int32))
    except InvalidError:
        assert not np.isfinite(logits).all()
    else:
        assert np.isfinite(logits).all()
        assert np.isfinite(cost).all() and (cost >= 0).all()


@pytest.mark.sandbox
def test_a_sandbox_that_says_yes_to_everything_gains_nothing(model, text):
    """It is taken at its word: what stood in the memory, all zeros, forecasts nothing."""
    flood = "while True: os.write(int(argv['--channel']), b'.' * 65536)"
    cost, _ = gpt.bits.score(model, text, _runs(flood), 1)
    assert (cost == math.log2(VOCAB)).all()


# --- weights ----------------------------------------------------------------------------------


def _file(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def _tensor(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


PAIR = {"b": _tensor([3], 24, 36), "a": _tensor([2, 3], 0, 24)}


def test_parameters_are_counted(tmp_path):
    """The elements of all tensors, in whatever order the header names them."""
    (tmp_path / "w").write_bytes(_file(PAIR, bytes(36)))
    assert count_parameters(tmp_path / "w") == 9
    (tmp_path / "w").write_bytes(_file({}))
    assert count_parameters(tmp_path / "w") == 0


BROKEN = {
    "empty": b"",
    "a pickle": pickle.dumps({"weights": [1.0] * 40}),
    "an archive": b"PK\x03\x04" + bytes(40),
    "a header beyond the file": struct.pack("<Q", 1 << 40) + b"{}",
    "a header beyond the bound": _file(b"{}" + b" " * MAX_HEADER_BYTES),
    "not JSON": _file(b"{"),
    "a list": _file([]),
    "nested too deep": _file(b"[" * 100_000),
    "nested too deep inside": _file(b'{"a":' * 100_000),
    "a shape nested too deep": _file(b'{"a":{"shape":' + b"[" * 100_000),
    "two in one place": _file({"a": _tensor([2], 0, 8), "b": _tensor([2], 0, 8)}, bytes(8)),
    "a header of nothing": struct.pack("<Q", 0),
    "a header longer than numbers": b"\xff" * 8 + b"{}",
    "a gap": _file({"a": _tensor([1], 4, 8)}, bytes(8)),
    "an overlap": _file({"a": _tensor([2], 0, 8), "b": _tensor([2], 4, 12)}, bytes(12)),
    "too short": _file(PAIR, bytes(35)),
    "too long": _file(PAIR, bytes(37)),
    "a wrong size": _file({"a": _tensor([3], 0, 8)}, bytes(8)),
    "a negative shape": _file({"a": _tensor([-1, -2], 0, 8)}, bytes(8)),
    "a huge shape": _file({"a": _tensor([1 << 62, 4], 0, 0)}),
    "many dimensions": _file({"a": _tensor([1] * 9, 0, 4)}, bytes(4)),
    "a fraction": _file({"a": _tensor([1.5], 0, 6)}, bytes(6)),
    "a truth": _file({"a": _tensor([True], 0, 4)}, bytes(4)),
    "an unknown type": _file({"a": _tensor([1], 0, 4, "F31")}, bytes(4)),
    "more keys": _file({"a": _tensor([1], 0, 4) | {"x": 1}}, bytes(4)),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_weights_that_are_not_safetensors_are_invalid(tmp_path, raw):
    """Nothing else comes out, whatever is in the file."""
    (tmp_path / "w").write_bytes(raw)
    with pytest.raises(InvalidError, match=r"^its weights are no safetensors file: "):
        count_parameters(tmp_path / "w")


_NUMBER = st.integers(-2, 40) | st.integers() | st.floats(allow_nan=False) | st.booleans()
_TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8", "BOOL", "F31", ""]),
        "shape": st.lists(_NUMBER, max_size=3),
        "data_offsets": st.lists(_NUMBER, min_size=1, max_size=3),
    }
)
_FILES = st.binary(max_size=200) | st.builds(
    _file, st.dictionaries(st.text(max_size=3), _TENSOR, max_size=3), st.binary(max_size=60)
)


def _doubled(members, data):
    """A file whose header may name a tensor more than once."""
    header = ",".join(f"{json.dumps(name)}:{json.dumps(tensor)}" for name, tensor in members)
    return _file(f"{{{header}}}".encode(), data)


_PLACED = st.builds(_tensor, st.just([2]), st.sampled_from([0, 8]), st.sampled_from([8, 16]))
_DOUBLED = st.builds(
    _doubled,
    st.lists(st.tuples(st.sampled_from("ab"), _PLACED), max_size=3),
    st.sampled_from([b"", bytes(8), bytes(16)]),
)


@given(raw=_FILES | _DOUBLED)
def test_any_bytes_are_a_count_or_invalid(tmp_path_factory, raw):
    """And what we let through the library reads as well, with as many elements."""
    path = tmp_path_factory.getbasetemp() / "w"
    path.write_bytes(raw)
    try:
        count = count_parameters(path)
    except InvalidError:
        return
    tensors = safetensors.deserialize(raw)
    assert count == sum(math.prod(tensor["shape"]) for _, tensor in tensors)


@given(st.lists(st.tuples(st.sampled_from("fdeiB?"), st.lists(st.integers(0, 4), max_size=8))))
def test_what_the_library_writes_is_let_in(tmp_path_factory, wanted):
    """Every set of tensors of up to eight dimensions."""
    path = tmp_path_factory.getbasetemp() / "w"
    save_file({str(i): np.zeros(shape, kind) for i, (kind, shape) in enumerate(wanted)}, path)
    assert count_parameters(path) == sum(math.prod(shape) for _, shape in wanted)


# --- end to end -------------------------------------------------------------------------------

SHORT = """
from types import SimpleNamespace
from time import monotonic
import train as seed
from train import build

def train(trial):
    fields = {name: getattr(trial, name) for name in seed.Trial.__annotations__}
    return seed.train(SimpleNamespace(**fields | {"deadline": monotonic() + 1.5}))
"""


@pytest.fixture(scope="module")
def kjv(tmp_path_factory):
    """The real corpus, prepared in a cache of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWARM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield TASK.prepare("kjv")


@pytest.mark.sandbox
def test_the_seed_is_trained_and_scored_end_to_end(trial, kjv):
    """A second and a half of training in the real sandbox beats every forecast without a model."""
    (Path(trial.genome) / "short.py").write_text(SHORT)
    with Zygote(trial.slice) as warm:
        outcome = measure(replace(trial, entry="short.py"), partial(run, source=warm), "h")
    assert outcome.failure is None
    assert 1.5 < outcome.score < 3.2
    assert outcome.facts["parameters"] > 10_000
    assert outcome.facts["scored_tokens"] > 40_000
    assert outcome.facts["audited"] > 450
    assert 0.001 < outcome.facts["score_error"] < 0.05
    assert outcome.split == "dev"
    assert abs(outcome.facts["hidden_gain"]) < 1e-3
    assert outcome.claims["steps"] > 0
    assert {"score_start", "score", "audit"} < set(outcome.seconds)


def test_each_part_is_another_text(kjv):
    """As many tokens of each, the same ones every time, and next to none in common."""
    corpus = data.open_corpus("kjv")
    texts = [gpt.windows.held_text("kjv", corpus.digest, split, 24_000) for split in TASK.splits]
    assert {text.inputs.shape for text in texts} == {(187, 128)}
    rows = [{row.tobytes() for row in text.inputs} for text in texts]
    assert not set.intersection(*rows)
    gpt.windows.held_text.cache_clear()
    again = gpt.windows.held_text("kjv", corpus.digest, "sealed", 24_000)
    assert (again.inputs == texts[2].inputs).all()


@pytest.mark.parametrize("wrote", [None, b"junk"])
def test_what_was_left_must_be_weights(trial, tmp_path, wrote):
    """A genome that leaves no weights, or another file, is invalid before any sandbox starts."""
    (tmp_path / "w").write_bytes(wrote or b"")
    left = {} if wrote is None else {WEIGHTS: tmp_path / "w"}
    with pytest.raises(InvalidError, match=r"^it left no weights|^its weights are no safetensors"):
        TASK.score(left, trial, confine=None)


def test_the_training_sandbox_holds_no_held_out_text(trial, kjv):
    """It is bound the training tokens, and told a deadline before the end of its budget."""
    request = TASK.sandbox_request(trial)
    assert [path.name for path in request.read.values()] == ["train.u16"]
    words = dict(pairwise(request.args))
    assert 0 < float(words["--deadline"]) - time.monotonic() < trial.rung.seconds
