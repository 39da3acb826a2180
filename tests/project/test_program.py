"""program.md: its keys, their defaults, and the messages for mistakes."""

import dataclasses
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness import tasks
from harness.contract import Rung, SetupError
from islands.genome.admission import AdmissionLimits
from islands.migration import Migration
from islands.ratchet.fixed_margin import FixedMarginRule
from islands.ratchet.guards import Guard, Guards
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.policy import RatchetPolicy
from islands.ratchet.simpler import SimplerRule
from islands.stacking.state import StackPolicy
from swarm.agents.llm.settings import ModelSettings, Price
from swarm.project.frontmatter import MAX_BYTES, read_front_matter
from swarm.project.program import read_program
from swarm.project.schema import agents, judging, settings

MINIMAL = "task: packing\ngenome: [genome/]"

TEAMS = f"{MINIMAL}\nagents: {{m: {{kind: openai, model: x}}}}"

FULL = """\
task: packing
data: none
genome:
  - genome/pack.py
  - lib
metric: sum_of_radii
direction: maximize
rungs:
  - {depth: 1, seconds: 4, memory_mib: 1024}
  - {depth: 1, seconds: 30.5}
islands:
  - {name: wide}
  - {name: deep, agent: fast}
agents:
  fast:
    kind: openai
    model: qwen
    base_url: http://localhost:11434/v1
    requests_per_minute: 20
    price: {input: 0, output: 0, cache_read: 0, cache_write: 0}
agent: mutator
slices: {kind: cpu, count: 2, cores: 1}
limits: {minutes: 10, trials: 200, usd: 1.5, tokens: 9000, max_files: 2, max_bytes: 50000}
ratchet: {baseline_seeds: 3, max_pairs: 2, margin: 1.5}
seed: 7
"""


def program(yaml_text, files=None, prose="Pack well."):
    """Return the program with this front matter."""
    return read_program(f"---\n{yaml_text}\n---\n\n{prose}\n", "program.md", files)


def refusal_lines(yaml_text, files=None):
    """Return the lines of the refusal of this front matter."""
    with pytest.raises(SetupError) as raised:
        program(yaml_text, files)
    return str(raised.value).split("\n")


def test_two_keys_are_enough():
    """Everything but the task and the genome has a default, some of them the task's own."""
    minimal = program(MINIMAL)
    keys = minimal.settings
    assert (keys.task, keys.genome, minimal.prose) == ("packing", ("genome",), "Pack well.")
    assert (minimal.data, set(minimal.agents)) == ("none", {"mutator"})
    assert (keys.islands, keys.agent, len(keys.rungs)) == ("auto", "mutator", 1)


def test_every_key_is_read():
    """Each key of a full front matter arrives in the program."""
    full = program(FULL)
    keys = full.settings
    assert keys.genome == ("genome/pack.py", "lib")
    assert keys.rungs == (Rung(1, 4.0, 1024), Rung(1, 30.5))
    assert keys.islands == (
        agents.IslandSection("wide", "mutator"),
        agents.IslandSection("deep", "fast"),
    )
    assert full.agents["fast"] == ModelSettings(
        "openai",
        "qwen",
        "http://localhost:11434/v1",
        requests_per_minute=20,
        price=Price(0, 0, 0, 0),
    )
    assert keys.slices == settings.SlicesSection("cpu", 2, 1)
    assert keys.limits == settings.LimitsSection(10, 200, 1.5, 9_000, 2, 50_000)
    assert keys.ratchet == judging.RatchetSection(3, max_pairs=2, margin=1.5)
    assert keys.seed == 7


@pytest.mark.parametrize(
    "record",
    [
        settings.Settings,
        agents.ModelSection,
        agents.ExternalSection,
        agents.PriceSection,
        settings.SlicesSection,
        settings.LimitsSection,
        judging.RatchetSection,
        judging.StackSection,
        judging.PromotionSection,
        judging.MigrationSection,
        agents.IslandSection,
    ],
)
def test_every_key_says_what_it_must_be(record):
    """A mistake at any key is answered with a sentence and an example."""
    assert record.__pydantic_fields__
    for key, rule in record.__pydantic_fields__.items():
        assert rule.description, key
        assert rule.examples, key


