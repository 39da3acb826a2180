"""The command line: `swarm COMMAND`. Commands are imported when they are asked for.

Exit codes: 0 done, 1 our bug (with a traceback) or a record that does not hold (`verify`), 2
something that the user can mend (one line), 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from importlib import import_module

import click

from harness.contract import HarnessError, SetupError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "launch": ("swarm.cli.launch", "Run a swarm, or go on with one that was stopped."),
    "init": ("swarm.cli.init", "Make a new git repository from a task."),
    "doctor": (
        "swarm.cli.doctor",
        "Show what this machine can confine, and what would be better.",
    ),
    "slices": (
        "swarm.cli.slices",
        "List what trials run on, with its noise, speed and company.",
    ),
    "prepare": ("swarm.cli.prepare", "Fetch, check and tokenise a corpus."),
    "status": ("swarm.cli.status", "Show how every island stands."),
    "lineage": ("swarm.cli.lineage", "Show who came from what, and what was kept."),
    "query": ("swarm.cli.query", "Ask the record a question in SQL."),
    "verify": ("swarm.cli.verify", "Check that the record is as it was written."),
    "measure": ("swarm.cli.measure", "Measure a commit again on fresh seeds."),
    "stack": ("swarm.cli.stack", "Check whether kept changes add up."),
    "promote": ("swarm.cli.promote", "Measure the best stack again at the next rung."),
    "simulate": (
        "swarm.cli.simulate",
        "Try a rule on nights whose truth is known, or plan a night.",
    ),
    "merge": ("swarm.cli.merge", "Merge the consensus into your branch."),
}


class _Lazy(click.Group):
    """A group whose commands are imported on use: `swarm --help` must not wait for DuckDB."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, says) for name, (_, says) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="swarm", prog_name="swarm")
def swarm() -> None:
    """Improve code whose progress can be measured, with a population of agents.

    Write program.md, commit it, and `swarm launch`. No program.md yet: `swarm init DIR`.
    """


def main() -> None:
    """Run the command line and exit."""
    sys.exit(_run())


def _run() -> int:
    try:
        code = swarm(standalone_mode=False)
    except (SetupError, HarnessError) as error:
        click.echo(f"swarm: {error}", err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # `swarm query ... | head` is no mistake
        sys.stderr.close()
        return 0
    except Exception:  # noqa: BLE001 - the one broad except: our bug, said so, with its traceback
        traceback.print_exc()
        click.echo("swarm: this is a bug in swarm; nothing recorded is lost", err=True)
        return 1
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
