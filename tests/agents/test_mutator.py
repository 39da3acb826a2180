"""The mutator: sites, scales, edits, proposals, learning, and that it never breaks a file."""

import ast
import asyncio
import math
import sysconfig
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from islands.genome.admission import AdmissionLimits, Admitted, admit
from islands.genome.syntax_diff import compare
from islands.records import Attempt, Brief, Change, Entry, Gain, Pending
from swarm.agents.base import AgentError
from swarm.agents.mutator import Mutator
from swarm.agents.mutator.crossover import find_crossover
from swarm.agents.mutator.edit_sites import find_sites
from swarm.agents.mutator.history import MAX_ATTEMPTS_PER_SITE, MAX_HEADS, MAX_SITES, MoveHistory
from swarm.agents.mutator.parsed_file import parse_file
from swarm.agents.mutator.source import Edit, parse_source, splice
from swarm.agents.mutator.structural_edits import find_structural_edits
from swarm.agents.mutator.surrogate import (
    NumberModel,
    NumberObservation,
    NumberPrior,
    OptionObservation,
    number_forecasts,
    option_forecasts,
)
from swarm.agents.mutator.transforms import parse_number

GENOME = '''\
"""Train. 3 is a number, True a flag; neither is a site."""
import random
SEED = 7
# how fast
LEARNING_RATE = 3e-4
# how many at once
BATCH = 64
# what is remembered
BETAS = (0.9, 0.95)
# how it bends
ACTIVATION = "gelu"  # one of: gelu, relu, silu
# look ahead
NESTEROV = True
# shrink
DECAY = 0.0


def train(model, steps=100, seed=3):
    """Take 5 steps."""
    random.seed(11)
    x = model.start(seed, 12)
    for _ in range(steps):
        x = x + 0.5 * model.step(x)
        x.clip(3.0)
    return x
'''


def brief(genome=GENOME, seed=0, experiment=1, elsewhere=(), recent=()):
    """Return a brief on `genome`, one file's text or several by path."""
    files = genome if isinstance(genome, dict) else {"train.py": genome}
    return Brief(experiment, "a", "loss", "minimize", "", files, 2.0, 0.01, recent, elsewhere, seed)


def attempt(proposal, ending="discarded", gain=None, noise=0.01, experiment=1):
    """Return how a trial of `proposal` ended."""
    measured = None if gain is None else Gain(gain, noise, 1)
    return Attempt(experiment, "a", proposal.hypothesis, proposal.notes, ending, "", measured)


def text_of(proposal, path="train.py"):
    """Return a proposal's text of one file."""
    return proposal.files[path].data.decode()


def changed_lines(before, after):
    """Return the lines that differ, as a diff shows them."""
    lines = unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def sites(text):
    """Return the sites of `text` by id."""
    return {site.id: site for site in find_sites(parse_source("t.py", text))}


def altered(text):
    """Return every text that a change of structure makes of `text`."""
    source = parse_source("t.py", text)
    every = [splice(source, (one.edit,)) for one in find_structural_edits(source)]
    return {data.decode() for data in every if data is not None}


# what may be edited


def test_knobs_defaults_flags_and_alternatives_are_sites():
    """Every value is found under an id that says where it is."""
    found = {
        site.id.removeprefix("train.py:"): site for site in parse_file("train.py", GENOME).sites
    }
    inner = [name for name in found if name.startswith("train.") and name != "train.steps"]
    assert set(found) - set(inner) == {
        "LEARNING_RATE", "BATCH", "BETAS", "BETAS#1", "ACTIVATION", "NESTEROV", "DECAY",
        "train.steps",
    }  # fmt: skip
    assert sorted(found[name].text for name in inner) == ["0.5", "3.0"]
    assert found["ACTIVATION"].options == ('"relu"', '"silu"')
    assert found["NESTEROV"].options == ("False",)
    assert found["DECAY"].options == ("0.01", "0.1", "0.3")


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


# scales


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
    here = parse_number(("-" if minus else "") + text, unbounded)
    for new, step in here.steps(stretch).items():
        value = ast.literal_eval(new)
        assert type(value) is type(ast.literal_eval(text))
        assert value != ast.literal_eval(here.text)
        assert (value < 0) is minus
        assert parse_number(new, here.scale == "log").value > 0
        assert here.scale != "logit" or abs(value) < 1
        assert abs(step) < 5


