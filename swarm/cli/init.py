"""`swarm init`: writes program.md for a repository that exists, or makes one from a template."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import click

from harness.contract import SetupError
from swarm.cli.console import FiniteRange, require_one
from swarm.init import template, worktree
from swarm.init.commands import command_problem, file_problem
from swarm.init.front_matter import composed, has_front_matter
from swarm.init.offers import Offer, find_offers
from swarm.init.options import InitOptions, require_readable, require_sound
from swarm.init.prose import doubtful_keys
from swarm.init.sources import better
from swarm.init.worktree import Worktree
from swarm.project.costs import CHECKS_FIX, FIX, REQUIRE_WORK, raised_cost, unchecked_cost
from swarm.project.errors import shown
from swarm.project.frontmatter import FrontMatter, Value, read_front_matter
from swarm.project.repository import PROGRAM

NEW_FOLDER_ONLY = tuple(name for name in template.TEMPLATES if name not in ("command", "function"))
"""Templates that are no kind of task of their own, or whose genome is part of the template."""

_TEMPLATES = "".join(f"\n  {name}: {text}" for name, text in template.TEMPLATES.items())


def _split_held(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> object:
    """Return `hidden=FILE` options as a mapping."""
    del ctx, param
    pairs = [value.partition("=") for value in values]
    wrong = [split + sign + path for split, sign, path in pairs if not sign or not path]
    if wrong:
        raise click.BadParameter(f"{wrong[0]}: write SPLIT=FILE, such as hidden=data/hidden.jsonl")
    return {split: path for split, _, path in pairs}


@click.command(epilog=f"\b\nTemplates for a new repository:{_TEMPLATES}")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--task",
    type=click.Choice(list(template.TEMPLATES)),
    help="The template of a new repository DIR; here: the kind of task.",
)
@click.option("--run", metavar="COMMAND", default="", help="Command that prints the metric.")
@click.option(
    "--evaluate",
    metavar="FILE",
    default="",
    help="Python file whose `evaluate` scores a genome.",
)
@click.option("--metric", metavar="NAME", default="", help="Name of the number to improve.")
@click.option("--maximize", is_flag=True, help="More is better.")
@click.option("--minimize", is_flag=True, help="Less is better.")
@click.option(
    "--genome", metavar="PATH", multiple=True, help="File or folder that may change; repeatable."
)
@click.option(
    "--check",
    "checks",
    metavar="COMMAND",
    multiple=True,
    help="Command that must exit with 0 before a change is kept; repeatable.",
)
@click.option(
    "--build",
    metavar="COMMAND",
    default="",
    help="Command that builds a commit, outside its time.",
)
@click.option(
    "--prepare",
    metavar="COMMAND",
    default="",
    help="Command that makes data once, at launch, before any candidate.",
)
@click.option(
    "--score",
    metavar="COMMAND",
    default="",
    help="Command that scores the files that --run left in $OUT.",
)
@click.option(
    "--held",
    metavar="SPLIT=FILE",
    multiple=True,
    callback=_split_held,
    help="Data of the split dev, hidden or sealed, for the scorer alone; repeatable.",
)
@click.option(
    "--files",
    metavar="PATH",
    multiple=True,
    help="What else a trial sees; default: all tracked files. Repeatable.",
)
@click.option("--python", metavar="PATH", default="", help="Interpreter of the commands.")
@click.option("--mount", metavar="DIR", multiple=True, help="Folder to read; repeatable.")
@click.option("--text", is_flag=True, help="The genome is text that is read and not run.")
@click.option("--network", is_flag=True, help="Give --run the network; only with --text.")
@click.option(
    "--env",
    metavar="NAME",
    multiple=True,
    help="Variable of yours that --run sees; only with --text. Repeatable.",
)
@click.option(
    "--model",
    metavar="NAME",
    default="",
    help="Model that --run may ask, its key kept and its dollars metered; only with --text.",
)
@click.option(
    "--seconds",
    metavar="SECONDS",
    type=FiniteRange(min=0, min_open=True),
    help="Limit of one trial.",
)
@click.option(
    "--memory-mib", metavar="MIB", type=click.IntRange(min=64), help="Memory limit of one trial."
)
@click.option("--agent", metavar="NAME", default="", help="The agent of every island.")
@click.option("--commit", is_flag=True, help="Commit program.md and .gitignore, nothing else.")
@click.option(
    "--force",
    is_flag=True,
    help="Write into the front matter that program.md has; keys not named here stay.",
)
def init(
    folder: Path | None,
    task: str | None,
    *,
    maximize: bool,
    minimize: bool,
    commit: bool,
    force: bool,
    **given: object,
) -> None:
    """Write program.md for this repository, or make a new one from a template.

    In a repository of yours, with program.md in DIR (default: the working directory):

    \b
        swarm init --run "python bench.py" --metric ops/s --maximize --genome src/f.py

    It asks for what is missing on a terminal. Prose that program.md has already stays. A new
    repository: `swarm init DIR --task packing`.
    """  # noqa: D301 - click's mark for lines that stay as they are
    require_one(maximize=maximize, minimize=minimize)
    require_one(run=given["run"], evaluate=given["evaluate"])
    direction = "maximize" if maximize else "minimize" if minimize else ""
    options = InitOptions(task=task or "", direction=direction, **given)  # type: ignore[arg-type]  # click has checked their types
    if folder is not None and task and options == InitOptions(task=task):
        _require_nothing_ignored(task, commit=commit, force=force)
        created = template.create(folder, task)
        click.echo(f"{folder}: {task}, committed as {created[:8]} on main")
        click.echo(f"next: cd {folder} && swarm launch --minutes 10")
        return
    if task in NEW_FOLDER_ONLY:
        raise SetupError(f"--task {task} makes a new repository: swarm init DIR --task {task}")
    _init_here(folder or Path.cwd(), options, commit=commit, force=force)


def _require_nothing_ignored(task: str, *, commit: bool, force: bool) -> None:
    """Raise SetupError for options that are about a program.md that exists already."""
    for name, given in (("commit", commit), ("force", force)):
        if given:
            raise SetupError(
                f"--{name} is for program.md in a repository of yours: --task {task} commits what"
                f" it makes in a new one; leave --{name} out"
            )


def _require_there(folder: Path, options: InitOptions) -> None:
    """Raise SetupError for a folder that does not exist."""
    if folder.is_dir():
        return
    if options.task:
        raise SetupError(
            f"{folder} does not exist: --task {options.task} makes a new repository from a"
            f" template, which takes no {', '.join(options.given())}; leave that out, or make a"
            f" repository of yours there first (git init {shlex.quote(str(folder))})"
        )
    names = ", ".join(template.TEMPLATES)
    raise SetupError(f"{folder} does not exist; a new repository needs --task: {names}")


def _init_here(folder: Path, options: InitOptions, *, commit: bool, force: bool) -> None:
    """Write program.md in `folder`, which is inside a repository."""
    _require_there(folder, options)
    tree, text = worktree.look(folder), worktree.program_text(folder)
    existing = _existing(text, force=force)
    old = existing.values if existing else {}
    if commit:
        worktree.require_committable(tree)
    if options.missing(old):
        options = _completed(options, tree, tuple(old))
    require_sound(options, tree)
    keys = options.keys(old)
    program = composed(text, keys)
    require_readable(program, tree)
    written = worktree.write(tree, program)
    for line in (*_remarks(existing, keys), *_report(keys, tree, written, commit=commit)):
        click.echo(line)


def _remarks(existing: FrontMatter | None, keys: Mapping[str, Value]) -> Iterator[str]:
    """Yield a line for each thing in the program.md just written that may not be meant."""
    old = existing.values if existing else {}
    new = {**old, **keys}
    doubtful = doubtful_keys(existing.prose, old, new) if existing else []
    if doubtful:
        changed = ", ".join(f"{key} {shown(new[key])}" for key in doubtful)
        yield f"the prose of {PROGRAM} is yours and stays: see that it agrees with {changed}"
    asked = str(new["task"]), new.get("metric"), new.get("direction")
    if cost := raised_cost(*asked):
        yield f"warning: {cost}: {FIX}"
    required = any(new.get(key) for key in REQUIRE_WORK)
    if cost := unchecked_cost(*asked, required=required):
        yield f"warning: {cost}: {CHECKS_FIX}"


def _existing(text: str, *, force: bool) -> FrontMatter | None:
    """Return what program.md has. Raises SetupError where it may not be changed."""
    if not has_front_matter(text):
        return None
    if not force:
        raise SetupError(
            f"{PROGRAM} has front matter already: edit it, or add --force to write the keys given"
            " here into it"
        )
    return read_front_matter(text, PROGRAM)


def _completed(options: InitOptions, tree: Worktree, existing: tuple[str, ...]) -> InitOptions:
    """Ask for what is missing on a terminal; elsewhere raise SetupError with a line to copy."""
    offers = find_offers(tree.files, lambda path: _text(tree.folder / path))
    if sys.stdin.isatty() and sys.stdout.isatty():
        return _asked(options, tree, offers, options.missing(existing))
    offer = next((offer for offer in offers if _fits(offer, options)), Offer(""))
    line = options.with_offer(offer).command_line()
    raise SetupError(f"missing: {', '.join(options.missing(existing))}; for example: {line}")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:200_000]
    except OSError:
        return ""


def _fits(offer: Offer, options: InitOptions) -> bool:
    """Return whether an offer is of the command that the options name, if they name one."""
    if options.run or options.evaluate:
        return (offer.run, offer.evaluate) == (options.run, options.evaluate)
    return True


def _asked(
    options: InitOptions, tree: Worktree, offers: list[Offer], missing: list[str]
) -> InitOptions:
    """Return `options` with an answer for each that is missing."""
    if "--run COMMAND" in missing:
        options = _choose(options, tree, offers)
    else:
        offer = next((offer for offer in offers if _fits(offer, options)), Offer(""))
        options = options.with_offer(offer)
    if "--genome PATH" in missing:
        options = _ask_genome(options, tree)
    if "--metric NAME" in missing:
        metric = click.prompt("Name of the number to improve", default=options.metric or None)
        options = replace(options, metric=metric)
    if "--maximize or --minimize" in missing:
        likely = better(options.metric) or "maximize"
        choice = click.Choice(["maximize", "minimize"])
        answer = click.prompt(
            f"Better values of {options.metric or 'the score'}: maximize or minimize",
            type=choice,
            show_choices=False,
            default=likely,
        )
        options = replace(options, direction=answer)
    return _confirmed(options)


def _choose(options: InitOptions, tree: Worktree, offers: list[Offer]) -> InitOptions:
    """Ask which command measures the repository: a number of an offer, or a command."""
    for number, offer in enumerate(offers, 1):
        what = f"evaluate() of {offer.evaluate}" if offer.evaluate else offer.run
        click.echo(f"  {number}. {what}")
    question = (
        "Command that prints the number (or 1 to N from above)"
        if offers
        else ("Command that prints the number")
    )
    while True:
        answer = click.prompt(question, default="1" if offers else None).strip()
        if answer.isdecimal() and 0 < int(answer) <= len(offers):
            return options.with_offer(offers[int(answer) - 1])
        problem = command_problem(answer, tree)
        if not problem:
            chosen = replace(options, run=answer)
            offer = next((each for each in offers if _fits(each, chosen)), Offer(""))
            return chosen.with_offer(replace(offer, run=answer))
        click.echo(f"  that {problem}")


def _ask_genome(options: InitOptions, tree: Worktree) -> InitOptions:
    while True:
        default = " ".join(options.genome) or None
        answer = click.prompt("Files or folders that may change", default=default)
        paths = tuple(answer.replace(",", " ").split())
        problems = [problem for path in paths if (problem := file_problem(path, tree))]
        if paths and not problems:
            return replace(options, genome=paths)
        for problem in problems:
            click.echo(f"  that {problem}")


def _confirmed(options: InitOptions) -> InitOptions:
    """Ask about each command that was found beside the measuring one."""
    if options.build and not click.confirm(f"Build with `{options.build}`?", default=True):
        options = replace(options, build="")
    if options.prepare and not click.confirm(
        f"Make data with `{options.prepare}` at launch?", default=True
    ):
        options = replace(options, prepare="")
    checks = tuple(
        check
        for check in options.checks
        if click.confirm(f"Keep only what passes `{check}`?", default=True)
    )
    return replace(options, checks=checks)


def _report(
    keys: Mapping[str, Value], tree: Worktree, written: list[Path], *, commit: bool
) -> list[str]:
    """Return what was done and the next step; with `commit`, after committing."""
    said = ", ".join(f"{key} {keys[key]}" for key in ("task", "metric", "direction") if key in keys)
    names = [os.path.relpath(path) for path in written]
    lines = [f"wrote {' and '.join(names)}" + (f": {said}" if said else "")]
    enter = "" if tree.folder == Path.cwd() else f"cd {os.path.relpath(tree.folder)} && "
    if commit:
        done = f"committed as {worktree.commit(tree, written)[:8]}"
        return [*lines, done, f"next: {enter}swarm check"]
    step = f'git add {shlex.join(names)} && git commit -m "{worktree.MESSAGE}"'
    if tree.detached:
        step = f"git switch BRANCH (HEAD is detached), then {step}"
    return [*lines, f"next: {step} && {enter}swarm check"]
