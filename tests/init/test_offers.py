"""What `swarm init` finds in a repository: commands that measure, metrics, genomes, checks."""

import json

import pytest

from swarm.init.offers import find_offers
from swarm.init.sources import better, measured_files, printed_names

BENCH = """
import time
from tokenizer import split
from lib.words import count
print(f"ops/s: {n / took:.1f}")
print("seed", seed)
"""


def offers(files):
    """Return the offers of a repository with these files, text by path."""
    return find_offers(files, files.__getitem__)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('print(f"ops/s: {rate:.1f}")', "ops/s"),
        ('print("val_bpb: %.6f" % loss)', "val_bpb"),
        ('print("accuracy", accuracy)', "accuracy"),
        ('print(f"METRIC p95={p95}")', "p95"),
        ('print(json.dumps({"score": 1.5, "n": 3}))', "score"),
        ("console.log(JSON.stringify({ ops: ops, ms }))", "ops"),
        ("console.log(`ops_per_s: ${ops}`)", "ops_per_s"),
        ('printf("mflops=%f\\n", x);', "mflops"),
        ('echo "bytes: $size"', "bytes"),
    ],
)
def test_the_name_of_a_printed_number_is_read_from_the_source(line, name):
    """In Python, JavaScript, C and shell, and as JSON."""
    assert printed_names(line)[0] == name


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("ops/s", "maximize"),
        ("val_bpb", "minimize"),
        ("p95_ms", "minimize"),
        ("requestsPerSecond", "maximize"),
        ("wall_seconds", "minimize"),
        ("bytes:dist/app.js", "minimize"),
        ("banana", ""),
    ],
)
def test_a_metrics_name_suggests_which_way_is_better(metric, direction):
    """Where it says nothing, nothing is suggested."""
    assert better(metric) == direction


def test_a_benchmark_is_offered_with_the_modules_that_it_imports():
    """At the root, in src and in packages; the standard library and its own file are not."""
    files = {
        "bench_words.py": BENCH,
        "src/tokenizer.py": "",
        "lib/__init__.py": "",
        "lib/words.py": "",
        "tests/test_words.py": "",
        "notes.md": "",
    }
    (offer,) = offers(files)
    assert (offer.run, offer.metrics) == ("python bench_words.py", ("ops/s", "seed"))
    assert offer.genome == ("src/tokenizer.py", "lib/words.py")
    assert offer.checks == ("python -m pytest -q tests",)


def test_a_script_that_imports_nothing_measures_the_text_files_that_it_names():
    """A prompt or a query is opened; the examples beside it are data."""
    files = ["score.py", "prompts/system.txt", "examples.jsonl", "query.sql"]
    text = 'open("prompts/system.txt"); open("examples.jsonl"); p / "query.sql"'
    assert measured_files("score.py", text, files) == ("prompts/system.txt", "query.sql")


def test_an_evaluate_function_is_offered_before_scripts():
    """An evaluate.py without that function is a script like others."""
    files = {"evaluate.py": "def evaluate(candidate, seed, part):\n", "f.py": "", "bench.py": ""}
    first, second = offers(files)
    assert (first.evaluate, first.run, first.genome) == ("evaluate.py", "", ("f.py",))
    assert second.run == "python bench.py"
    assert offers({"evaluate.py": "print('score: 1')"})[0].run == "python evaluate.py"


def test_train_and_prepare_are_offered_together():
    """As autoresearch has them."""
    train = 'print(f"val_bpb:          {val_bpb:.6f}")'
    files = {"train.py": train, "prepare.py": "", "program.md": "# autoresearch"}
    (offer,) = offers(files)
    assert (offer.run, offer.prepare) == ("python train.py", "python prepare.py")
    assert (offer.metrics, offer.genome) == (("val_bpb",), ("train.py",))


def test_npm_scripts_are_offered_by_their_own_command():
    """Only what a shell has to read is left to npm, which takes its time."""
    scripts = {
        "bench": "node bench/run.js",
        "bench:all": "npm run a && node b.js",
        "test": "node --test",
    }
    files = {
        "package.json": json.dumps({"scripts": scripts}),
        "bench/run.js": "const { sort } = require('../sort')\nconsole.log(`ops: ${n}`)",
        "sort.js": "",
    }
    plain, combined = (o for o in offers(files) if o.source == "package.json")
    assert (plain.run, plain.metrics, plain.genome) == ("node bench/run.js", ("ops",), ("sort.js",))
    assert combined.run == "npm run --silent bench:all"
    assert plain.checks == ("node --test",)


def test_make_targets_are_offered_with_the_build():
    """The sources are the genome, but for benchmarks and tests."""
    files = {
        "Makefile": "CC := gcc\nall: sum\nsum: sum.c\n\tcc\nbench: all\n\t./sum\ntest: all\n",
        "sum.c": 'printf("ns: %f\\n", ns);',
        "bench_main.c": "",
    }
    (offer,) = offers(files)
    assert (offer.run, offer.build) == ("make --silent bench", "make all")
    assert (offer.genome, offer.checks) == (("sum.c",), ("make --silent test",))
    assert offer.metrics == ("ns",)


@pytest.mark.parametrize(
    "package", ["", "[]", "{", '{"scripts": 3}', '{"scripts": {"bench": 1}}', "[" * 9999]
)
def test_a_broken_package_json_offers_nothing(package):
    """And breaks nothing."""
    assert offers({"package.json": package}) == []