# edits


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
    found = altered(f"def f(a, b):\n    {line}\n")
    assert {text.splitlines()[1].strip() for text in found} >= expected
    assert expected or not found


def test_a_statement_among_others_goes_with_its_line():
    """A statement goes with its line; one that shares its line leaves `pass`."""
    assert "def f(x):\n    return x\n" in altered("def f(x):\n    x += 2\n    return x\n")
    assert "def f(x): x = 1; pass\n" in altered("def f(x): x = 1; x += 2\n")


def test_a_term_on_lines_of_its_own_goes_with_its_comment():
    """The rest of a sum over several lines still parses."""
    text = "def f(a, b):\n    return (\n        a  # one\n        + b  # two\n    )\n"
    assert "def f(a, b):\n    return (\n        b  # two\n    )\n" in altered(text)


# proposals


def test_a_proposal_changes_one_line_and_records_it():
    """The diff is one line and the notes name the site and its values."""
    proposal = Mutator().propose_now(brief(seed=3))
    lines = changed_lines(GENOME, text_of(proposal))
    assert len(lines) == 2
    assert proposal.notes["from"] in lines[0]
    assert proposal.notes["to"] in lines[1]
    assert proposal.notes["to"] in proposal.hypothesis
    assert all(isinstance(value, (str, float, int)) for value in proposal.notes.values())


def test_propose_answers_as_an_agent_does():
    """The coroutine `propose` returns what `propose_now` returns."""
    assert asyncio.run(Mutator().propose(brief(seed=5))) == Mutator().propose_now(brief(seed=5))


def test_it_is_a_function_of_the_brief_and_what_was_learned():
    """Two agents with the same past propose the same; another seed gives another proposal."""
    one, other = Mutator("one"), Mutator("other")
    texts = []
    for n in range(30):
        asked = brief(seed=n, experiment=n)
        first, second = one.propose_now(asked), other.propose_now(asked)
        assert first == second
        texts.append(text_of(first))
        for agent in (one, other):
            agent.learn(attempt(first, gain=-0.01 + 0.001 * (n % 7)))
    assert len(set(texts)) == 30


def test_proposing_changes_no_state():
    """A brief gets the same proposal again after others were answered."""
    agent = Mutator()
    first = agent.propose_now(brief(seed=1))
    for n in range(5):
        agent.propose_now(brief(seed=10 + n))
    assert agent.propose_now(brief(seed=1)) == first


def test_nothing_is_tried_twice_on_one_head_and_in_the_end_nothing_is_left():
    """Every edit of a small genome is proposed once, then there is nothing to change."""
    genome = "A = True\n# b\nB = 'x'  # one of: x, y, z\n# c\nC = 64\n"
    agent, seen = Mutator(), []

    def tried_on():
        for n in range(100):
            proposal = agent.propose_now(brief(genome, seed=n))
            seen.append(text_of(proposal))
            agent.learn(attempt(proposal, gain=-0.03))

    with pytest.raises(AgentError) as caught:
        tried_on()
    assert len(seen) == len(set(seen)) >= 9
    assert caught.value.error_kind == "unapplied"
    assert str(caught.value) == "nothing to change"


def test_what_the_brief_remembers_is_not_tried_again_either():
    """Attempts in `recent` count as tried by an agent that never learned them."""
    genome = "A = True\n"
    proposal = Mutator().propose_now(brief(genome))
    with pytest.raises(AgentError):
        Mutator().propose_now(brief(genome, recent=(attempt(proposal),)))


def test_what_is_under_way_is_not_proposed_again():
    """Two proposals that are drawn on one head before either ends are two."""
    genome = "A = True\n"
    proposal = Mutator().propose_now(brief(genome))
    under_way = (Pending(1, proposal.hypothesis, proposal.notes),)
    with pytest.raises(AgentError):
        Mutator().propose_now(replace(brief(genome), pending=under_way))


def test_an_outdated_candidate_teaches_nothing():
    """It never ran, so nothing is known of it."""
    agent = Mutator()
    agent.learn(attempt(agent.propose_now(brief()), ending="outdated"))
    assert agent.propose_now(brief(seed=1)) == Mutator().propose_now(brief(seed=1))


def test_a_new_head_makes_old_edits_new():
    """What failed on one head may be tried on the next."""
    agent = Mutator()
    agent.learn(attempt(agent.propose_now(brief("A = True\n")), gain=-0.001))
    assert text_of(agent.propose_now(brief("A = True\nB = 'b'\n"))).startswith("A = False")