def test_a_model_has_the_keys_its_provider_takes():
    """ModelSection and ModelSettings have the same fields; a login is a coding agent's key."""
    names = {key.name for key in dataclasses.fields(agents.ModelSection)} | {"login"}
    assert names == {key.name for key in dataclasses.fields(ModelSettings)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: packing", "1: genome is missing: add `genome: [genome/train.py]`"),
        ("genome: [a]", "1: task is missing: add `task: packing`"),
        ("task: packing\ngenome:", "3: genome is missing"),
        ("task: pakcing\ngenome: [a]", '2: task is "pakcing", which is not a task: did you mean'),
        ("task: 3\ngenome: [a]", "2: task must be the name of a task, such as `task: packing`"),
        (f"{MINIMAL}\ngenme: [b]", "4: genme is not a key: did you mean `genome`?"),
        (
            f"{MINIMAL}\nlimits:\n  minuts: 3",
            "5: limits.minuts is not a key: did you mean `minutes`?",
        ),
        (f"{MINIMAL}\nlimits: {{minutes: soon}}", "4: limits.minutes must be a number of minutes"),
        (f"{MINIMAL}\nlimits: {{trials: 0.5}}", "4: limits.trials must be a whole number"),
        (f"{MINIMAL}\nlimits: {{tokens: 0.5}}", "4: limits.tokens must be a whole number"),
        (f"{MINIMAL}\nlimits: 10", "4: limits must be"),
        (f"{MINIMAL}\nlimits: {{minutes: .inf}}", "4: limits.minutes must be"),
        (f"{MINIMAL}\nlimits: {{minutes: 1e999}}", "4: limits.minutes must be"),
        (f"{MINIMAL}\nseed: 1.0", "4: seed must be a whole number from 0 to 2147483647"),
        (f"{MINIMAL}\nseed: '7'", "4: seed must be a whole number"),
        (f"{MINIMAL}\nseed: true", "4: seed must be a whole number"),
        (f"{MINIMAL}\nseed: {'9' * 30}", "4: seed must be a whole number"),
        (f"{MINIMAL}\nmetric: val_bpb", "4: metric must be `sum_of_radii` for task packing"),
        (f"{MINIMAL}\ndirection: minimize", "4: direction must be `maximize` for task packing"),
        (f"{MINIMAL}\ndirection: up", "4: direction must be minimize or maximize"),
        (f"{MINIMAL}\nrungs: []", "4: rungs must be a list of rungs"),
        (f"{MINIMAL}\nrungs:\n- {{depth: 0, seconds: 1}}", "5: rungs[0] is not right: `rungs`"),
        (
            f"{MINIMAL}\nrungs:\n- {{depth: 1, seconds: 1, memory: 1}}",
            "5: rungs[0].memory is not a key: did you mean",
        ),
        (f"{MINIMAL}\nislands: 0", "4: islands must be auto, a whole number from 1 to 64"),
        (f"{MINIMAL}\nislands: [{{name: A b}}]", "4: islands[0].name must be a word of a-z"),
        (f"{MINIMAL}\nislands: [{{agent: mutator}}]", "4: islands[0].name is missing: add `name"),
        (f"{MINIMAL}\nislands: [{{name: a}}, {{name: a}}]", '4: islands[1].name is "a", as anoth'),
        (
            f"{MINIMAL}\nagent: mutater",
            '4: agent is "mutater", which is not an agent: did you mean',
        ),
        (f"{MINIMAL}\nagents: {{a: {{model: m}}}}", "4: agents.a.kind must be mutator, anthropic"),
        (f"{MINIMAL}\nagents: {{a: {{kind: openai}}}}", "4: agents.a.model is missing: add `model"),
        (
            f"{MINIMAL}\nagents: {{a: {{kind: mutator, model: m}}}}",
            "4: agents.a.model is not a key",
        ),
        (f"{MINIMAL}\nagents:\n  A: {{kind: mutator}}", "5: agents.A is not right: `agents` must"),
        (f"{TEAMS}\nteam: [m, nobody]", '5: team[1] is "nobody", which is not an agent'),
        (f"{TEAMS}\nteam: [m, m]", '5: team[1] is "m", which stands there already: delete one'),
        (f"{TEAMS}\nteam: [mutator, iid]", "5: team has iid, which samples a model of the same"),
        (f"{TEAMS}\nteam: [iid, m]", "5: team begins with iid, a control: put the model"),
        (f"{MINIMAL}\nagents: {{iid: {{kind: mutator}}}}", "4: agents.iid is the name that plain"),
        (f"{MINIMAL}\ntemperament: lazy", "4: temperament must be auto, none, architecture"),
        (f"{MINIMAL}\narms: {{floor: 2}}", "4: arms.floor must be a share from 0 to 1"),
        (f"{MINIMAL}\nslices: {{count: none}}", "4: slices.count must be auto or a whole number"),
        (f"{MINIMAL}\nratchet: {{max_pairs: 1}}", "4: ratchet.max_pairs must be a whole"),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_fix(text, message):
    """The message for a wrong key or value names file, line, key, rule and an example."""
    (line,) = refusal_lines(text)
    assert line.startswith(f"program.md:{message}")


RUNG = "rungs:\n- {{depth: {}, seconds: {}, memory_mib: {}}}"

BEYOND = [
    (RUNG.format(1, "1e308", 512), "seconds from 0.1 to 604800"),
    (RUNG.format(1, 604_801, 512), "seconds from 0.1 to 604800"),
    (RUNG.format(1, "1e-9", 512), "seconds from 0.1 to 604800"),
    (RUNG.format(1, 1, 63), "memory_mib from 64 to 100000000"),
    (RUNG.format(1, 1, "9" * 30), "memory_mib from 64 to 100000000"),
    (RUNG.format("9" * 30, 1, 512), "depth from 1"),
    ("limits: {minutes: 1e308}", "a number of minutes above 0, up to 1000000"),
    ("limits: {usd: 1e308}", "a number of dollars from 0 to 1000000"),
    (f"limits: {{tokens: {'9' * 30}}}", "tokens from 0 to 1000000000000"),
    (f"summary_every: {'9' * 30}", "a whole number of verdicts"),
    ("arms: {usd_per_slice_hour: 1e308}", "a number of dollars from 0 to 1000000"),
    ("ratchet: {margin: 1e308}", "a number of standard errors from 0 to 100"),
    (f"stack: {{every: {'9' * 30}}}", "a whole number from 0"),
    (f"promotion: {{hidden_queries: {'9' * 30}}}", "a whole number from 0"),
    ("guards: {memory: 1e300}", "times the head's, up to 1e+06, or absolute"),
    ("guards: {p95: '<= 1e300x'}", "times the head's, up to 1e+06, or absolute"),
    ("guards: {p95: '<= 1e300'}", "times the head's, up to 1e+06, or absolute"),
    ("guards: {p95: '<= 1e999'}", "times the head's, up to 1e+06, or absolute"),
    ("agents: {a: {kind: openai, model: m, timeout_seconds: 1e308}}", "up to 604800"),
    (f"agents: {{a: {{kind: openai, model: m, context_tokens: {'9' * 30}}}}}", "to 1000000000"),
    ("agents: {a: {kind: codex, model: m, max_usd: 1e308}}", "above 0, up to 1000000"),
    (f"agents: {{a: {{kind: codex, model: m, memory_mib: {'9' * 30}}}}}", "256 to 100000000"),
]


@pytest.mark.parametrize(("text", "rule"), BEYOND)
def test_a_number_that_nothing_can_be_done_with_is_a_mistake(text, rule):
    """Seconds of 1e308 ended in a traceback at the first trial, 1e-9 in nothing but timeouts."""
    (line,) = refusal_lines(f"{MINIMAL}\n{text}")
    assert line.startswith("program.md:")
    assert rule in line


def test_numbers_at_their_bounds_are_read():
    """Each bound is itself allowed."""
    keys = program(
        f"{MINIMAL}\nrungs: [{{depth: 1000000, seconds: 0.1, memory_mib: 64}},"
        " {depth: 1, seconds: 604800, memory_mib: 100000000}]\n"
        "limits: {minutes: 1000000, usd: 1000000, tokens: 1000000000000}\n"
        "guards: {memory: 1000000, gain: '>= -1e100'}"
    ).settings
    assert [rung.seconds for rung in keys.rungs] == [0.1, 604800.0]


@pytest.mark.parametrize(("section", "old"), settings.RENAMED)
def test_an_old_key_is_refused_with_its_new_name(section, old):
    """The new name is a key of that section, the old one is none, and the line names both."""
    new = settings.RENAMED[section, old]
    keys = {field.name: field.default for field in dataclasses.fields(settings.Settings)}
    names = {field.name for field in dataclasses.fields(keys[section])}
    assert new in names and old not in names
    (line,) = refusal_lines(f"{MINIMAL}\n{section}:\n  {old}: 3")
    assert line == f"program.md:5: {section}.{old} is now called `{new}`: rename it"


def test_sections_build_the_records_that_the_run_works_with():
    """Values arrive under the names of the domain."""
    keys = program(
        f"{MINIMAL}\nratchet: {{fdr: 0.1, max_pairs: 5, null_rate: 0.2, sentinel_every: 7}}\n"
        "guards: {lines: 1.2, p95 ms: '>= 0.9x'}\nstack: {every: 3, max_share: 0.5}\n"
        "promotion: {auto: false, stack_pairs: 3, max_trials: 20, hidden_queries: 2}\n"
        "migration: {topology: ring, every: 2, rate: 0.5}\nlimits: {max_files: 3, max_bytes: 90}"
    ).settings
    guards = Guards((Guard("lines", 1.2), Guard("p95 ms", 0.9, at_most=False)))
    assert judging.guards_of(keys.guards) == guards
    rule = LfsrRule(0.1, 5)
    expected = RatchetPolicy(
        rule, guards, 5, SimplerRule(0.5, 0.1, 5), null_rate=0.2, sentinel_every=7
    )
    assert keys.ratchet.policy(guards) == expected
    fixed = judging.RatchetSection(fdr=0.0, max_pairs=5, margin=1.5).policy(guards)
    assert fixed.acceptance == FixedMarginRule(5, margin=1.5)
    assert keys.stack.policy() == StackPolicy(every=3, share=0.5)
    assert dataclasses.astuple(keys.promotion.policy()) == (False, 3, 20, 2)
    assert keys.migration.migration() == Migration("ring", 2, 0.5)
    assert keys.limits.admission() == AdmissionLimits(90, 90, 3)


def test_all_mistakes_come_at_once_in_the_order_of_the_file():
    """So a person can fix the file in one go."""
    lines = refusal_lines("seed: x\ntask: packing\ngenome: [a]\nlimitz: 3\nagent: 4")
    assert [line.split(" ")[0] for line in lines] == [f"program.md:{n}:" for n in (2, 5, 6)]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "", ".", ".git/hooks", "a/.git", "a\\nb"]
)
def test_a_genome_stays_inside_the_repository(path):
    """Paths that are absolute, climb, name git's folder, or are empty are refused."""
    (line,) = refusal_lines(f'task: packing\ngenome: ["{path}"]')
    assert line.startswith("program.md:3:")


