"""The task `packing`: valid and invalid packings, and the score of the seed genome."""

import json
import math
import os
import runpy
import time
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from harness.contract import Rung, SetupError, Slice, Trial
from harness.sandbox import Exit, run
from harness.tasks.base import GenomeRun, InvalidError
from harness.tasks.packing import MAX_RESULT_BYTES, RESULT, TASK, TOLERANCE, Packing, parse, verify
from harness.trial import measure

SEED = Path(__file__).parents[2] / "islands" / "seeds" / "packing" / "pack.py"
ENDED = Exit(0, "", 0.0, 0.0, 0.0)
CORE = min(os.sched_getaffinity(0))
GRID = [[0.1 + 0.2 * (n % 5), 0.1 + 0.2 * (n // 5), 0.09] for n in range(25)]
HONEST = [*GRID, [0.2, 0.2, 0.02]]


def trial_of(genome="/genome", scratch="/scratch", seconds=20.0):
    """Return a trial of the genome's folder."""
    return Trial(
        id="t1",
        task="packing",
        data="none",
        commit="c",
        seed=1,
        rung=Rung(depth=1, seconds=seconds, memory_mib=1024),
        slice=Slice("cpu0", "cpu", (CORE,)),
        genome=str(genome),
        entry="pack.py",
        scratch=str(scratch),
    )


def never(policy, argv, log):
    """Confine nothing: this task runs nothing of the candidate's to score it."""
    raise AssertionError("nothing may be run")


def score(tmp_path, raw):
    """Score the bytes `raw` as a candidate's result."""
    path = tmp_path / RESULT
    path.write_bytes(raw)
    return TASK.score(GenomeRun({RESULT: path}, path, ENDED), trial_of(), never)


def with_last(*last):
    """Return the honest packing with another last circle, as JSON."""
    return json.dumps([*GRID, list(last)]).encode()


def test_a_packing_scores_the_sum_of_its_radii(tmp_path):
    """The sum is the harness's own, rounded once."""
    scored = score(tmp_path, json.dumps(HONEST).encode())
    assert scored.score == float(sum(Fraction(r) for _, _, r in HONEST))
    assert scored.score == pytest.approx(25 * 0.09 + 0.02)
    assert scored.facts == {"smallest_radius": 0.02, "largest_radius": 0.09}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "circles.json is not JSON"),
        (b"\xff\xfe", "circles.json is not JSON"),
        (b"[" * 10_000, "circles.json is not JSON"),
        (b" " * (MAX_RESULT_BYTES + 1), "circles.json has more than 16384 bytes"),
        (b"7", "26 circles are needed, no list of were returned"),
        (json.dumps(GRID).encode(), "26 circles are needed, 25 were returned"),
        (json.dumps([*HONEST, [0.4, 0.4, 0.01]]).encode(), "26 circles are needed, 27 were"),
        (json.dumps({"0": HONEST}).encode(), "26 circles are needed, no list of"),
        (with_last(0.2, 0.2), "circle 25 is not three numbers x, y, r"),
        (with_last(0.2, 0.2, 0.01, 0.01), "circle 25 is not three numbers"),
        (with_last(0.2, 0.2, "0.01"), "circle 25 is not three numbers"),
        (with_last(0.2, 0.2, [0.01]), "circle 25 is not three numbers"),
        (with_last(0.2, 0.2, None), "circle 25 is not three numbers"),
        (with_last(0.2, 0.2, True), "circle 25 is not three numbers"),
        (with_last(0.2, 0.2, math.nan), "circle 25 has a number that is not finite"),
        (with_last(0.2, -math.inf, 0.01), "circle 25 has a number that is not finite"),
        (with_last(0.2, 0.2, 0).replace(b"0]]", b"1e999]]"), "circle 25 has a number that is not"),
        (with_last(0.2, 0.2, 10**400), "circle 25 has a number that is not finite"),
        (
            with_last(0.2, 0.2, 7).replace(b"7]", b"7" * 5000 + b"]"),
            "circle 25 has a number that is not finite",
        ),
        (with_last(0.2, 0.2, 0), "circle 25 has radius 0, not above 0"),
        (with_last(0.2, 0.2, -5.0), "circle 25 has radius -5, not above 0"),
        (with_last(0.0, 0.2, 0.02), "circle 25 crosses the border by 0.02"),
        (with_last(0.2, 0.2, 1e308), "circle 25 crosses the border by 1e+308"),
        (with_last(1e308, 0.2, 1e308), "circle 25 has its centre outside the unit square"),
        (with_last(0.5, 0.5, 0.5), "circles 12 and 25 overlap by 0.59 (25 pairs overlap)"),
        (with_last(*GRID[3]), "circles 3 and 25 overlap by 0.18"),
        (with_last(0.19, 0.19, 0.04), "circles 0 and 25 overlap by 0.00272"),
    ],
)
def test_what_is_no_packing_is_invalid_in_one_line(tmp_path, raw, reason):
    """The reason names the defect: count, type, value, border or overlap."""
    with pytest.raises(InvalidError) as raised:
        score(tmp_path, raw)
    assert str(raised.value).startswith(reason)
    assert "\n" not in str(raised.value)


