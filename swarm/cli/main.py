"""The command line `swarm COMMAND`; each command's module is imported when it is called.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | a bug in swarm, with a traceback; `verify`, `check`: an error was found |
| 2 | an error that the user can fix, in one line; `doctor`: the sandbox does not hold |
| 130 | stopped by Ctrl-C |
"""

from __future__ import annotations

import gc
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise

import click

from harness.contract import SetupError
from harness.installation import DISTRIBUTION
from islands.environment import withdraw_git, withdraw_secrets
from swarm.cli.streams import end_with_reader, open_closed_streams, outlive_readers

COMMANDS: Mapping[str, str] = {
    "init": "Write program.md for this repository, or make a new one.",
    "doctor": "Check which sandbox this machine supports, by attacking it.",
    "prepare": "Download, check and tokenise a corpus.",
    "check": "Run the base a few times: noise, speed, mistakes.",
    "launch": "Start a run, or resume one.",
    "note": "Tell the agents something, in your own words.",
    "pause": "Pause an island, or all.",
    "resume": "Let paused islands go on.",
    "stop": "Stop the launch when its trials end.",
    "limits": "Set new limits for a run.",
    "restart-from": "Let an island go on from an earlier commit.",
    "drop": "Drop a kept change, and what is built on it.",
    "status": "Show each island's head, score, gain and cost.",
    "dashboard": "Serve a live page of all runs.",
    "watch": "Watch a run on this terminal.",
    "lineage": "Show experiments as a tree: parent, result and hypothesis.",
    "why": "Show the whole evidence on one change.",
    "tried": "Tell whether something like this was tried.",
    "ablation": "Show what each change of a stack is worth.",
    "cost": "Show what each agent cost and earned.",
    "migrations": "Show each change brought to another island, and what came of it.",
    "transfer": "Show what holds at the next rung.",
    "compare": "Compare two runs.",
    "plot": "Draw a picture of a run.",
    "report": "Write one file about a run that a stranger can judge.",
    "query": "Query the record in SQL.",
    "schema": "Print the tables and views of the record.",
    "slices": "List slices with their noise, speed and foreign CPU load.",
    "measure": "Measure a commit again on fresh seeds.",
    "stack": "Check whether the kept changes add up.",
    "promote": "Measure the best stack at the next rung; build the consensus.",
    "merge": "Merge the consensus into your branch.",
    "runs": "List the runs of this repository.",
    "rm": "Remove a run with its branches and refs.",
    "verify": "Check that a run's record is intact.",
    "skill": "Teach a coding agent of yours to use swarm.",
    "simulate": "Simulate runs whose true effects are known.",
}
"""What each command does, in the order of a run."""

STEERING = ("note", "pause", "resume", "stop", "limits", "restart-from", "drop")
"""Commands that are in swarm.cli.steering; any other `NAME` is in swarm.cli.NAME."""


def module_of(command: str) -> str:
    """Return the name of the module that defines a command."""
    return f"swarm.cli.{'steering' if command in STEERING else command}"


class _LazyGroup(click.Group):
    """A group that imports a command when it is called: `swarm --help` must not wait for DuckDB."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(module_of(cmd_name))
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = get_close_matches(name, COMMANDS, 1)
            ctx.fail(f"no such command {name}" + (f": did you mean `{close[0]}`?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=DISTRIBUTION, prog_name="swarm")
def swarm() -> None:
    """Improve code whose progress can be measured, with a population of agents.

    Start with `swarm init DIR` and `swarm launch`; program.md says what to improve.
    """


LASTING = frozenset(
    {"launch", "stack", "promote", "merge", "measure", "check", "rm", "verify", "doctor", *STEERING}
)
"""Commands that go on when nobody reads what they print: they act, or their exit code tells."""


OPEN_UMASK = 0o022
"""The file mode mask that lets all users read, and none but the owner write."""


INTERRUPTED_QUERY = "Query interrupted"
"""DuckDB's RuntimeError where Ctrl-C ends a query."""


GC_OBJECTS = 50_000
"""New objects after which garbage is looked for. Imports alone make 300,000, none of them garbage:
at Python's 700 the search takes a tenth of a command's CPU time."""


def main() -> None:
    """Run the command line and exit."""
    gc.set_threshold(GC_OBJECTS)
    open_closed_streams()
    if LASTING.intersection(sys.argv[1:2]):
        outlive_readers()
    else:
        end_with_reader()
    if os.geteuid() == 0:  # a sandbox of root's has a uid of its own, which must read its files
        os.umask(os.umask(OPEN_UMASK) & OPEN_UMASK)
    withdraw_secrets()
    code = _run(withdraw_git())
    gc.freeze()  # else the interpreter's end looks through all modules: 0.2 s after a picture
    sys.exit(code)


def _run(places: Mapping[str, str]) -> int:
    try:
        if places:
            _refuse_foreign(places)
        _refuse_empty(sys.argv[1:])
        code = swarm(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:  # noqa: BLE001 - told in a line or reported with its traceback
        return _failed(error)
    return code if isinstance(code, int) else 0


_VALUELESS = re.compile(r"--[a-z-]+=")


def _refuse_empty(words: Sequence[str]) -> None:
    """Raise SetupError for an empty word: `swarm rm "$RUN"` must not remove some other run."""
    for before, word in pairwise(["swarm", *words]):
        if not word or _VALUELESS.fullmatch(word):
            named = word.rstrip("=") or before
            raise SetupError(
                f"the word after `{named}` is empty, as of a variable that is not set: give one, or"
                " leave it out"
            )


def _refuse_foreign(places: Mapping[str, str]) -> None:
    """Raise SetupError for a variable of git's that names another repository than this one.

    A hook of this repository sets them too, to what git finds here without them.
    """
    from swarm.project.runs import require_here  # noqa: PLC0415 - hardly anybody sets them

    require_here(places)


def _failed(error: Exception) -> int:
    """Print the line for what the user can fix; anything else is our bug."""
    if isinstance(error, RuntimeError) and str(error) == INTERRUPTED_QUERY:
        return 130
    # most commands end well
    from swarm.cli.error_lines import user_line  # noqa: PLC0415

    if line := user_line(error):
        click.echo(f"swarm: {line}", err=True)
        return 2
    traceback.print_exception(error)
    click.echo("swarm: this is a bug in swarm; nothing that was recorded is lost", err=True)
    return 1


if __name__ == "__main__":
    main()
