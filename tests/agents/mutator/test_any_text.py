"""The mutator on other languages than Python: what it finds, how it writes, what it leaves."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from islands.genome.admission import AdmissionLimits, Admitted, admit
from islands.genome.syntax_diff import compare
from islands.records import Entry, Pending
from swarm.agents.base import AgentError
from swarm.agents.mutator import MoveHistory, Mutator
from swarm.agents.mutator.text_sites import find_text_sites
from tests.support.mutator import attempt, brief, text_of

TEXTS = {
    "a.yaml": """\
lr: 0.003
optimizer: adam  # one of: adam, sgd
seed: 3
n_seeds: 8
warm: true
day: 2024-01-05
version: 3
list: [1, 2]
a: {kind: fast}
b: {kind: slow}
""",
    "a.json": '{"lr": 0.1, "a": {"on": true, "w": "16px"}, "id": 3}',
    "a.toml": '[a]\nx = 1_000 # 5\ny = "é 3"\nw=-0.5\n',
    "a.c": """\
#include <a3.h>
#define N 8
#define MASK 0x0f
const char *o = "rows";  // one of: rows, columns
int f(int x) { return a[3] * 7 + 1; /* 9 */ }
bool fast = true;
""",
    "a.js": """\
const MAX = 3;
let r = /"[0-9] \\/ 5/.test('4 s') ? 12 : 30; // 5
`7 ${x}`
""",
    "q.sql": """\
SELECT 'it''s 5' FROM t -- 4
LIMIT 100;
SET enable_sort = off;
""",
    "Makefile": "CFLAGS = -O2 -g3\nrun:\n\t./a --depth 12 # 5\n",
    "run.sh": "#!/bin/sh -e3\nN=5\nexport FAST=on\necho '6'$#\n",
    "a.css": "a { width: 16px; opacity: 50%; color: #ff0011 }",
    "p.txt": """\