def test_no_result_is_invalid():
    """A genome that leaves nothing gets a reason that says what to leave."""
    with pytest.raises(InvalidError, match=r"no circles\.json: pack"):
        TASK.score(GenomeRun({}, Path(), ENDED), trial_of(), never)


@pytest.mark.parametrize(("excess", "passes"), [(0.0, True), (0.9e-12, True), (1.1e-12, False)])
def test_overlap_and_border_are_held_to_the_tolerance(excess, passes):
    """A trillionth passes, a tenth of it more does not, whatever the rounding of a square root."""
    touching = [[0.25, 0.25, 0.25], [0.25 + 0.3, 0.25 + 0.4, 0.25 + excess]]
    at_border = [[0.5, 0.125, 0.125 + excess]]
    for placed in (touching, at_border):
        rest = [[0.9 + n / 1000, 0.02, 1e-9] for n in range(26 - len(placed))]
        circles = parse(json.dumps(placed + rest).encode())
        if passes:
            verify(circles)
        else:
            with pytest.raises(InvalidError):
                verify(circles)


NUMBERS = st.floats() | st.integers() | st.sampled_from([0.5, 1e-12, 1e-300, True, None, "0.5"])
TRIPLES = st.lists(NUMBERS, min_size=3, max_size=3)


JSON = st.recursive(
    NUMBERS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
)
RESULTS = st.lists(TRIPLES, min_size=26, max_size=26) | st.lists(JSON, min_size=26, max_size=26)


@given(st.binary(max_size=200) | (RESULTS | JSON).map(json.dumps))
def test_any_result_is_circles_or_invalid(raw):
    """Nothing but InvalidError comes out, whatever is written."""
    try:
        circles = parse(raw.encode() if isinstance(raw, str) else raw)
        verify(circles)
    except InvalidError as error:
        reason = str(error)
    else:
        reason = ""
        assert len(circles) == 26
    assert "\n" not in reason


NUDGES = st.lists(st.floats(-1.5e-12, 1.5e-12), min_size=78, max_size=78)


@given(NUDGES, st.sampled_from([1, 0.4, 0.1]))
def test_what_passes_is_a_true_packing_once_radii_lose_the_tolerance(nudges, strength):
    """The tolerance buys no more than itself for each radius, in exact arithmetic."""
    touching = [*([x, y, 0.1] for x, y, _ in GRID), [0.2, 0.2, 0.1 * 2**0.5 - 0.1]]
    nudged = np.array(touching) + strength * np.reshape(nudges, (26, 3))
    circles = parse(json.dumps(nudged.tolist()).encode())
    try:
        verify(circles)
    except InvalidError:
        reject()
    for circle in circles:
        r = circle.r - TOLERANCE
        assert min(circle.x, circle.y, 1 - circle.x, 1 - circle.y) >= r
    for one, other in combinations(circles, 2):
        reach = one.r + other.r - 2 * TOLERANCE
        assert reach <= 0 or (one.x - other.x) ** 2 + (one.y - other.y) ** 2 >= reach**2