def test_a_genome_names_each_file_once_and_never_program_md():
    """Overlapping paths and the program itself are refused."""
    first, second = refusal_lines("task: packing\ngenome:\n- a/b\n- a\n- program.md")
    assert first.startswith('program.md:5: genome[1] covers the same files as "a/b"')
    assert second.startswith("program.md:6: genome[2] may not be program.md")


def test_files_of_the_genome_must_exist():
    """Given the repository's files, the message for a missing path names the nearest one."""
    assert program(MINIMAL, ["genome/pack.py", "program.md"]).entry == "genome/pack.py"
    (line,) = refusal_lines("task: packing\ngenome: [genome/pakc.py]", ["genome/pack.py"])
    assert line.endswith("which does not exist: did you mean `genome/pack.py`?")
    (line,) = refusal_lines(MINIMAL, ["genome/other.py"])
    assert line == "program.md:3: genome must hold one file pack.py for task packing, not 0"
    (line,) = refusal_lines(MINIMAL, ["genome/a/pack.py", "genome/pack.py", "pack.py"])
    assert line.endswith("not 2")


def test_a_dollar_limit_needs_prices():
    """A limit that could not be enforced is refused."""
    (line,) = refusal_lines(
        f"{MINIMAL}\nlimits: {{usd: 1}}\nagents: {{a: {{kind: openai, model: m}}}}"
    )
    assert line.startswith("program.md:5: agents.a.price is missing, and limits.usd needs it")


