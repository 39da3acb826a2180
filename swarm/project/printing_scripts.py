"""The script that `run` starts and that prints the metric, where a candidate may change it itself.

A number that is printed where a candidate's code runs is reported anyway; here no other code stands
between them.

Not covered: scripts that a shell, make or npm starts in turn.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from harness.problem.measures import is_measured
from harness.problem.project_runners import without_runner
from swarm.project.command_words import is_python, script_of, started
from swarm.project.program import Program


def printing_script(program: Program) -> str:
    """Return the path, in the repository, of a script in the genome that prints the metric.

    Returns "" where there is none, and where a scorer or the harness takes the metric.
    """
    settings = program.settings
    measured = isinstance(settings.metric, str) and is_measured(settings.metric)
    if not settings.run or settings.score or settings.text or measured:
        return ""
    folder = posixpath.dirname(program.path)
    for word in _scripts(settings.run):
        path = posixpath.normpath(posixpath.join(folder, word))
        if any(path == place or path.startswith(f"{place}/") for place in settings.genome):
            return path
    return ""


def _scripts(command: str) -> Iterator[str]:
    """Yield the paths that may be what a command line starts: of a module, its files."""
    try:
        words = started(without_runner(command))
    except ValueError:
        return
    if not words:
        return
    program, arguments = words[0], words[1:]
    if "/" in program:
        yield program
    if script := script_of(posixpath.basename(program), arguments):
        yield script
    elif is_python(posixpath.basename(program)) and "-m" in arguments[:-1]:
        module = arguments[arguments.index("-m") + 1].replace(".", "/")
        yield from (f"{module}.py", f"{module}/__main__.py")
