"""The command line as a program: Ctrl-C ends it without a traceback from its first line on."""

import sys


def run() -> None:
    """Run the command line and exit, with 130 where Ctrl-C comes during the imports."""
    try:
        from swarm.cli.main import main  # noqa: PLC0415 - most of what Ctrl-C may interrupt

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