def test_a_missing_price_is_the_highest_plausible_one():
    """Cache reads cost no more than fresh tokens, writes no more than twice as much."""
    agent = program(
        f"{MINIMAL}\nagents: {{a: {{kind: openai, model: m, price: {{input: 3, output: 15}}}}}}"
    ).agents["a"]
    assert agent.price == Price(input=3, output=15, cache_read=3, cache_write=6)


def test_a_key_written_where_its_variable_belongs_is_not_repeated():
    """A secret that was pasted into program.md is not repeated in messages."""
    agents = "agents: {a: {kind: openai, model: m, api_key_env: sk-very-secret}}"
    (line,) = refusal_lines(f"{MINIMAL}\n{agents}")
    assert "never the key" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: packing", "program.md:1: no front matter"),
        ("---\ntask: packing\n", "program.md:1: the front matter has no end"),
        ("---\n- a\n---\n", "program.md:2: the front matter must be `key: value` lines"),
        ("---\ntask: a\ntask: b\n---\n", "program.md:3: 'task' stands on line 2 already"),
        ("---\na: &x [1]\nb: *x\n---\n", "program.md:2: YAML: anchors and aliases"),
        ("---\na: !!python/object:os.system x\n---\n", "program.md:2: YAML: tags"),
        ("---\na:\n  b: [1\n---\n", "program.md:4: YAML: "),
        ("---\n[a, b]: c\n---\n", "program.md:2: a key must be a word"),
        ("---\n\na: \a\n---\n", "program.md:3: YAML: the character U+0007"),
        ('---\na: "\\UFFFFFFFF"\n---\n', "program.md:2: YAML: an escape"),
        ('---\na: "\\ud800"\n---\n', "program.md:2: half a surrogate pair"),
        (f"---\na: {'[' * 9}{']' * 9}\n---\n", "program.md:2: YAML: nested more than 8 deep"),
        (f"---\na: {'[' * 100_000}\n---\n", "program.md:2: YAML: nested more than 8 deep"),
        ("---\na: {<<: {b: 1}}\n---\n", "program.md:2: YAML: merge keys"),
        ("---\na: -_\n---\n", "program.md:2: YAML: an escape or a number"),
        ("---\n1: a\n---\n", "program.md:2: a key must be a word"),
        (b"---\na: \xff\n---\n", "program.md:1: not UTF-8"),
        ("x" * (MAX_BYTES + 1), "program.md:1: larger than 256 KiB"),
    ],
)
def test_an_unreadable_file_is_refused_with_the_reason(text, message):
    """Broken, hostile or oversized front matter is refused in one line, at once."""
    with pytest.raises(SetupError) as raised:
        read_program(text, "program.md")
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_yaml_reads_as_people_mean_it():
    """Words, times and dates stay text: YAML 1.1 would make false, 90 and a date of them."""
    front = read_front_matter("---\na: no\nb: 1:30\nc: 2026-01-01\nd: 1e3\ne: 010\n---", "p")
    assert front.values == {"a": "no", "b": "1:30", "c": "2026-01-01", "d": 1000.0, "e": 10}


