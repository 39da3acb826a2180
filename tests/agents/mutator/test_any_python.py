"""The mutator on any Python file: the edited file stays a program."""

import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from islands.genome.admission import AdmissionLimits, Admitted, admit
from islands.genome.syntax_diff import compare
from islands.records import Entry
from swarm.agents.base import AgentError
from swarm.agents.mutator import Mutator
from swarm.agents.mutator.parsed_file import parse_file
from swarm.agents.mutator.source import splice
from tests.support.mutator import brief

LIBRARY = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))

SMALL = [path for path in LIBRARY if 500 < path.stat().st_size < 16_000][::6]


def check(genome, seed):
    """Assert that a proposal is admitted and changes the syntax tree, or nothing can change."""
    try:
        proposal = Mutator().propose_now(brief(genome, seed=seed))
    except AgentError as error:
        honest = error.error_kind == "exhausted"
    else:
        honest = check_admitted(genome, proposal)
    assert honest


def check_admitted(genome, proposal):
    """Return whether `proposal` is admitted and changes the syntax tree of `genome`."""
    after = proposal.files["train.py"].data
    head = {"train.py": Entry(genome.encode())}
    admitted = isinstance(
        admit(proposal, head, ("train.py",), AdmissionLimits(), "train.py"), Admitted
    )
    return admitted and compare("train.py", genome.encode(), after) == "changed"


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_library_files_stay_programs(path):
    """Real code of every style becomes code that parses, differs and is admitted."""
    for seed in range(3):
        check(path.read_text(), seed)


@pytest.mark.parametrize("path", SMALL[::3], ids=lambda path: path.stem)
def test_every_single_edit_of_a_library_file_parses(path):
    """Every value of every site and every structural edit applies."""
    parsed = parse_file("train.py", path.read_text())
    values = [
        (s, v) for s in parsed.sites for v in (s.number.steps(1.0) if s.number else s.options)
    ]
    edits = [site.edit(value) for site, value in values] + [a.edit for a in parsed.structural_edits]
    assert edits
    for edit in edits[:: max(1, len(edits) // 60)]:
        assert splice(parsed.source, (edit,)) is not None


NAMES = st.sampled_from(["A", "LR", "b", "SEED", "x"])

LEAVES = st.one_of(
    st.integers(-(10**20), 10**20).map(repr),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["True", "None", "'é'", "0x10", "1_0", "1j", ".5", "5.", "f'{1}'", "x"]),
)

EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**", "@", "+#+\n"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        inner.map(lambda e: f"relu({e}, k={e})"),
        inner.map(lambda e: f"-{e}"),
    ),
    max_leaves=6,
)

STATEMENTS = st.one_of(
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"{t[0]} = {t[1]}"),
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"{t[0]} = {t[1]}  # one of: 1, a, ), '"),
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"def {t[0]}(x={t[1]}): x += {t[1]}; return x"),
    EXPRESSIONS,
)

PROGRAMS = st.tuples(
    st.lists(STATEMENTS, max_size=5), st.sampled_from(["\n", "\r\n", "\r", "\n\n"])
).map(lambda t: t[1].join(t[0]))


@settings(max_examples=150, deadline=None)
@given(st.one_of(PROGRAMS, st.text()), st.integers(0, 99))
def test_any_text_gives_a_program_or_nothing_to_change(genome, seed):
    """Whatever the file contains, the agent proposes a real change or says there is none."""
    check(genome.encode("utf-8", "replace").decode(), seed)


def test_deep_and_long_files_are_answered():
    """A sum of 10,000 terms and 1,000 constants are handled like any other file."""
    check("A = 3\nB = " + " + ".join(["1"] * 10_000), 0)
    check("\n".join(f"K{n} = {n}.5" for n in range(1000)), 0)
    check("A = 'a' #" + " one of:" * 10_000 + " " * 50_000, 0)
    check("def f(a):\n    return (a " + "# # #\n" * 3000 + "+ a)\n", 0)
