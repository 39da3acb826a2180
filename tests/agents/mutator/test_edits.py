"""Edits of the mutator: edit sites, scales of numbers, splices, structural edits."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.agents.mutator.descriptions import value_change
from swarm.agents.mutator.edit_sites import find_sites
from swarm.agents.mutator.parsed_file import parse_file
from swarm.agents.mutator.source import Edit, parse_source, splice
from swarm.agents.mutator.structural_edits import find_structural_edits
from swarm.agents.mutator.transforms import parse_number
from tests.support.mutator import GENOME


def sites(text):
    """Return the sites of `text` by id."""
    return {site.id: site for site in find_sites(parse_source("t.py", text))}


def altered(text):
    """Return every text that a change of structure makes of `text`."""
    source = parse_source("t.py", text)
    every = [splice(source, (one.edit,)) for one in find_structural_edits(source)]
    return {data.decode() for data in every if data is not None}


def test_knobs_defaults_flags_and_alternatives_are_sites():
    """Every value is found under an id that says where it is."""
    sites_by_name = {
        site.id.removeprefix("train.py:"): site for site in parse_file("train.py", GENOME).sites
    }
    inner = [name for name in sites_by_name if name.startswith("train.") and name != "train.steps"]
    assert set(sites_by_name) - set(inner) == {
        "LEARNING_RATE", "BATCH", "BETAS", "BETAS#1", "ACTIVATION", "NESTEROV", "DECAY",
        "train.steps",
    }  # fmt: skip
    assert sorted(sites_by_name[name].text for name in inner) == ["0.5", "3.0"]
    assert sites_by_name["ACTIVATION"].options == ('"relu"', '"silu"')
    assert sites_by_name["NESTEROV"].options == ("False",)
    assert sites_by_name["DECAY"].options == ("0.01", "0.1", "0.3")


def test_rows_and_long_lists_of_numbers_rank_below_knobs():
    """A pair of numbers is two knobs; coefficients computed together are one by one no promise."""
    rows = "ROWS = ((8.1, -22.4), (4.0, -2.8))"
    long = f"TAPS = [{', '.join(f'{n}.5' for n in range(1, 10))}]"
    for text, rank in (("PAIR = (0.9, 0.95)", "knob"), (rows, "inner"), (long, "inner")):
        assert {site.rank for site in sites(text).values()} == {rank}


@pytest.mark.parametrize(
    "text",
    [
        "SEED = 5",
        "seeds = [5, 6]",
        "SEED: int = 5",
        "rng = np.random.default_rng(5)",
        "x = torch.Generator().manual_seed(5 + 8)",
        "x = f(5, seed=8)",
        "f(5, random_state=8)",
        "CONFIG = {'seed': 5}",
        "def f(seed=5): pass",
        "def f(x):\n    for seed in range(5):\n        pass",
        "SEED = 'a'  # one of: a, b",
        "x += 8 * seed",
        '"""5."""',
        "x = '5'",
        "def f(x: 'a[5]', y: Literal[5]): pass",
        "x: Literal[5]",
        "x = f'{5:>8}'",
        "x = y[5]",
        "match x:\n    case 5:\n        pass",
        "MASK = 0xFF",
        "HUGE = 1e400",
        "print(5)",
        "assert x > 5",
        "x = y.view(4, 8)",
        "__version__ = 5",
        "x = y.sum(axis=5, keepdim=True)",
        "import os",
    ],
)
def test_seeds_meanings_and_texts_are_never_sites(text):
    """Values that fix the noise, the meaning or a shape are no sites."""
    assert not sites(text)


def test_alternatives_take_the_style_of_the_present_value():
    """A quoted value gets quotes of its kind, any other is taken as it is written."""
    assert sites("A = 'x'  # one of: x, y, \"z\".")["t.py:A"].options == ("'y'", '"z"')
    assert sites("A = None  # one of: None, 32, 64")["t.py:A"].options == ("32", "64")
    assert sites("A = norm  # one of: norm, rms")["t.py:A"].options == ("rms",)
    assert sites("A = 5  # two of: 6, 7")["t.py:A"].number is not None


def test_sites_keep_their_names_when_the_file_changes_around_them():
    """An added line and a new value change no site's id."""
    longer = GENOME.replace("import random\n", "import random\nimport math\n")
    other = longer.replace("0.5 * model", "0.25 * model").replace("BATCH = 64", "BATCH = 8")
    assert set(sites(other)) == set(sites(GENOME))


def steps(text, unbounded=False, stretch=1.0):
    """Return the values that the literal `text` may move to."""
    return parse_number(text, unbounded).steps(stretch)


def test_powers_of_two_move_by_factors_of_two():
    """A batch of 64 becomes 8 to 512, never 50."""
    assert set(steps("64")) == {"8", "16", "32", "128", "256", "512"}


def test_integers_stay_integers_and_keep_their_roundness():
    """Small ones move by at least one, sizes by what divides them, and none falls below 1."""
    assert {"2", "4"} <= set(steps("3"))
    assert set(steps("1")) >= {"2", "3"}
    sizes = [int(text) for text in steps("96")]
    assert len(sizes) >= 4 and all(size % 32 == 0 for size in sizes)
    assert "1_130_000" in steps("1_000_000")
    assert "320" in steps("500", stretch=0.4)


