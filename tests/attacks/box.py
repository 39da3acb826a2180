"""Runs attack programs inside a box: `box.py /out /attacks GIVEN FIELD SOCKET TURN NAME...`.

Each runs as a process of its own, one after the other (`at once` where they are to meet the
deadline), and what it prints, its loot, is left at /out/NAME. On SOCKET it is said which were
begun, and which broke for another reason than that something was refused: such an attack fails for
nobody's merit.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

EACH = 3.0  # seconds for one attack


def main() -> None:
    """Run every program that is named and wait for it."""
    _, out, attacks, _, field, told, turn, *names = sys.argv
    sys.path += [attacks, f"{attacks}/programs"]
    sys.dont_write_bytecode = True
    started, outside = [], socket.socket(fileno=int(told))
    for name in names:
        started.append(start(Path(out, name), name, turn, field, outside))
        if turn != "at once":
            wait(started.pop())
    while started:
        time.sleep(60)


def start(loot: Path, name: str, turn: str, field: str, told: socket.socket) -> int:
    """Start one program, its output going to `loot`."""
    child = os.fork()
    if child:
        return child
    number = os.open(loot, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(number, 1)
    os.dup2(number, 2)
    os.close(number)
    try:
        program = importlib.import_module(name)
        struck = importlib.import_module("field").Field(**json.loads(field))
        told.send(f"begun {name}".encode())
        (program.again if turn == "again" else program.attack)(struck)
    except OSError:
        pass  # refused
    except BaseException:  # noqa: BLE001 - the attack's own mistake must not pass for a defence
        told.send(f"broken {name}: {traceback.format_exc()}".encode())
    finally:
        with suppress(OSError):  # where its loot finds no room
            sys.stdout.flush()
        os._exit(0)


def wait(child: int) -> None:
    """Wait for a program, not for ever."""
    limit = time.monotonic() + EACH
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > limit:
            os.kill(child, 9)
        time.sleep(0.002)


main()
