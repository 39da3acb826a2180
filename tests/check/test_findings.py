"""What `swarm check` concludes from trials of the base: each flaw is found, with its fix."""

from dataclasses import replace

import pytest

from harness.contract import CheckResult, Failure, Outcome
from islands.ratchet.guards import Guards, parse_guard
from islands.ratchet.policy import RatchetPolicy
from swarm.check.findings import findings, worst
from swarm.check.records import LEFT, SAW, BaseRuns, BaseTrial


def scored(score, seconds=2.0, **more):
    """Return an outcome with a score."""
    return Outcome("c1", "h", "namespaces", score, seconds={"budget": seconds}, **more)


def failed(kind, reason, tail=""):
    """Return an outcome without one."""
    return Outcome("c1", "h", "namespaces", failure=Failure(kind, reason), tail=tail)


def trials(scores, seconds=2.0, **more):
    """Return the trials of one seed after another, each with a tuple of scores."""
    return tuple(
        BaseTrial(seed, scored(score, seconds, **more), seconds + 0.1)
        for seed, group in enumerate(scores)
        for score in group
    )


SOUND = BaseRuns(
    "ops/s",
    "maximize",
    trials([(100.0, 100.2), (101.0, 100.9), (99.0, 99.1), (100.5, 100.4)]),
    broken=failed("crash", "exit status 1: SyntaxError"),
    again=scored(100.3, 4.0, tail=f"ops/s: 1\n{SAW} SWARM_SEED\n{SAW} HOME\n"),
    slices=2,
    limit=20.0,
)


def of(runs):
    """Return the findings by their subject."""
    return {finding.subject: finding for finding in findings(runs, RatchetPolicy())}


def test_a_sound_problem_has_nothing_to_fix():
    """All that there is to know is told all the same."""
    found = of(SOUND)
    assert {finding.severity for finding in found.values()} == {"ok"}
    assert "100.138, standard deviation 0.748" in found["score"].text
    assert "3,429 trials an hour on 2 slices" in found["time"].text
    assert "100 trials" in found["reach"].text and "1,000 trials" in found["reach"].text
    assert found["environment"].text == "a trial has the variables HOME, SWARM_SEED"
    assert {"repeats", "seed", "evidence", "genome", "leftovers"} < set(found)


@pytest.mark.parametrize(
    ("runs", "subject", "severity", "fix"),
    [
        (replace(SOUND, broken=scored(100.0)), "genome", "error", "check `genome:`"),
        (replace(SOUND, broken=scored(3.0)), "genome", "ok", ""),
        (replace(SOUND, broken=scored(100.0), text=True), "genome", "warn", "check `genome:`"),
        (replace(SOUND, broken=failed("timeout", "still running")), "genome", "ok", ""),
        (replace(SOUND, checked=CheckResult(ok=True, seconds=2.0)), "checks", "ok", ""),
        (
            replace(SOUND, checked=CheckResult(False, "pytest", "`pytest` exit status 1", "boo\n")),
            "checks",
            "error",
            "fresh clone",
        ),
        (replace(SOUND, evidence="reported"), "evidence", "warn", "add `score:`"),
        (replace(SOUND, trials=trials([(5.0, 5.0)] * 4)), "seed", "warn", "$SWARM_SEED"),
        (
            replace(SOUND, trials=trials([(4.0, 6.0), (6.0, 4.0), (5.0, 5.1), (4.5, 5.5)])),
            "seed",
            "warn",
            "$SWARM_SEED",
        ),
        (
            replace(SOUND, trials=trials([(90.0, 95.0), (120.0, 111.0), (70.0, 77.0)], 0.1)),
            "reach",
            "warn",
            "times as much in one run",
        ),
        (replace(SOUND, trials=trials([(1.0, 2.0)] * 3, 19.0)), "time", "warn", "raise `seconds`"),
        (
            replace(SOUND, trials=trials([(1.0, 2.0)] * 3, facts={"foreign_cpu": 0.4})),
            "load",
            "warn",
            "stop them",
        ),
        (
            replace(SOUND, again=scored(100.0, 2.1, tail=f"{LEFT} /home/x/.cache/result")),
            "cache",
            "warn",
            "delete its cache first",
        ),
        (
            replace(SOUND, again=scored(100.0, 4.1, tail=f"{LEFT} /tmp/log")),
            "leftovers",
            "ok",
            "",
        ),
        (
            replace(SOUND, evidence="reported", printed_by="a.py"),
            "evidence",
            "warn",
            "leave a.py out of `genome:`, add `score:`",
        ),
        (
            replace(SOUND, metric="wall_seconds", direction="minimize", required=False),
            "checks",
            "warn",
            "add `checks:`",
        ),
        (replace(SOUND, metric="wall_seconds"), "direction", "warn", "`direction: minimize`"),
        (
            replace(
                SOUND,
                evidence="reported",
                trials=trials([(1.0, 2.0)] * 3, tail="x\nops/s: 1\nthen\nMETRIC ops/s=1\n"),
            ),
            "metric",
            "warn",
            "print it once",
        ),
    ],
)
def test_each_flaw_is_found_with_its_fix(runs, subject, severity, fix):
    """And what is no flaw is not one."""
    finding = of(runs)[subject]
    assert finding.severity == severity
    assert fix in finding.fix and bool(fix) == bool(finding.fix)


