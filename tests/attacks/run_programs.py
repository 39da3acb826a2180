"""Runs attack programs inside a sandbox.

Usage: `run_programs.py /out /attacks GIVEN TARGET SOCKET TURN NAME...`. Each runs in a process of
its own, one after another (`at once` where they are to meet the deadline); what it prints, its
loot, goes to /out/NAME. SOCKET receives which began, and which failed for another reason than a
refusal: such a failure shows nothing about the defence.
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

EACH_S = 60.0  # for one attack: it takes less than 0.5 s, on a loaded machine more


def main() -> None:
    """Run every named program and wait for it."""
    _, out, attacks, _, target, report, turn, *names = sys.argv
    sys.path += [attacks, f"{attacks}/programs"]
    sys.dont_write_bytecode = True
    started, outside = [], socket.socket(fileno=int(report))
    for name in names:
        started.append(start(Path(out, name), name, turn, target, outside))
        if turn != "at once":
            wait(started.pop())
    while started:
        time.sleep(60)


def start(loot: Path, name: str, turn: str, target: str, report: socket.socket) -> int:
    """Start one program, with its output in `loot`."""
    child = os.fork()
    if child:
        return child
    number = os.open(loot, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(number, 1)
    os.dup2(number, 2)
    os.close(number)
    try:
        program = importlib.import_module(name)
        attacked = importlib.import_module("attack_target").AttackTarget(**json.loads(target))
        report.send(f"begun {name}".encode())
        (program.again if turn == "again" else program.attack)(attacked)
    except OSError:
        pass  # refused
    except BaseException:  # noqa: BLE001 - the attack's own mistake must not pass for a defence
        report.send(f"broken {name}: {traceback.format_exc()}".encode())
    finally:
        with suppress(OSError):  # no room for its loot
            sys.stdout.flush()
        os._exit(0)


def wait(child: int) -> None:
    """Wait for a program; kill it after EACH_S."""
    limit = time.monotonic() + EACH_S
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > limit:
            os.kill(child, 9)
        time.sleep(0.002)


main()
