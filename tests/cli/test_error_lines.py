"""Lines for errors of the machine's files."""

import errno

from swarm.cli.error_lines import user_line


def test_a_name_that_others_have_chosen_cannot_forge_a_line():
    """Agents and candidates name files too: what a terminal would obey is replaced."""
    error = PermissionError(errno.EACCES, "Permission denied", "gen/a\nswarm: all is well\x1b[2J")
    assert user_line(error) == (
        "gen/a\ufffdswarm: all is well\ufffd[2J is not yours to use: change its owner or mode"
        " (chown, chmod)"
    )