@pytest.mark.parametrize("genome", ["", "x = 'a'\n", "def (:\n", "\ufeffA = 3\n", "A = '\ud800'\n"])
def test_a_genome_without_sites_raises(genome):
    """No site, no Python and no bytes: AgentError says there is nothing to change."""
    with pytest.raises(AgentError, match="nothing to change"):
        Mutator().propose_now(brief(genome))


def test_only_python_is_touched():
    """A text file has no sites."""
    proposal = Mutator().propose_now(brief({"notes.md": "A = 3\n", "b/c.py": "A = 3\n"}))
    assert list(proposal.files) == ["b/c.py"]


# learning


def moves_of(agent, name, count=100, genome=GENOME):
    """Return the values that one knob is moved to, alone, over many draws."""
    proposals = [agent.propose_now(brief(genome, seed=1000 + n)) for n in range(count)]
    alone = [
        p for p in proposals if p.notes["site"] == f"train.py:{name}" and "site 2" not in p.notes
    ]
    return [float(p.notes["to"]) for p in alone]


def taught(site, start, end, **outcome):
    """Return an agent that has learned one move of a number of GENOME."""
    notes = {
        "kind": "number", "head": "h", "edit": f"{site}={end}", "unit": 0.01, "hope": 0.0,
        "site": f"train.py:{site}", "from": str(start), "to": str(end),
        "mean": 0.0, "variance": 0.0, "start": math.log(start), "end": math.log(end),
    }  # fmt: skip
    agent = Mutator()
    ending, gain = outcome.get("ending", "discarded"), outcome.get("gain")
    measured = None if gain is None else Gain(gain, 0.004, 3)
    agent.learn(Attempt(1, "a", "", notes, ending, "", measured))
    return agent


def test_a_gain_is_followed_the_same_way():
    """After a kept step up, that knob is tried again, and upwards."""
    head = GENOME.replace("3e-4", "6e-4")
    agent = taught("LEARNING_RATE", 3e-4, 6e-4, ending="kept", gain=0.03)
    tried = moves_of(agent, "LEARNING_RATE", genome=head)
    assert len(tried) > 5
    assert sum(value > 6e-4 for value in tried) > 0.9 * len(tried)


def test_a_loss_turns_the_other_way():
    """After a step up that lost, steps up are rare."""
    tried = moves_of(taught("LEARNING_RATE", 3e-4, 6e-4, gain=-0.03), "LEARNING_RATE")
    assert len(tried) > 2
    assert sum(value < 3e-4 for value in tried) > 0.9 * len(tried)


def test_a_failure_is_a_wall():
    """After a failure upwards, values as far or farther are rarely tried."""
    tried = moves_of(taught("BATCH", 64, 128, ending="failed"), "BATCH", count=150)
    assert tried
    assert sum(value >= 128 for value in tried) < 0.2 * len(tried)


def test_dead_knobs_are_left_alone():
    """A number whose change left the score the same to the last digit is rarely tried again."""
    usual = len(moves_of(Mutator(), "LEARNING_RATE"))
    agent = taught("LEARNING_RATE", 3e-4, 1e-3, gain=0.0)
    assert len(moves_of(agent, "LEARNING_RATE")) < usual / 3


def test_small_gains_are_kept_together():
    """Two changes, each too small to be told from noise, are proposed as one."""
    agent = taught("LEARNING_RATE", 3e-4, 6e-4, gain=0.008)
    second = taught("BATCH", 64, 32, gain=0.008)
    agent._history._sites.update(second._history._sites)
    proposals = [agent.propose_now(brief(seed=n)) for n in range(60)]
    both = [p for p in proposals if p.notes["kind"] == "joint"]
    assert both
    assert all(len(changed_lines(GENOME, text_of(p))) >= 4 for p in both)


def test_steps_shrink_near_an_optimum():
    """With losses on both sides the expected improvement falls, most for large steps."""
    belief = NumberPrior(1.0, 1.0, 0.25)
    seen = (NumberObservation(0.0, 0.7, -0.02, 1e-5), NumberObservation(0.0, -0.7, -0.02, 1e-5))
    far = (0.3, 1.5)
    before = number_forecasts(NumberModel(belief, 0.0, ()), far, 0.01, 0.0)
    after = number_forecasts(NumberModel(belief, 0.0, seen), far, 0.01, 0.0)
    assert before[1].expected_improvement > before[0].expected_improvement
    assert after[0].expected_improvement > after[1].expected_improvement
    assert after[0].expected_improvement < before[0].expected_improvement / 3


