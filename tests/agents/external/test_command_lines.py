"""Command lines of coding agents: what they are told, and what their output means."""

import json

import pytest

from swarm.agents.external.command import AnyCommand, first_word, named_files, started_by
from swarm.agents.external.command_line import Assignment, hypothesis
from swarm.agents.external.kinds import KNOWN
from swarm.agents.external.settings import KINDS, PROVIDERS

SAID = "HYPOTHESIS: a larger step trains further"


def assignment(**more):
    """Return an assignment with a token that must not be an argument."""
    given = {
        "prompt": "Make it better.",
        "paths": ("train.py",),
        "url": "http://127.0.0.1:8765",
        "token": "swarm-token",
        "model": "some-model",
        "max_turns": 12,
        "max_output_tokens": 4096,
        "seconds": 60.0,
    }
    return Assignment(**given | more)


def lines(*events):
    """Return events as lines of JSON, among other output."""
    return "\n".join(["warning: x", *map(json.dumps, events), ""])


def claude(**more):
    """Return a result line of Claude Code."""
    given = {"type": "result", "subtype": "success", "is_error": False, "result": SAID}
    return given | more


def step(reason):
    """Return the end of a step of opencode's."""
    return {"type": "step_finish", "sessionID": "s", "part": {"reason": reason}}


DONE = {"type": "turn.completed", "usage": {}}
TOLD = {"type": "item.completed", "item": {"type": "agent_message", "text": SAID}}
TOKENS = "Tokens: 1.0k sent, 50 received."

ENDED = [
    ("claude-code", lines(claude()), 0),
    ("codex", lines({"type": "thread.started", "thread_id": "t"}, TOLD, DONE), 0),
    ("opencode", lines({"type": "text", "part": {"text": SAID}}, step("stop")), 0),
    ("mini-swe-agent", lines({"exit_status": "Submitted", "submission": SAID}), 0),
    ("aider", f"Aider v0.86.2\n\n{SAID}\n\ntrain.py\n{TOKENS}\nApplied edit to train.py\n", 0),
    ("command", f"HYPOTHESIS: a first idea\nthinking\n{SAID}\n", 0),
]

NOT_ENDED = [
    ("claude-code", "", 0, ""),
    ("claude-code", lines({"type": "assistant"}), 143, ""),
    ("claude-code", lines(claude(is_error=True, terminal_reason="api_error")), 1, "api_error"),
    (
        "claude-code",
        lines(claude(subtype="error_max_turns", terminal_reason="max_turns")),
        1,
        "max",
    ),
    ("codex", lines(TOLD), 0, ""),
    (
        "codex",
        lines({"type": "turn.failed", "error": {"message": "429 of many"}}),
        1,
        "429 of many",
    ),
    ("codex", lines(TOLD, DONE), 1, ""),
    ("opencode", lines({"type": "text", "part": {"text": SAID}}, step("tool-calls")), 0, ""),
    (
        "opencode",
        lines({"type": "error", "error": {"name": "APIError", "data": {"message": "scripted"}}}),
        1,
        "scripted",
    ),
    ("mini-swe-agent", lines({"exit_status": "LimitsExceeded", "submission": ""}), 0, "Limits"),
    ("mini-swe-agent", "nothing\n", 0, "nothing"),
    ("aider", "litellm.AuthenticationError: no key\n", 0, "AuthenticationError"),
    ("aider", f"{SAID}\n", 0, ""),
    ("command", "I changed it\n", 0, "HYPOTHESIS"),
    ("command", f"{SAID}\nTraceback\nValueError: x\n", 1, "ValueError"),
]


def line_of(kind):
    """Return a command line by its kind."""
    return AnyCommand("agent --edit") if kind == "command" else KNOWN[kind]()


@pytest.mark.parametrize(("kind", "output", "code"), ENDED)
def test_an_end_line_holds_the_hypothesis(kind, output, code):
    """Each has its own form of one."""
    end = line_of(kind).ending(output, code)
    assert end.ended
    assert hypothesis(end.text) == SAID.removeprefix("HYPOTHESIS: ")


@pytest.mark.parametrize(("kind", "output", "code", "why"), NOT_ENDED)
def test_without_an_end_line_it_has_failed(kind, output, code, why):
    """Exit status 0 is no end, and neither is a message that is followed by nothing."""
    end = line_of(kind).ending(output, code)
    assert not end.ended
    assert why in end.error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "output", ['{"type":', "[" * 100_000, '{"item": 3, "type": "turn.failed"}']
)
def test_odd_output_never_raises(kind, output):
    """What an agent prints is data."""
    assert not line_of(kind).ending(output, 1).ended


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_is_no_argument(kind):
    """Arguments are seen by every process of the sandbox; and the prompt always arrives."""
    for provider in PROVIDERS[kind]:
        made = line_of(kind).invocation(assignment(provider=provider))
        assert "swarm-token" not in " ".join(made.words)
        assert "swarm-token" in made.env.values()
        told = [made.stdin, *made.words, *made.files.values()]
        assert any("Make it better." in text for text in told)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("HYPOTHESIS: one\nHYPOTHESIS: two", "two"),
        ("**HYPOTHESIS:** bold words.**", "bold words."),
        ("- `HYPOTHESIS:` a list", "a list"),
        ("say HYPOTHESIS: in a sentence", ""),
        ("HYPOTHESIS:", ""),
    ],
)
def test_the_last_hypothesis_counts(text, found):
    """Alone on its line, marked up or not."""
    assert hypothesis(text) == found


def test_a_command_starts_as_it_is_installed(tmp_path):
    """Its program is replaced by what starts it, and the files that it names are shown."""
    script = tmp_path / "agent.py"
    script.touch()
    line = f"KEY=1 python {script} --dir {tmp_path} | tee /missing"
    assert first_word(line) == "python"
    assert started_by(line, ("/opt/py thon", "-s")).startswith("KEY=1 '/opt/py thon' -s ")
    assert named_files(line) == [script]


@pytest.mark.parametrize(
    ("line", "program", "started"),
    [
        ("MODEL=qwen qwen -p -", "qwen", "MODEL=qwen /opt/x -p -"),
        ('X="a b" prog -p', "prog", 'X="a b" /opt/x -p'),
        ("A=1 B='c d=e' run=1 prog", "prog", "A=1 B='c d=e' run=1 /opt/x"),
        ("T=$(date +%s) prog", "prog", "T=$(date +%s) /opt/x"),
        ("'/opt/my tools/prog' -p", "/opt/my tools/prog", "/opt/x -p"),
        ("prog -p a=b prog", "prog", "/opt/x -p a=b prog"),
        ("A=1; prog -p", "prog", "A=1; /opt/x -p"),
        ("A=1 B=2", "A=1 B=2", "/opt/x"),
        (" ;", ";", "/opt/x"),
        ("prog;true", "prog", "/opt/x;true"),
        ("my=dir/prog", "my=dir/prog", "/opt/x"),
        ("--a=b prog", "--a=b", "/opt/x prog"),
        ("(cd x && prog)", "(cd", "/opt/x x && prog)"),
        ("it's", "it", "/opt/x's"),
    ],
)
def test_the_program_of_a_command_is_found_where_it_stands(line, program, started):
    """After the variables that the line sets, whose values may be quoted, or the program's name."""
    assert (first_word(line), started_by(line, ("/opt/x",))) == (program, started)
