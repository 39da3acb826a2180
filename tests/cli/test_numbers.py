"""Numbers on the command line: none is nan or infinite, in any command."""

import click
import pytest

from swarm.cli.console import FiniteFloat
from swarm.cli.main import COMMANDS, swarm


def float_options(command, path=()):
    """Yield each option of a command, and of its subcommands, that takes a float."""
    for option in command.params:
        if isinstance(option.type, click.types.FloatParamType):
            yield (*path, command.name), option
    for child in getattr(command, "commands", {}).values():
        yield from float_options(child, (*path, command.name))


OPTIONS = [
    pytest.param(option, id=" ".join([*path, option.name]))
    for name in COMMANDS
    for path, option in float_options(swarm.get_command(click.Context(swarm), name))
]


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_a_number_without_an_end_is_refused_by_every_option(option, value):
    """`swarm launch --minutes nan` would be a run without a limit."""
    assert isinstance(option.type, FiniteFloat)
    with pytest.raises(click.BadParameter):
        option.type.convert(value, option, None)


def test_there_are_such_options():
    """The check above is not about nothing."""
    assert len(OPTIONS) >= 8