def test_a_certain_forecast_has_no_negative_variance():
    """With nearly exact observations the variance of a forecast is zero or more."""
    seen = tuple(NumberObservation(0.0, step / 7, -step / 100, 1e-14) for step in range(1, 20))
    steps_ = tuple(step / 9 for step in range(-20, 20) if step)
    for weight in (0.2, 1.0, 1.5):
        model = NumberModel(NumberPrior(0.7, weight, 0.25), 0.0, seen)
        forecasts = number_forecasts(model, steps_, 0.01, 0.0)
        assert len(forecasts) == len(steps_)
        assert all(forecast.variance >= 0 for forecast in forecasts)


def test_options_are_weighed_against_each_other():
    """Two gains along a chain of options add up."""
    chain = [OptionObservation("a", "b", 0.02, 1e-6), OptionObservation("b", "c", 0.02, 1e-6)]
    (forecast,) = option_forecasts("a", ["c"], chain, (0.0, 0.1), 0.0)
    assert forecast.mean == pytest.approx(0.04, rel=0.05)


def test_a_valley_is_found_in_a_dozen_trials():
    """Without noise, a rate that is ten times too low ends within a quarter of the best."""
    agent, genome = Mutator(), "# one\nLEARNING_RATE = 0.001\n"

    def loss(text):
        return 0.05 * abs(math.log(ast.literal_eval(text.split(" = ")[1]) / 0.01)) ** 1.5

    for n in range(12):
        proposal = agent.propose_now(brief(genome, seed=n))
        gain = loss(genome) - loss(text_of(proposal))
        agent.learn(attempt(proposal, "kept" if gain > 0 else "discarded", gain, 1e-4))
        genome = text_of(proposal) if gain > 0 else genome
    assert loss(genome) < loss("A = 0.0125")


def test_memory_is_bounded():
    """Three thousand attempts leave no more behind than the bounds allow."""
    memory = MoveHistory()
    for n in range(3_000):
        site = f"t.py:S{n}" if n % 2 else "t.py:A"
        notes = {
            "kind": "number", "head": f"h{n % 50}", "edit": f"{site}={n}", "unit": 0.01,
            "site": site, "from": "1", "to": str(n), "mean": 0.0, "variance": 0.0,
            "start": 0.0, "end": 1.0,
        }  # fmt: skip
        memory.record(Attempt(n, "a", "", notes, "discarded", "", Gain(0.1, 0.1, 1)))
    assert len(memory._sites) == MAX_SITES
    assert len(memory.site("t.py:A").number_observations) == MAX_ATTEMPTS_PER_SITE
    assert len(memory._tried) == MAX_HEADS


@pytest.mark.parametrize("gain", [1e300, -1e300, 1e-300, 0.0])
@pytest.mark.parametrize("sigma", [0.0, 1e-300, 1e300])
def test_no_measurement_is_too_wild(gain, sigma):
    """Exploded losses and scores without spread do not stop the agent."""
    agent = Mutator()
    for n in range(8):
        proposal = agent.propose_now(replace(brief(seed=n), sigma=sigma))
        agent.learn(attempt(proposal, "kept" if n % 2 else "discarded", gain, noise=1e200))
    assert agent.propose_now(replace(brief(seed=9), sigma=sigma)).files


def test_other_agents_attempts_are_no_evidence():
    """Notes of another agent are ignored."""
    agent = Mutator()
    agent.learn(Attempt(1, "a", "", {"site": "x", "model": "gpt"}, "kept", "", Gain(1.0, 0.1, 3)))
    assert agent.propose_now(brief(seed=4)) == Mutator().propose_now(brief(seed=4))


# crossover


def kept_elsewhere(before, after, gain=0.03):
    """Return the brief's `elsewhere` with one change of train.py, kept on island b."""
    change = Change(
        9, "b", "It helps.", Gain(gain, 0.003, 3), {"train.py": before}, {"train.py": after}
    )
    return (change,)


