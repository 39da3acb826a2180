"""A range of commits, made by anybody: which changes are real, and whether they add up."""

import json
import math
import re
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import SetupError
from islands.records import Gain, summed
from swarm.results.commit_range import _judge, read_claims
from swarm.results.pair_bench import Pair, paired_gain
from swarm.results.remeasure import Remeasurement
from tests.support.target import git, packing, swarm

GENOME = "genome/pack.py"


def commit(repo, knob, value, message):
    """Set a knob of the packing genome and commit it; return the commit."""
    path = repo / GENOME
    path.write_text(re.sub(rf"(?m)^{knob} = .*$", f"{knob} = {value}", path.read_text()))
    git(repo, "commit", "-qam", message)
    return git(repo, "rev-parse", "HEAD")


@pytest.mark.sandbox
def test_a_night_of_somebody_else_is_measured_commit_by_commit(tmp_path):
    """A real gain, a change that does nothing, one that breaks; README edits are left out."""
    repo = packing(tmp_path, seconds=3.0, islands=1)
    start = git(repo, "rev-parse", "HEAD")
    better = commit(repo, "HARDEN", "7.0", "Push harder")
    (repo / "README.md").write_text("words\n")
    git(repo, "add", "README.md")
    git(repo, "commit", "-qm", "Words")
    path = repo / GENOME
    path.write_text(path.read_text() + "# a comment\n")
    git(repo, "commit", "-qam", "A comment")
    comment = git(repo, "rev-parse", "HEAD")
    claims = tmp_path / "results.tsv"
    rows = [("base", "2.4", "keep"), (better[:7], "2.6", "keep"), (comment[:7], "2.7", "discard")]
    rows.append(("c0ffee1", "2.8", "keep"))
    lines = ["commit\tscore\tstatus\tdescription", *("\t".join([*row, "x"]) for row in rows)]
    claims.write_text("\n".join(lines) + "\n")
    span = (f"{start}..HEAD", "--seeds", "3")
    found = json.loads(swarm(repo, "measure", *span, "--claimed", str(claims), "--json"))
    steps = {step["commit"]: step for step in found["steps"]}
    assert list(steps) == [better, comment]
    assert steps[better]["judgement"] == "real"
    assert math.isclose(steps[better]["claimed"], 0.2, abs_tol=1e-9)
    assert steps[comment]["claimed"] is None
    assert abs(steps[comment]["gain"]["mean"]) < 0.05
    assert found["skipped"] == 1
    assert found["strangers"] == 1
    assert math.isclose(found["whole"]["mean"], found["total"]["mean"], abs_tol=0.05)
    assert not (repo / ".swarm/run1").exists()
    assert "range" in swarm(repo, "measure", span[0], "--kept", code=2)
    assert "OLD..NEW" in swarm(repo, "measure", "..HEAD", code=2)
    assert "no commit in it changes" in swarm(repo, "measure", "HEAD..HEAD", code=2)


def pairs(*gains):
    """Return pairs with these gains."""
    return [Pair(seed, 0.0, gain, gain) for seed, gain in enumerate(gains)]


def test_a_gain_is_judged_by_its_chance_of_being_none():
    """Student's t on the pairs: 0.05 of either sign; one failed side fails the step."""
    assert _judge(paired_gain(pairs(1.0, 1.1, 0.9))) == "real"
    assert _judge(paired_gain(pairs(-1.0, -1.1, -0.9))) == "worse"
    assert _judge(paired_gain(pairs(1.0, -1.0, 0.1))) == "unclear"
    assert _judge(paired_gain(pairs(1.0))) == "unclear"
    assert paired_gain([*pairs(1.0), SetupError("no score")]) is None
    assert paired_gain(pairs(0.0, 0.0)) == Gain(0.0, 0.0, 2, 0.5)
    # t = 2 / (1 / sqrt 3) = 3.4641, two degrees of freedom
    known = paired_gain(pairs(1.0, 2.0, 3.0))
    assert math.isclose(known.lfsr, 0.0370901, abs_tol=1e-6)


@given(st.binary(max_size=300))
def test_any_claims_file_is_read_or_refused_in_one_line(tmp_path_factory, data):
    """Never a traceback: claims, or one line that names the file."""
    path = tmp_path_factory.mktemp("claims") / "results.tsv"
    path.write_bytes(data)
    read, refusal = {}, f"--claimed {path}: one line"
    try:
        read = read_claims(path, "minimize")
    except SetupError as error:
        refusal = str(error)
    assert refusal.startswith(f"--claimed {path}: ")
    assert "\n" not in refusal
    assert all(math.isfinite(gain) for gain in read.values())


@pytest.mark.parametrize("columns", [*permutations(["commit", "val_bpb", "status"])])
def test_the_metric_is_the_column_that_is_none_of_the_others(tmp_path, columns):
    """Wherever it stands."""
    path, row = tmp_path / "results.tsv", {"commit": "bea057b", "val_bpb": "0.98", "status": "keep"}
    first = row | {"commit": "187e419", "val_bpb": "0.99"}
    lines = [columns, *([one[name] for name in columns] for one in (first, row))]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    assert read_claims(path, "minimize") == pytest.approx({"bea057b": 0.01})


def test_claims_are_gains_over_the_row_kept_before(tmp_path):
    """As autoresearch writes them: discarded rows are no step; a lower score is a gain."""
    path = tmp_path / "results.tsv"
    path.write_text(
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
        "baseline\t0.99\t44.0\tkeep\tbaseline\nbea057b\t0.98\t43.9\tkeep\thalve\n"
        "187e419\t0.97\t60.2\tdiscard\twarmup\n7f2a65c\t0.975\t60.2\tkeep\tdepth\n"
    )
    found = read_claims(path, "minimize")
    assert list(found) == ["bea057b", "7f2a65c"]
    assert found == pytest.approx({"bea057b": 0.01, "7f2a65c": 0.005})


def test_gains_of_unknown_noise_have_a_sum_of_unknown_sign():
    """One pair tells nothing of its noise, nor does a sum with it in it: an even chance."""
    one, known = paired_gain(pairs(152.5)), paired_gain(pairs(1.0, 2.0, 3.0))
    assert one == Gain(152.5, math.inf, 1, 0.5)
    assert summed([one]) == one
    assert summed([known, one]) == Gain(154.5, math.inf, 4, 0.5)
    again = Remeasurement("a", "b", "ms", "verified", "h", tuple(pairs(152.5)))
    assert again.gain == one


def test_a_sum_has_the_chance_of_its_sign():
    """By a normal error: z = 3 / 1.5 gives 0.02275; without noise the sum's own sign."""
    both = summed([Gain(1.0, 0.9, 4, 0.3), Gain(2.0, 1.2, 4, 0.2)])
    assert both == Gain(3.0, 1.5, 8, both.lfsr)
    assert math.isclose(both.lfsr, 0.0227501, abs_tol=1e-6)
    assert summed([]) == Gain(0.0, 0.0, 0, 0.5)
    assert summed([Gain(-1.0, 0.0, 2)]).lfsr == 1.0