In at most 3 words.
1. Wait 2.5 s
<!-- one of: Be brief. | Think, then go. -->
Be brief.
""",
}

FOUND = {
    "a.yaml": ["0.003", "adam", "8", "true", "1", "2", "fast", "slow"],
    "a.json": ["0.1", "true", "16px"],
    "a.toml": ["1_000", "-0.5"],
    "a.c": ["8", "0x0f", '"rows"', "7", "true"],
    "a.js": ["3", "12", "30"],
    "q.sql": ["100", "off"],
    "Makefile": ["-O2", "12"],
    "run.sh": ["5", "on"],
    "a.css": ["16px", "50%"],
    "p.txt": ["3", "2.5", "Be brief."],
}

PIECES = (
    "a = ", "b: ", "1", "0.5", "0x1f", '"', "'", "/*", "*/", "//", "#", "--", "\n", "\\", "é",
    "seed=3", "-O2", "true", "[", "]", "{", "}", ",", "```", "\'\'\'", " one of: x, y", "\r",
)  # fmt: skip


@pytest.mark.parametrize("path", FOUND)
def test_values_are_found_where_they_count(path):
    """Numbers, flags and alternatives outside comments and strings, with their offsets in bytes."""
    text, expected = TEXTS[path], FOUND[path]
    sites = find_text_sites(path, text)
    data = text.encode()
    assert [data[site.start : site.end].decode() for site in sites] == expected
    assert [site.text for site in sites] == expected


@pytest.mark.parametrize(
    ("path", "text", "possible"),
    [
        ("a.yaml", "rate: 1e-3\n", {"1.6e-3", "6.4e-4"}),
        ("a.yaml", "rate: 0.00002\n", {"0.000031", "0.000013"}),
        ("a.c", "#define MASK 0x0f\n", {"0x18", "0x0a"}),
        ("a.css", "a { width: 16px }", {"32px", "8px"}),
        ("a.c", "float t = 1.5f;", {"2.4f", "0.96f"}),
        ("a.json", '{"w": -3}', {"-4", "-5"}),
        ("a.toml", "n = 1_000", {"1_600", "640"}),
    ],
)
def test_numbers_keep_how_they_are_written(path, text, possible):
    """Exponents, hexadecimal digits, units, signs and groups stay."""
    (site,) = find_text_sites(path, text)
    assert possible <= set(site.number.steps(1.0))


@pytest.mark.parametrize("path", FOUND)
def test_every_edit_is_admitted(path):
    """What the mutator makes of each language counts as a change there."""
    text = TEXTS[path]
    for seed in range(4):
        proposal = Mutator().propose_now(brief({path: text}, seed=seed))
        head = {path: Entry(text.encode())}
        assert isinstance(admit(proposal, head, (path,), AdmissionLimits(), path), Admitted)


@settings(max_examples=120)
@given(
    st.sampled_from([*FOUND, "x.rs", "x.php", "x.lua", "x.html", "x.f90", "x.ini", "x"]),
    st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
)
def test_any_text_gives_a_change_or_nothing(path, text):
    """Whatever the file holds, an edit changes one place or the agent says that nothing is left."""
    try:
        proposal = Mutator().propose_now(brief({path: text}))
    except AgentError as error:
        kind = error.error_kind
    else:
        kind = "exhausted"
        head = {path: Entry(text.encode())}
        assert isinstance(admit(proposal, head, (path,), AdmissionLimits(), path), Admitted)
    assert kind == "exhausted"


def test_hostile_texts_are_read_in_one_pass():
    """Quotes, patterns, comments and seeds that nothing closes, over and over."""
    pieces = ('\\"', "=/[", "'\\", '"""', "seed", "/*", "(/\\/", "seed=[1,   ", "# one of:")
    for path in ("a.js", "a.toml", "a.c"):
        for piece in pieces:
            find_text_sites(path, piece * (2_000 // len(piece)))
            compare(path, b"a", (piece * (20_000 // len(piece))).encode())


SUBJECTS = [
    ("A = 36.0\n", {"Raise A from 36 to", "Lower A from 36 to"}),
    ("A = True\n", {"Change A from True to False"}),
    ("A = 'x'  # one of: x, y\n", {"Change A from 'x' to 'y'"}),
    ("def f(x):\n    x.clip(3)\n    return x\n", {"Remove `x.clip(3)`", "Raise ", "Lower "}),
    ("def f(x):\n    return relu(x)\n", {"Replace `relu` by"}),
]


@pytest.mark.parametrize(("genome", "subjects"), SUBJECTS)
def test_a_hypothesis_begins_with_a_commit_subject(genome, subjects):
    """It says what the change does in at most 72 characters; the forecast is below."""
    for seed in range(6):
        proposal = Mutator().propose_now(brief(genome, seed=seed))
        subject, _, rest = proposal.hypothesis.partition("\n\n")
        assert subject.startswith(tuple(subjects))
        assert len(subject) <= 72
        assert "\n" not in subject
        assert "before" in rest or not rest


def test_a_site_that_always_breaks_is_tried_twice():
    """Whatever the value, on whatever island: and what is under way counts."""
    history, genome = MoveHistory(), "CIRCLES = 26\n"
    first, second = (Mutator(history=history) for _ in range(2))
    for agent in (first, second):
        agent.learn(attempt(agent.propose_now(brief(genome)), ending="failed"))
    with pytest.raises(AgentError, match="known to break"):
        first.propose_now(brief(genome, seed=1))
    alone, pending = Mutator(), []
    for seed in range(2):
        proposal = alone.propose_now(brief(genome, seed=seed))
        pending.append(Pending(seed, proposal.hypothesis, proposal.notes))
    with pytest.raises(AgentError, match="known to break"):
        alone.propose_now(replace(brief(genome, seed=3), pending=tuple(pending)))


def test_nothing_is_left_only_when_every_site_was_looked_at():
    """A file with more statements than one proposal considers is tried to its end."""
    lines = "".join(f"    x.step{n}()\n" for n in range(60))
    agent, genome, tried = Mutator(), f"def f(x):\n{lines}    return x\n", set()

    def propose_until_exhausted():
        while True:
            proposal = agent.propose_now(brief(genome, seed=len(tried)))
            agent.learn(attempt(proposal, gain=-0.01))
            tried.add(text_of(proposal))

    with pytest.raises(AgentError, match="all edits of this head"):
        propose_until_exhausted()
    assert len(tried) == 60
