"""Runner of command lines, inside the sandbox.

    command.py run FOLDER COMMAND [NAME VALUE]...
    command.py build GIVEN REPOSITORY ARCHIVE FOLDER COMMAND [NAME VALUE]...

`run` becomes `sh -c COMMAND` in FOLDER with the variables given; the values of a name that is given
several times are joined by colons, `~/PATH PLACE` makes a link to PLACE in HOME, and `>NAME SOCKET`
sets NAME to an HTTP address that leads to the Unix socket SOCKET. `build` copies the folder GIVEN
to REPOSITORY, runs the command there and writes every file that is new or differs from GIVEN's to
ARCHIVE; its exit status is the command's.
"""

from __future__ import annotations

import os
import sys

SHELL = "/bin/sh"


def main(way: str, *words: str) -> None:
    """Run the command."""
    if way == "run":
        folder, command, *variables = words
        enter(folder, variables)
        os.execv(SHELL, ["sh", "-c", command])  # noqa: S606  # it is a shell
    given, repository, archive, folder, command, *variables = words
    build(given, repository, archive, folder, command, variables)


def enter(folder: str, words: list[str]) -> None:
    """Change to the folder and the environment of a command."""
    home, joined = os.environ["HOME"], dict[str, str]()
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name.startswith(">"):
            joined[name[1:]] = f"http://127.0.0.1:{bridged(value)}"
        elif name.startswith("~/"):
            place = home + name[1:]
            os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120  # pathlib: 15 ms
            os.symlink(value, place)  # noqa: PTH211
        else:
            joined[name] = f"{joined[name]}:{value}" if name in joined else value
    # what is installed has its byte code; the repository is read-only and gets none
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ.update(joined, PWD=folder)
    os.chdir(folder)


def bridged(path: str) -> int:
    """Return a port of the loopback whose connections lead to a Unix socket, as long as we live.

    A process of its own passes them on, since this one becomes the command.
    """
    from guest import bridge  # type: ignore[import-not-found]  # noqa: PLC0415  # few have a socket

    with bridge.listen() as listener:
        port: int = listener.getsockname()[1]
        if os.fork() == 0:
            folder, _, name = path.rpartition("/")
            os.chdir(folder)  # the path of a socket has 107 bytes at most
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):  # a command's output ends with the command
                os.dup2(nothing, number)
            bridge.serve(listener, name)
    return port


def build(  # noqa: PLR0913, PLR0917  # the command line's words
    given: str, repository: str, archive: str, folder: str, command: str, variables: list[str]
) -> None:
    """Run the command on a copy of `given`, and archive what it made."""
    import shutil  # noqa: PLC0415  # a build alone needs them
    import subprocess  # noqa: PLC0415

    for entry in os.scandir(given):
        target = f"{repository}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            shutil.copytree(
                entry.path, target, symlinks=True, dirs_exist_ok=True, copy_function=copied
            )
        else:
            copied(entry.path, target)
    enter(folder, variables)
    code = subprocess.run([SHELL, "-c", command], check=False).returncode
    if code == 0:
        pack(given, repository, archive)
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)


def copied(source: str, target: str) -> None:
    """Copy a file that the command may change."""
    import shutil  # noqa: PLC0415

    shutil.copy2(source, target, follow_symlinks=False)
    if not os.path.islink(target):  # noqa: PTH114
        os.chmod(target, os.stat(target).st_mode | 0o200)  # noqa: PTH101, PTH116


def pack(given: str, repository: str, archive: str) -> None:
    """Write what is new in `repository`, or differs from `given`, to an archive."""
    import tarfile  # noqa: PLC0415

    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder, inner, files in os.walk(repository):
            links = [name for name in inner if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114
            # what is mounted there is no part of it
            inner[:] = [name for name in inner if not os.path.ismount(f"{folder}/{name}")]
            for name in (*files, *links):
                path = f"{folder}/{name}"
                inside = os.path.relpath(path, repository)
                before = f"{given}/{inside}"
                if not same(before, path):
                    info = tar.gettarinfo(path, inside)
                    if info.islnk():  # a compiler links what it made to a second name
                        info.type, info.linkname = tarfile.REGTYPE, ""
                        info.size = os.stat(path).st_size  # noqa: PTH116
                    with open(path if info.isreg() else os.devnull, "rb") as file:  # noqa: PTH123
                        tar.addfile(info, file)


def same(before: str, path: str) -> bool:
    """Return whether two files, or links, are equal."""
    import filecmp  # noqa: PLC0415

    if os.path.islink(path) or os.path.islink(before):  # noqa: PTH114
        links = os.path.islink(path) and os.path.islink(before)  # noqa: PTH114
        return links and os.readlink(path) == os.readlink(before)  # noqa: PTH115
    return os.path.isfile(before) and filecmp.cmp(before, path, shallow=False)  # noqa: PTH113


if __name__ == "__main__":
    main(*sys.argv[1:])
