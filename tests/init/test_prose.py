"""The prose below the front matter: swarm's own sentences follow the keys, a user's stay."""

import pytest

from swarm.init.front_matter import composed
from swarm.init.prose import doubtful_keys, new_prose, updated_prose

KEYS = {
    "task": "command",
    "genome": ["src/f.py"],
    "run": "python bench.py",
    "metric": "ops/s",
    "direction": "maximize",
}


@pytest.mark.parametrize(
    "new",
    [
        {"direction": "minimize"},
        {"metric": "wall_seconds", "direction": "minimize"},
        {"metric": "bytes:a.js"},
        {"genome": ["a.py", "b"]},
        {"run": "sh bench.sh"},
        {"score": "python score.py"},
        {"agent": "claude"},
    ],
)
def test_what_swarm_wrote_is_written_again_where_keys_change(new):
    """Heading, goal and paths are as in a new file with those keys, whatever stands between."""
    keys = {**KEYS, **new}
    assert updated_prose(new_prose(KEYS), KEYS, keys) == new_prose(keys)
    more = new_prose(KEYS).replace("Equal score", "Mine. Equal score")
    assert updated_prose(more, KEYS, keys) == new_prose(keys).replace("Equal", "Mine. Equal")
    assert doubtful_keys(more, KEYS, keys) == []


def test_a_second_init_changes_the_sentence_that_the_first_wrote():
    """In the file as a whole, with Windows line endings too."""
    first = composed("", KEYS).replace("\n", "\r\n")
    second = composed(first, {"direction": "minimize"})
    assert "\r\nLower `ops/s`, as `python bench.py` prints it. Agents may change" in second
    assert "Raise" not in second and second.count("\n") == second.count("\r\n")


def test_prose_of_the_users_stays_and_is_named_where_it_may_contradict():
    """Only for keys that change and whose sentence is not swarm's."""
    mine = "# Improve ops\n\nRaise ops. Agents may change `src/f.py` and nothing else.\n"
    new = {**KEYS, "direction": "minimize", "genome": ["g.py"]}
    assert updated_prose(mine, KEYS, new) == mine.replace("src/f.py", "g.py")
    assert doubtful_keys(mine, KEYS, new) == ["direction"]
    assert doubtful_keys("Raise it.", KEYS, new) == ["direction", "genome"]
    assert doubtful_keys("Raise it.", KEYS, {**KEYS, "agent": "claude"}) == []
    assert doubtful_keys("\n", KEYS, new) == []


@pytest.mark.parametrize(
    ("metric", "goal"),
    [
        ("ops/s", "Lower `ops/s`, as `python bench.py` prints it."),
        ("wall_seconds", "Lower `wall_seconds`, which the harness measures while `python "),
        ("peak_mib", "Lower `peak_mib`, which the harness measures while `python bench.py` runs."),
        ("lines", "Lower `lines`, the lines of all that may change, which the harness counts."),
        ("bytes:a.js", "Lower `bytes:a.js`, the size of `a.js`, which the harness measures."),
    ],
)
def test_a_number_of_the_harnesss_own_is_not_said_to_be_printed(metric, goal):
    """And a goal of an earlier version, which did say so, is written again."""
    keys = {**KEYS, "metric": metric, "direction": "minimize"}
    assert f"\n{goal}" in new_prose(keys)
    old = f"Lower `{metric}`, as `python bench.py` prints it."
    assert goal in updated_prose(old, keys, keys)
    assert doubtful_keys(old, keys, {**keys, "direction": "maximize"}) == []


def test_a_metric_with_a_pattern_goes_by_its_name():
    """As program.md may have it."""
    assert "Raise `ms`" in new_prose({**KEYS, "metric": {"name": "ms", "pattern": "(.*)"}})