def test_the_problem_is_its_own_data():
    """Its digest is the statement's; a corpus is refused with the fix."""
    assert TASK.prepare("none") == Packing().prepare("none")
    assert len(TASK.prepare("none")) == 64
    with pytest.raises(SetupError, match="write `data: none`"):
        TASK.prepare("kjv")


def test_a_candidate_gets_a_deadline_within_its_budget():
    """The deadline leaves time to write and to end, and half of a very short budget."""
    for seconds, usable in ((20.0, 19.5), (0.6, 0.3)):
        request = TASK.sandbox_request(trial_of(seconds=seconds))
        assert request.args[:2] == ("/genome/pack.py", "1")
        assert float(request.args[2]) == pytest.approx(usable)


@pytest.fixture
def genome(tmp_path):
    """A folder with the seed genome, and a way to measure what is in it."""
    folder = tmp_path / "genome"
    folder.mkdir()
    (folder / "pack.py").write_bytes(SEED.read_bytes())
    (tmp_path / "scratch").mkdir()
    return folder


def measured(genome):
    """Measure the genome in a real sandbox, with time enough on a busy machine."""
    return measure(trial_of(genome, genome.parent / "scratch", seconds=60.0), run, "h")


@pytest.mark.sandbox
def test_the_seed_scores_in_a_sandbox_and_the_same_again(genome):
    """Naive, honest, and fixed by its seed."""
    first, second = measured(genome), measured(genome)
    assert first.failure is None
    assert 2.3 < first.score < 2.5
    assert second.score == first.score


@pytest.mark.sandbox
def test_a_candidate_that_breaks_the_rules_fails_with_its_reason(genome):
    """What pack returns is verified outside; what it raises is the trial's end."""
    pack = genome / "pack.py"
    pack.write_text("def pack(seed, deadline):\n    return [(0.5, 0.5, 0.5)] * 26\n")
    failure = measured(genome).failure
    assert (failure.kind, failure.reason.split(" (")[0]) == (
        "invalid",
        "circles 24 and 25 overlap by 1",
    )
    pack.write_text("def pack(seed, deadline):\n    return None\n")
    failure = measured(genome).failure
    assert failure.kind == "crash"
    assert "TypeError" in failure.reason


@pytest.mark.sandbox
def test_a_candidate_may_come_in_several_files(genome):
    """The entry imports what lies beside it."""
    (genome / "circles.py").write_text(f"CIRCLES = {HONEST}\n")
    (genome / "pack.py").write_text("from circles import CIRCLES\npack = lambda *_: CIRCLES\n")
    assert measured(genome).score == pytest.approx(2.27)


def test_two_knobs_lead_from_the_seed_beyond_2_60(tmp_path):
    """There is something to find: pushes that harden, and more momentum."""
    text = SEED.read_text()
    for old, new in (("HARDEN = 1.0", "HARDEN = 10.0"), ("MOMENTUM = 0.5", "MOMENTUM = 0.9")):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "pack.py").write_text(text)
    pack = runpy.run_path(str(tmp_path / "pack.py"))["pack"]
    circles = pack(1, math.inf)
    verify(parse(json.dumps(circles).encode()))
    assert sum(r for *_, r in circles) > 2.6


def test_the_deadline_ends_a_pack_that_could_go_on(tmp_path):
    """At its deadline the seed returns circles that fit; its million rounds would take hours."""
    text = SEED.read_text().replace("ROUNDS = 1\n", "ROUNDS = 1000000\n")
    (tmp_path / "pack.py").write_text(text)
    pack = runpy.run_path(str(tmp_path / "pack.py"))["pack"]
    verify(parse(json.dumps(pack(1, time.monotonic() - 1)).encode()))
    verify(parse(json.dumps(pack(1, time.monotonic() + 0.5)).encode()))
