"""Honest models pass, proposals without effect are void, and no model cheat gains anything.

To add one, put a file into tests/cheats (tests/cheats/table.py says what it may set): honest_*.py
is a genome that must be scored without a mismatch, cheat_*.py one that must be invalid for the
reason it states, or no better than the honest bigram model, and noop_*.py a proposal that turns
honest_bigram.py into it. `python tests/cheats/table.py 20` runs each honest model 20 times.
"""

import re

import pytest

from islands.genome.admission import AdmissionLimits, Refused, admit
from islands.records import Entry, Proposal
from tests.cheats import table

pytestmark = pytest.mark.sandbox

SIBLINGS = {
    "cheat_batch",
    "cheat_blocks",
    "cheat_experts",
    "cheat_first_answer",
    "cheat_infinity",
    "cheat_note_train",
    "cheat_rows",
    "cheat_shrink",
    "cheat_tail",
    "honest_attention",
    "honest_convolution",
    "honest_experts",
    "honest_recurrent",
}
"""Models whose line of defence another one of the table also reaches: soak runs."""


@pytest.fixture(scope="module")
def on(tmp_path_factory, kjv):
    """A slice to measure genomes on, and the real corpus."""
    with table.bench(tmp_path_factory.mktemp("bench")) as bench:
        yield bench


@pytest.fixture(scope="module")
def honest(on):
    """The score of the model that most cheats are based on."""
    return on.measured(table.BASE)[0].score


def _passes(name, on, honest):
    outcome, unaudited = on.measured(name)
    assert outcome.failure is None
    assert outcome.score == unaudited < honest + 0.1
    assert outcome.facts["mismatches"] == 0
    assert outcome.facts["audited"] > 170
    assert abs(outcome.facts["hidden_gain"]) < 1e-5


def _is_void(name, on, honest):
    before, after = (
        Entry((table.HERE / f"{module}.py").read_bytes()) for module in (table.BASE, name)
    )
    assert before != after
    refused = admit(
        Proposal("h", {"genome/train.py": after}),
        {"genome/train.py": before},
        ("genome",),
        AdmissionLimits(),
        "genome/train.py",
    )
    assert isinstance(refused, Refused)
    assert refused.rule == "nothing"


def _gains_nothing(name, on, honest):
    outcome, unaudited = on.measured(name)
    reason = table.constant(name, "REASON")
    lost = table.constant(name, "RACES") and outcome.failure is None
    if reason and not lost:
        assert outcome.failure.kind == "invalid"
        assert re.search(reason, outcome.failure.reason)
        assert "\n" not in outcome.failure.reason
    else:
        assert outcome.score > honest - table.ROUNDING_BPB
    if table.constant(name, "WOULD_GAIN"):
        assert unaudited < honest - table.ROUNDING_BPB


LOUD = """
import os, sys
from honest_bigram import Bigram, trainer

class Loud(Bigram):
    def forward(self, tokens):
        print("heard", tokens.sum().item(), file=sys.stderr)
        open("/tmp/heard", "w").write("heard")
        return super().forward(tokens)

build = Loud
train = trainer(Loud)
print("trained")
"""


def test_what_a_model_prints_while_scored_is_dropped(on):
    """The outcome has the end of the training log, and nothing that was printed while scoring."""
    (on.folder / "loud.py").write_text(LOUD)
    outcome, _ = on.measured("loud")
    assert outcome.failure is None
    assert "trained" in outcome.tail
    assert "heard" not in repr(outcome)


CHECKS = {"honest": _passes, "noop": _is_void, "cheat": _gains_nothing}


@pytest.mark.parametrize(
    ("check", "name"),
    [
        pytest.param(check, name, id=name, marks=[pytest.mark.soak] * (name in SIBLINGS))
        for kind, check in CHECKS.items()
        for name in table.names(kind)
    ],
)
def test_honest_passes_a_noop_is_void_and_a_cheat_gains_nothing(check, name, on, honest):
    """Each file of tests/cheats ends as its name says."""
    check(name, on, honest)