def test_a_file_from_windows_reads_the_same():
    """A byte order mark and CRLF line ends change nothing."""
    text = f"---\n{FULL}---\nProse.\n"
    changed = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    assert read_program(changed, "p") == read_program(text, "p")


def read_or_refuse(text):
    """Read `text`; a refusal is lines that begin with the file's name."""
    try:
        read = read_program(text, "program.md", ["genome/pack.py"])
    except SetupError as error:
        refused = str(error).splitlines()
    else:
        assert read.entry == "genome/pack.py"
        return
    assert refused
    assert all(line.startswith("program.md:") for line in refused)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_program_or_a_refusal(junk):
    """Nothing but SetupError comes out, inside the front matter or outside."""
    read_or_refuse(junk)
    read_or_refuse(b"---\n" + junk + b"\n---\n")


@given(st.text(st.sampled_from(list("ab:-[]{}&*!|>'\"#%@`?,\\ux0 \n\t.~<=")), max_size=60))
def test_any_punctuation_gives_a_program_or_a_refusal(junk):
    """The scanner's corners are reached by text made of YAML's own signs."""
    read_or_refuse(f"---\n{junk}\n---\n")


KEYS = sorted(
    key.name
    for record in (
        settings.Settings,
        agents.ModelSection,
        agents.ExternalSection,
        settings.SlicesSection,
        Rung,
        agents.IslandSection,
        settings.HeldSection,
    )
    for key in dataclasses.fields(record)
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text("aB-. é\u2028", max_size=4)
    | st.sampled_from(["auto", "packing", "mutator", "openai", "codex", "genome", "cpu", "kjv"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.text("aB-. é\u2028", max_size=4), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(["packing", "command", "function"]),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6),
)
def test_known_keys_with_any_values_give_a_program_or_a_refusal(task, values):
    """Every key meets every kind of value."""
    front = {"task": task, "genome": ["genome"], **values}
    if front["task"] in tasks.NAMES:
        front["task"] = task
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(front, text)
    read_or_refuse(f"---\n{text.getvalue()}---\n")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("network: true", "network is only for a genome that is read and not run"),
        ("env: [KEY]", "env is only for a genome that is read and not run"),
        ("model: {kind: openai, model: m}", "model is only for a genome that is read and not run"),
        ("model: gpt-6-luna", "model must be a language model that `run` may ask"),
        ("model: {kind: openai}", "model.model is missing"),
        ("model: {kind: ollama, model: m}", "model.kind is not right"),
        ("text: true", 'genome[0] has "src/f.py", which is code'),
        (
            "metric: {pattern: no group}",
            "metric.pattern must be a regular expression with one group",
        ),
        ("metric: 'a: b'", "metric must be the name of a number"),
        ("data: kjv", "data is not a key of task command: delete it"),
        (
            "metric: {name: lines, pattern: (x)}",
            "metric is the harness's own: write `metric: lines`",
        ),
        ("run: ''", "run must be a command line that prints the metric"),
    ],
)
def test_keys_that_do_not_fit_a_command_task_are_refused_in_one_line(more, problem):
    """With the reason, before anything runs."""
    key = more.partition(":")[0]
    keys = {"run": "run: x", "metric": "metric: n", "direction": "direction: minimize"}
    lines = [line for name, line in keys.items() if name != key]
    text = "\n".join(["---", "task: command", "genome: [src/f.py]", *lines, more, "---"])
    with pytest.raises(SetupError) as refused:
        read_program(text, "program.md")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_command_task_without_its_keys_is_told_what_to_add():
    """All three at once, each with an example."""
    with pytest.raises(SetupError) as refused:
        read_program("---\ntask: command\ngenome: [f.py]\n---\n", "program.md")
    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    assert "run is missing: add `run: python bench.py`" in "\n".join(lines)
