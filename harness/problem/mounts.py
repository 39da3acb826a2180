"""Folders that trials see beside the repository: what is untracked but needed to run.

`mount:` names them: relative to program.md (`node_modules`, seen at the same place of the
repository), or anywhere else (`~/.cargo`, seen at its own path and linked from the trial's HOME).
`node_modules` and the Python's environment need not be named. What is in a `bin` folder there can
be run by name.

Not covered: keys that lie deeper in a mount, or under other names. Mounts are not in the harness
id, so change nothing in them during a run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.contract import SetupError
from harness.problem.spec import REPO

FOUND = "node_modules"
"""The folder that is mounted where it exists beside program.md or at the root."""

SETTINGS = ("java*", "perl", "fonts", "maven", "gradle", "ssl/openssl.cnf")
"""Files and folders of /etc that toolchains read, if every user may."""

SECRETS = (
    *("credentials", "credentials.toml", "credentials.json", ".credentials", ".netrc", ".npmrc"),
    *(".pypirc", ".env", "id_rsa", "id_ed25519", "id_ecdsa", "private-keys-v1.d", "hosts.yml"),
)
"""Names under which programs keep keys."""

TOOLS = (Path("/usr/local/go/bin"),)
"""Folders of programs outside the usual path."""


@dataclass(frozen=True, slots=True)
class MountPlan:
    """Mounts of a problem.

    places: the host path of each, by its path in a trial
    programs: folders of programs, for PATH
    home: paths below HOME, each with the path in a trial that it links to
    """

    places: dict[str, str] = field(default_factory=dict)
    programs: list[str] = field(default_factory=list)
    home: dict[str, str] = field(default_factory=dict)


def plan_mounts(repo: Path, folder: str, wanted: Sequence[str]) -> MountPlan:
    """Return the mounts of the problem in `folder` of `repo`; `wanted` is program.md's `mount`.

    Raises SetupError for a folder that is missing, or holds what no trial may see.
    """
    plan = MountPlan()
    for place in _settings():
        plan.places[str(place)] = str(place)
    for base in dict.fromkeys((repo / folder, repo)):
        if (base / FOUND).is_dir():
            _add_inside(plan, repo, base / FOUND)
    for word in wanted:
        host = Path(os.path.normpath(repo / folder / Path(word).expanduser()))
        _check(repo, word, host)
        if host.is_relative_to(repo):
            _add_inside(plan, repo, host)
        else:
            _add_outside(plan, host)
    plan.programs.extend(str(place) for place in TOOLS if place.is_dir())
    return plan


def _settings() -> Iterator[Path]:
    for name in SETTINGS:
        for place in Path("/etc").glob(name):
            wanted = stat.S_IROTH | (stat.S_IXOTH if place.is_dir() else 0)
            if place.stat().st_mode & wanted == wanted:
                yield place


def _add_inside(plan: MountPlan, repo: Path, host: Path) -> None:
    inside = f"{REPO}/{host.relative_to(repo)}"
    plan.places[inside] = str(host.resolve())
    plan.programs.extend(f"{inside}/{name}" for name in (".bin", "bin") if (host / name).is_dir())


def _add_outside(plan: MountPlan, path: Path) -> None:
    plan.places[str(path)] = str(path)
    if path.is_relative_to(Path.home()):
        plan.home[str(path.relative_to(Path.home()))] = str(path)
    if path.name == "bin":
        plan.programs.append(str(path))
    elif (path / "bin").is_dir():
        plan.programs.append(str(path / "bin"))


def _check(repo: Path, word: str, host: Path) -> None:
    if not host.is_dir():
        raise SetupError(f"mount: {word} is not a folder: make it, or delete it from program.md")
    real = host.resolve()
    for private in (repo.resolve(), Path.home().resolve()):
        if private.is_relative_to(real):
            raise SetupError(
                f"mount: {word} holds {private}, which trials must not see: name a folder in it"
            )
    if real.is_relative_to(repo.resolve() / ".git") or real.is_relative_to(repo / ".swarm"):
        raise SetupError(f"mount: {word} is the repository's own record: trials must not see it")
    secret = next((name for name in SECRETS if (real / name).exists()), None)
    if secret is not None:
        raise SetupError(
            f"mount: {word} holds {secret}, and trials see no keys: name the folders in it that are"
            " needed, or move the keys away"
        )
