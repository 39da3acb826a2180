"""Revision of program.md at a resume: what counts from then on, and what is refused."""

import pytest

from harness.contract import SetupError
from swarm.project.program import read_program
from swarm.project.revision import revise

FRONT = "---\ntask: packing\ngenome: [genome/pack.py]\n{}---\n{}\n"


def program(front="", prose="Pack."):
    """Return a program.md that was read."""
    return read_program(FRONT.format(front, prose), "program.md")


BEFORE = program("limits: {minutes: 60, usd: 5}\nseed: 3\n")


def test_prose_limits_and_agents_count():
    """The differences are told value by value; everything else stays the run's own."""
    agents = "agents: {fast: {kind: openai, model: gpt-6-luna, price: {input: 1, output: 2}}}\n"
    front = f"limits: {{minutes: 480, usd: 5}}\nseed: 3\nagent: fast\n{agents}notify: mail me\n"
    found = revise(BEFORE, program(front, "Pack.\nTightly."), "run1")
    assert found.changes == (
        "agent: mutator -> fast",
        "agents.fast: new",
        "limits.minutes: 60.0 -> 480.0",
        "notify: none -> mail me",
        "prose: +1 -0 lines",
    )
    assert found.limits == ("minutes",)
    assert found.program.prose == "Pack.\nTightly." and "fast" in found.program.agents
    assert found.program.settings.seed == 3


def test_nothing_new_is_no_revision():
    """Comments and the order of keys say nothing."""
    same = program("seed: 3 # same\nlimits: {usd: 5.0, minutes: 60}\n")
    assert revise(BEFORE, same, "run1").changes == ()


@pytest.mark.parametrize(
    ("front", "line"),
    [
        ("seed: 4\n", "`seed` differs from what run run1 began with (3 -> 4)"),
        ("seed: 3\nrungs: [{depth: 1, seconds: 5}]\n", "`rungs` differs"),
        ("seed: 3\nratchet: {fdr: 0.2}\n", "`ratchet` differs from what run run1 began with (fdr:"),
    ],
)
def test_what_decides_a_score_or_a_verdict_is_refused_in_a_line(front, line):
    """It names the key and both ways out."""
    with pytest.raises(SetupError) as refusal:
        revise(BEFORE, program(front + "limits: {minutes: 60, usd: 5}\n"), "run1")
    assert line in str(refusal.value)
    assert str(refusal.value).endswith("put it back, or start a new run with --new")
    assert "\n" not in str(refusal.value)
    assert "Rung(" not in str(refusal.value)  # values as program.md has them