def test_fractions_never_leave_zero_to_one():
    """0.95 approaches one and never reaches it."""
    values = [float(text) for text in steps("0.95", stretch=1.25)]
    assert len(values) >= 4 and all(0 < value < 1 for value in values)
    assert {"0.975", "0.983"} <= set(steps("0.95"))


def test_learning_rates_may_pass_one_and_keep_their_style():
    """A rate is a magnitude, and one written with an exponent keeps it."""
    assert max(float(text) for text in steps("0.5", unbounded=True)) > 1
    texts = list(steps("3e-4", unbounded=True))
    assert len(texts) >= 4 and all("e" in text for text in texts)


def test_a_negative_number_stays_negative():
    """The sign is not part of the magnitude."""
    values = [float(text) for text in steps("-0.5")]
    assert len(values) >= 4 and all(value < 0 for value in values)


@given(
    st.one_of(
        st.integers(1, 10**12).map(str),
        st.floats(1e-12, 1e12).map(repr),
        st.floats(1e-9, 1, exclude_max=True).map(repr),
    ),
    st.booleans(),
    st.booleans(),
    st.sampled_from((0.8, 1.0, 1.25)),
)
def test_every_step_is_another_number_of_the_same_kind(text, minus, unbounded, stretch):
    """Whatever the literal, steps keep its type and sign and are at most 5 away on the scale."""
    number = parse_number(("-" if minus else "") + text, unbounded)
    for new, step in number.steps(stretch).items():
        value = ast.literal_eval(new)
        assert type(value) is type(ast.literal_eval(text))
        assert value != ast.literal_eval(number.text)
        assert (value < 0) is minus
        assert parse_number(new, number.scale == "log").value > 0
        assert number.scale != "logit" or abs(value) < 1
        assert abs(step) < 5


def test_an_edit_leaves_every_other_byte_alone():
    """Comments, line endings, tabs and multi-byte letters stay the same."""
    text = 'A = "é→"\r\n# naïve\r\nB = 3  # ß\r\nif A:\r\n\tC = 4\r\n'
    source = parse_source("t.py", text)
    b = next(site for site in find_sites(source) if site.name == "B")
    assert splice(source, (b.edit("5"),)).decode() == text.replace("B = 3", "B = 5")


def test_an_edit_that_says_the_same_or_does_not_parse_is_none():
    """`3.0` for `3.00` is no change, `)` does not parse, overlapping edits are refused."""
    source = parse_source("t.py", "A = 3.00\nB = 4\n")
    assert splice(source, (Edit("t.py", 4, 8, "3.0"),)) is None
    assert splice(source, (Edit("t.py", 4, 8, ")"),)) is None
    assert splice(source, (Edit("t.py", 4, 8, "5"), Edit("t.py", 6, 8, "6"))) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("return a + b", {"return a", "return b", "return a - b"}),
        ("return a - b", {"return a", "return a + b"}),
        ("return (a + b) * c * d", {"return (a + b) * d", "return c * d"}),
        ("return (a * (b + c))", {"return (a)", "return ((b + c))"}),
        ("return -(a / b)", {"return -(a)", "return -(a * b)"}),
        ("x = a * x", {"x = a", "x = x", "x = a / x", "pass"}),
        ("x += 2", {"pass"}),
        ("relu(a)", {"gelu(a)", "silu(a)", "pass"}),
        ("return a[i + 1]", set()),
        ("return a ** 2 @ b", set()),
        ("return 'a' + b", set()),
        ("print(a + b)", {"print(a)", "print(b)", "print(a - b)"}),
        ("torch.manual_seed(a + b)", set()),
        ("raise E(a + b)", set()),
    ],
)
def test_changes_of_structure(line, expected):
    """A term or a statement is dropped, a call or an operator replaced."""
    texts = altered(f"def f(a, b):\n    {line}\n")
    assert {text.splitlines()[1].strip() for text in texts} >= expected
    assert expected or not texts


def test_a_statement_among_others_goes_with_its_line():
    """A statement goes with its line; one that shares its line leaves `pass`."""
    assert "def f(x):\n    return x\n" in altered("def f(x):\n    x += 2\n    return x\n")
    assert "def f(x): x = 1; pass\n" in altered("def f(x): x = 1; x += 2\n")


def test_a_term_on_lines_of_its_own_goes_with_its_comment():
    """The rest of a sum over several lines still parses."""
    text = "def f(a, b):\n    return (\n        a  # one\n        + b  # two\n    )\n"
    assert "def f(a, b):\n    return (\n        b  # two\n    )\n" in altered(text)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("36.0", "120", "Change X from 36 to 120"),
        (f"[{'1, ' * 20}2]", f"[{'1, ' * 20}3]", "1, 2] to ..."),
        ("overlap.sum(axis=2) + layer", "overlap.sum(axis=2) - layer * 4", ") + layer to ..."),
    ],
)  # fmt: skip
def test_a_subject_shows_where_long_values_differ(old, new, says):
    """Two that begin alike are not cut to the same text."""
    subject = value_change("X", old, new)
    assert says in subject
    before, after = subject.removeprefix("Change X from ").split(" to ")
    assert before != after
    assert len(value_change("X", old, new)) <= 72
