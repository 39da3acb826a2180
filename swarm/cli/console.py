"""Shared options of commands, and how commands print JSON and tables."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from analysis import plain_json, words
from harness.contract import STRENGTH, SetupError

if TYPE_CHECKING:  # rich takes a twentieth of a second, and not every command prints a table
    from rich.console import Console

PIPED_COLUMNS: Final = 240
"""Columns of a table where standard output is not a terminal."""

Command = TypeVar("Command", bound=Callable[..., object])
"""A function that becomes a command."""

to_json = plain_json.to_json
"""Return `value` as JSON."""

plural = words.plural
"""Return "1 change", "2 changes"."""

run_option = click.option(
    "--run", "name", metavar="NAME", help="Name of the run; default: the run that was active last."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

address_option = click.option(
    "--address",
    metavar="ADDRESS",
    default="auto",
    show_default=True,
    help="Address of the Ray cluster; `auto` is the one on this machine.",
)


class FiniteFloat(click.types.FloatParamType):
    """A number other than nan and inf."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number; fail with the option's name where it is none."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class FiniteRange(FiniteFloat, click.FloatRange):
    """A range of numbers without nan and inf, which no comparison of FloatRange refuses."""


def add_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Give `command` these options; its help shows them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def refused_option(old: str, new: str, *, is_flag: bool) -> Callable[[Command], Command]:
    """Return a decorator that refuses the option `old` in one line that names `new`."""

    def refuse(ctx: click.Context, param: click.Parameter, value: object) -> None:
        del ctx, param
        if value:
            raise SetupError(f"{old} was renamed: use {new}")

    return click.option(old, is_flag=is_flag, hidden=True, expose_value=False, callback=refuse)


def require_one(**given: object) -> None:
    """Raise SetupError where more than one of these options is given; `as_json` is --json."""
    names = [name.removeprefix("as_").replace("_", "-") for name, value in given.items() if value]
    if len(names) > 1:
        raise SetupError(f"{' and '.join(f'--{name}' for name in names)}: choose one")


def require_partner(partner: str, *names: str, given: object) -> None:
    """Raise SetupError where the command line has one of the options `names`, but no `partner`.

    names: the options' parameters, such as `seeds`
    given: whether the command line has the partner, without which they would be ignored
    """
    context = click.get_current_context()
    for name in names:
        if not given and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise SetupError(f"{option} is for {partner}: add it, or leave {option} out")


def sandbox_option(command: Command) -> Command:
    """Give `command` the option --sandbox and refuse its old spellings."""
    option = click.option(
        "--sandbox",
        type=click.Choice(STRENGTH),
        metavar="KIND",
        default="namespaces",
        show_default=True,
        help="How candidates are confined: namespaces, landlock (for hosts that forbid user"
        " namespaces) or none (dangerous: candidates run unconfined and scores are marked).",
    )
    old_tier = refused_option("--tier", "--sandbox namespaces or --sandbox landlock", is_flag=False)
    old_unsafe = refused_option("--unsafe", "--sandbox none", is_flag=True)
    return option(old_tier(old_unsafe(command)))


def wide_console(*, stderr: bool = False, columns: int | None = None) -> Console:
    """Return a console on standard output, PIPED_COLUMNS wide where that is not a terminal.

    It prints every text as it is: a metric may be called `loss[val]`, and a program's message may
    hold `[/b]`. The variable SWARM_COLUMNS gives another width, and so does `columns`.
    """
    from rich.console import Console  # noqa: PLC0415

    def plain(width: int | None) -> Console:
        return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    console, given = plain(columns), os.environ.get("SWARM_COLUMNS", "")
    if columns is not None or console.is_terminal:
        return console
    return plain(int(given) if given.isdecimal() else PIPED_COLUMNS)


def progress_teller(*, quiet: bool) -> Callable[[str], None]:
    """Return what tells on standard error, a line a step, how far a command is; or keeps quiet."""
    return (lambda _: None) if quiet else partial(click.echo, err=True)


def fitted(text: str, columns: int) -> str:
    """Return `text` with long lines broken at spaces; what follows a bullet is indented.

    A figure stays on one line with its standard error.
    """
    lines = []
    for line in text.replace(" ± ", _PLUS_MINUS).splitlines():
        after = "  " if line.startswith("- ") else ""
        lines += wrap(
            line, columns, subsequent_indent=after, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return "\n".join(lines).replace(_PLUS_MINUS, " ± ")


_PLUS_MINUS: Final = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"

REPEATS_EXACTLY = (
    "one commit on one seed repeats its score exactly ({} times so far): sentinels are few"
)


def unconfined(some: bool) -> str:
    """Return the mark of a run of which some scores were made with --sandbox none."""
    return ", UNCONFINED" if some else ""
