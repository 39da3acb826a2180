"""No attack succeeds against a sandbox; the same attacks succeed where there is none.

Another attack is another file in tests/attacks/programs: a docstring that says what it tries,
`attack(field)`, and, where stolen text or a line `got ...` is no evidence, `landed(seen)`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from attacks import table

PROGRAMS = sorted(path.stem for path in Path(__file__).parent.glob("attacks/programs/*.py"))
REAL = {
    "end_process",
    "left_links",
    "make_namespaces",
    "net_abstract",
    "net_path",
    "net_tcp",
    "net_udp",
    "notes_files",
    "pid_hopper",
    "read_environments",
    "read_paths",
    "write_git",
    "write_harness",
    "write_home",
    "write_inputs",
    "write_packages",
}


@pytest.fixture(params=table.USERS)
def user(request):
    """As whom the harness and its boxes are run."""
    reason = table.why_not(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_attack_fails_in_a_sandbox(name, user):
    """At tier 2 nothing is read, written, reached, left behind or kept alive."""
    assert table.results(2, user)[name] == ""


def test_the_attacks_are_real(user):
    """At tier 0, which confines nothing, the attacks land: the suite can tell."""
    landed = {name for name, how in table.results(0, user).items() if how}
    assert landed >= REAL