@pytest.mark.parametrize(
    ("outcome", "fix"),
    [
        (
            failed("crash", "exit status 1", "ModuleNotFoundError: No module named 'scipy.fft'"),
            "install scipy",
        ),
        (failed("crash", "exit status 127: sh: 1: cargo: not found"), "install cargo"),
        (failed("crash", "x", "OSError: [Errno 30] Read-only file system: 'a'"), "$TMPDIR"),
        (failed("crash", "urlopen error: Temporary failure in name resolution"), "no network"),
        (failed("crash", "exit status 2: file not found {x}"), "tracked files only"),
        (failed("timeout", "still running at the end"), "raise `seconds`"),
        (failed("memory", "held more than 64 MiB"), "raise `memory_mib`"),
        (failed("invalid", "a was printed with different values"), "print the metric once"),
        (failed("invalid", "a was not printed"), "`name: NUMBER`"),
    ],
)
def test_a_base_that_fails_is_the_one_finding(outcome, fix):
    """Whatever it failed of."""
    runs = replace(SOUND, trials=(BaseTrial(0, outcome, 1.0),) * 3, broken=None, again=None)
    (finding,) = findings(runs, RatchetPolicy())
    assert worst([finding]) == "error"
    assert finding.text.startswith("3 of 3 trials of the base failed")
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("name", "bound", "found"),
    [
        ("p95_ms", "<= 1.05x", True),
        ("p99_ms", "<= 1.05x", False),
        ("memory", 1.1, False),
        ("lines", 1.2, False),
    ],
)
def test_a_guard_that_no_trial_prints_is_an_error(name, bound, found):
    """A run would end at its baseline; the harness's own measures need no printing."""
    runs = replace(SOUND, trials=trials([(1.0, 2.0)] * 3, claims={"p99_ms": 1.0}))
    shown = findings(runs, RatchetPolicy(guards=Guards((parse_guard(name, bound),))))
    told = [finding for finding in shown if finding.subject == "guards"]
    assert bool(told) == found
    if told:
        assert told[0].severity == "error"
        assert told[0].text.startswith("p95_ms is no number of its trials, which have lines, ")
        assert "`name: NUMBER`" in told[0].fix


@pytest.mark.parametrize(
    ("task", "metric", "direction"),
    [
        ("command", "wall_seconds", "minimize"),
        ("command", "ops/s", "maximize"),
        ("function", "lines", "maximize"),
    ],
)
def test_what_is_no_cost_of_the_harnesss_own_may_have_any_direction(task, metric, direction):
    """A function may call what it returns as it likes."""
    runs = replace(SOUND, task=task, metric=metric, direction=direction)
    assert "direction" not in of(runs)