def test_a_knob_kept_elsewhere_gets_the_same_value_here():
    """The value is taken over whatever the value here, and the island is named."""
    after = GENOME.replace("BATCH = 64", "BATCH = 32")
    here = GENOME.replace("BATCH = 64", "BATCH = 128")
    proposals = [
        Mutator().propose_now(brief(here, seed=n, elsewhere=kept_elsewhere(GENOME, after)))
        for n in range(20)
    ]
    taken = [p for p in proposals if p.hypothesis == "Take over from b: It helps."]
    assert len(taken) > 5
    assert {text_of(p) for p in taken} == {here.replace("BATCH = 128", "BATCH = 32")}


def test_a_change_of_structure_kept_elsewhere_is_merged():
    """The lines change here as they did there, although other lines differ."""
    after = GENOME.replace("        x.clip(3.0)\n", "        x.clip(3.0)\n        x.scale()\n")
    here = GENOME.replace("BATCH = 64", "BATCH = 128")
    agent = Mutator()
    texts = [
        text_of(agent.propose_now(brief(here, seed=n, elsewhere=kept_elsewhere(GENOME, after))))
        for n in range(20)
    ]
    assert after.replace("BATCH = 64", "BATCH = 128") in texts


def test_a_change_already_here_or_in_conflict_is_skipped():
    """Nothing is taken over twice, and a conflict gives no proposal."""
    after = GENOME.replace("x.clip(3.0)", "x.clip(3.0).scale()")
    (change,) = kept_elsewhere(GENOME, after)
    conflicting = GENOME.replace("x.clip(3.0)", "x.fold(3.0)")
    assert find_crossover(change, {"train.py": parse_file("train.py", conflicting)}) is None
    for here in (after, conflicting):
        for n in range(20):
            proposal = Mutator().propose_now(brief(here, seed=n, elsewhere=(change,)))
            assert "Take over" not in proposal.hypothesis


def test_several_values_kept_elsewhere_are_taken_over_together():
    """A joint change is taken over as one, and only what differs here is edited."""
    after = GENOME.replace("BATCH = 64", "BATCH = 32").replace(
        "NESTEROV = True", "NESTEROV = False"
    )
    here = GENOME.replace("NESTEROV = True", "NESTEROV = False")
    elsewhere = kept_elsewhere(GENOME, after)
    proposals = [Mutator().propose_now(brief(here, seed=n, elsewhere=elsewhere)) for n in range(20)]
    taken = {text_of(p) for p in proposals if p.notes["kind"] == "cross"}
    assert taken == {here.replace("BATCH = 64", "BATCH = 32")}


def test_a_crossover_that_lost_here_is_rarely_repeated():
    """The island's own measurement outweighs the other island's."""
    after = GENOME.replace("BATCH = 64", "BATCH = 32")
    elsewhere = kept_elsewhere(GENOME, after)
    agent = taught("BATCH", 64, 32, gain=-0.03)
    other_head = GENOME + "# more\n"
    tried = [agent.propose_now(brief(other_head, seed=n, elsewhere=elsewhere)) for n in range(30)]
    assert sum("Take over" in proposal.hypothesis for proposal in tried) < 10


# any Python

LIBRARY = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
SMALL = [path for path in LIBRARY if 500 < path.stat().st_size < 16_000][::6]


def check(genome, seed):
    """Assert that a proposal is admitted and changes the syntax tree, or nothing can change."""
    try:
        proposal = Mutator().propose_now(brief(genome, seed=seed))
    except AgentError as error:
        honest = (error.error_kind, str(error)) == ("unapplied", "nothing to change")
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
    one = parse_file("train.py", path.read_text())
    values = [(s, v) for s in one.sites for v in (s.number.steps(1.0) if s.number else s.options)]
    edits = [site.edit(value) for site, value in values] + [a.edit for a in one.structural_edits]
    assert edits
    for edit in edits[:: max(1, len(edits) // 60)]:
        assert splice(one.source, (edit,)) is not None


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


def test_it_does_not_run_dry_and_looks_at_no_more_evidence_as_attempts_gather():
    """On an unchanged head the 600th proposal is new, and it weighs a bounded history."""
    agent = Mutator()
    for n in range(600):
        proposal = agent.propose_now(brief(seed=n, experiment=n))
        agent.learn(replace(attempt(proposal, gain=0.001 * (n % 5 - 3)), experiment=n))
    sizes = [
        len(trace.number_observations) + len(trace.option_observations)
        for trace in agent._history._sites.values()
    ]
    assert max(sizes) <= MAX_ATTEMPTS_PER_SITE
