"""Values of a problem's variables: no record of a trial holds one, whatever prints or reads it."""

import pytest

from harness.contract import encode
from tests.harness.problem.test_command import Problem, kinds

KEY = "sk-0123456789abcdef"

FRONT = (
    "---\ntask: command\ngenome: [prompt.txt]\nrun: python ask.py\n{metric}\n"
    "direction: maximize\ntext: true\nenv: [MYKEY]\n---\n"
)


@pytest.fixture
def measured(open_folder, monkeypatch):
    """Return a function that gives the outcome of a `run` whose key is MYKEY's value."""

    def outcome(code, metric="metric: score", value=KEY, score=None, kind="none"):
        monkeypatch.setenv("MYKEY", value)
        files = {
            "prompt.txt": "Be good.\n",
            "ask.py": f"import os\nkey = os.environ['MYKEY']\n{code}\n",
            "program.md": FRONT.format(metric=metric),
        }
        if score is not None:
            files["score.py"] = score
            files["program.md"] = FRONT.format(metric=f"{metric}\nscore: python score.py")
        return Problem(open_folder, files).measure(sandbox=kind)

    return outcome


PRINTED = {
    "no score": "print('request failed: Authorization=Bearer', key, 'score?')",
    "two scores": "print('score: 1', key)\nprint(f'{{\"score\": 2, \"{key}\": 1}}'[1:-1])",
    "no finite score": "import json\nprint(json.dumps({'score': None, 'key': key}))",
    "a claim's name": "print(f'at {key}: 4')\nprint('score: 1')",
    "a claim": "print('claim k', 4, key)\nprint(f'{key}: 5')\nprint('score: 1')",
    "a crash": "print('401 unauthorized for', key)\nraise SystemExit(1)",
    "a traceback": "raise ValueError(key)",
    "escapes of JSON": (
        "escaped = ''.join(f'\\\\u{ord(c):04x}' for c in key)\n"
        "print('{\"' + escaped + '\": 5, \"score\": 1}')"
    ),
    "characters that nobody sees": "print('\\u200b'.join(key))\nprint('score: 1')",
    "at the cut of a message": "print('.' * (100 - len('score')), key, 'score')",
}


@pytest.mark.parametrize("name", PRINTED)
def test_what_run_prints_is_recorded_without_the_key(measured, name):
    """Tail, reason, what agents are told, and names of claims."""
    record = encode(measured(PRINTED[name]))
    assert KEY not in record
    assert KEY[:8] not in record
    assert "***" in record


@pytest.mark.parametrize("kind", kinds())
def test_in_each_sandbox_the_log_is_redacted_before_it_is_read(measured, kind):
    """The message is as it was, but for the key."""
    failure = measured(PRINTED["no score"], kind=kind).failure
    assert failure.told == failure.reason
    assert failure.reason.endswith('seen: "request failed: Authorization=Bearer *** score?"')


def test_a_line_that_no_pattern_matches_is_quoted_without_the_key(measured):
    """And a pattern that matches the key itself finds none."""
    metric = "metric: {name: score, pattern: 'k-([0-9]+)'}"
    failure = measured("print('took', key)", metric).failure
    assert failure.reason == 'no line matches the pattern of score; seen: "took ***"'


LEAVES = "open(os.environ['OUT'] + '/reply', 'w').write(key)"

SCORERS = {
    "a crash": "raise SystemExit('refused: bad reply ' + open('/out/reply').read())",
    "no score": "print('reply', open('/out/reply').read())",
    "a name": "print('at', open('/out/reply').read(), 4)\nprint('score: 1')",
}


@pytest.mark.sandbox
@pytest.mark.parametrize("name", SCORERS)
def test_what_the_scorer_reads_and_prints_is_recorded_without_the_key(measured, name):
    """It has no variable, but the files that `run` left."""
    record = encode(measured(LEAVES, score=SCORERS[name], kind="namespaces"))
    assert KEY not in record
    assert "***" in record


@pytest.mark.sandbox
def test_a_files_name_is_recorded_without_the_key(measured):
    """Digests are kept by name."""
    leaves = "open(os.environ['OUT'] + '/get?key=' + key, 'w').write('x')"
    outcome = measured(leaves, score="print('score: 1')", kind="namespaces")
    assert [*outcome.digests] == ["get?key=***"]


def test_digits_of_a_score_are_no_short_value(measured):
    """`MYKEY=1` leaves the score, and its record, as they are."""
    outcome = measured("print('score: 11.5')", value="1")
    assert (outcome.score, outcome.tail) == (11.5, "score: 11.5\n")


def test_a_value_in_the_metrics_name_is_no_secret(measured):
    """It stands in program.md, and the metric is found by its name."""
    outcome = measured("print('accuracy: 2')", "metric: accuracy", value="accuracy")
    assert outcome.score == 2.0
