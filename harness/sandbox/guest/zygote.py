"""The zygote: has imported what sandboxed programs import, and becomes them by forking.

Started as `zygote REQUESTS ROOT:ROOT MODULE,MODULE ENTRY:ENTRY` by the harness (the entries are
packages to hold in memory), with no file of the host open
but REQUESTS, a stream socket:

    we send     READY, once everything is imported
    it sends    for each sandbox ENTER (ENTER_OWN if it has a user namespace of its own), the
                process group that bubblewrap makes it in, as 4 bytes, and with them a pipe for
                bubblewrap's report, one on which the sandbox's first program signals that it
                runs, one for bubblewrap's options, and a control socket; or BEGIN, group 0, and the
                control socket alone

A copy takes bubblewrap's options from its control socket, after their number as 4 bytes, and hands
them to bubblewrap, which does nothing before; so whatever bubblewrap makes, a copy watches. It
waits until the sandbox is made, enters its namespaces, forks once more (a process never changes its
own PID namespace) and continues on its control socket. If the harness dies before that, the copy
kills what exists of the sandbox: otherwise a process of bubblewrap would wait forever for one that
was killed.

    we send     READY, with a pidfd of ourselves
    it sends    GIVEN, with descriptors for output and those that the program keeps; and a
                GuestSpec, as to `init`: an early end means that it is dead
    we send     GO, with handles as `init` does, once the spec's limits are in force, and become
                the program

The process in between stays outside and reports the program's exit status. Where there is no
sandbox to enter, it is the supervisor. The zygote itself reads nothing that is sent to a copy, so
no sandbox finds a trace of an earlier one; and while a copy waits, no candidate's program is in its
sandbox.

Not covered: copies share one memory layout and one hash seed of Python, and environment variables
that a module reads when it is imported come too late.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
from _socket import CMSG_LEN, MSG_WAITALL, socket
from contextlib import suppress

from . import supervisor as _supervisor  # noqa: F401  # a copy could no longer read the file
from .init import (
    BEGIN,
    ENTER_OWN,
    GIVEN,
    GROUP_BYTES,
    LENGTH_BYTES,
    READY,
    announce_start,
    confine_self,
    execute,
    handles,
    read,
    send,
)
from .limits import close_all_but, die_with_parent, libc, limit_others, must, restrict
from .machine_counts import CLONE_NEWUSER, hide
from .module_store import install
from .run_script import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import NoReturn

    from .limits import GuestSpec

NET, CLONE_NEWNET = "/proc/self/ns/net", 0x40000000
NAMESPACES = 0x6E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, PID, NET
MAX_DESCRIPTORS = 64  # for one sandbox
POPULATE_READ, COLLAPSE = 22, 25  # MADV_POPULATE_READ, MADV_COLLAPSE
HUGE_BYTES = 2 << 20


def main() -> None:
    """Import, then serve; a copy inside a sandbox returns and becomes the program."""
    _, number, roots, modules, entries = sys.argv
    die_with_parent()
    close_all_but({0, 1, 2, int(number)})
    sys.path += roots.split(":")
    for name in filter(None, modules.split(",")):
        importlib.import_module(name)
    if entries:
        install(entries.split(":"))
    make_resident()
    gc.collect()
    gc.freeze()  # pages that are never collected stay shared
    make_huge()
    start(roots, serve(socket(fileno=int(number))))


def make_resident() -> None:
    """Read every page of the libraries that are mapped; with torch that takes 0.07 s of CPU time.

    A page that is not in memory yet would be read by the first copy that touches it, which another
    could tell. Kernels before 5.14 cannot do so.
    """
    for first, last, mode, path in mappings():
        if path.startswith("/") and mode.startswith("r"):
            advise(first, last, POPULATE_READ)


def make_huge() -> None:
    """Gather our own memory in huge pages, whose tables a fork copies 512 times faster.

    Kernels before 6.1 cannot do so, nor where memory is too fragmented.
    """
    for first, last, mode, path in mappings():
        if mode.startswith("rw") and path in ("", "[heap]"):
            advise(-(-first // HUGE_BYTES) * HUGE_BYTES, last // HUGE_BYTES * HUGE_BYTES, COLLAPSE)


def mappings() -> list[tuple[int, int, str, str]]:
    """Return first and last address, mode and path ("": none) of each mapping of this process."""
    found = []
    with open("/proc/self/maps") as maps:  # noqa: PTH123  # pathlib takes 10 ms
        for line in maps:
            span, mode, _, _, _, *path = line.split()
            first, last = (int(part, 16) for part in span.split("-"))
            found.append((first, last, mode, path[0] if path else ""))
    return found


def advise(first: int, last: int, advice: int) -> None:
    """Give the kernel advice on a span of memory, which it may not be able to take."""
    if first < last:
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), advice)


def serve(requests: socket) -> list[str]:
    """Fork at each request; return the program's arguments, in a copy inside its sandbox."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the processes in between
    requests.sendall(READY)
    while True:
        request, descriptors = received(requests, 1 + GROUP_BYTES)
        if not request:
            os._exit(0)
        passed = array.array("i", descriptors)
        if not os.fork():
            requests.detach()
            close_all_but({0, 1, 2, *passed})
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            how, group = request[:1], int.from_bytes(request[1:], sys.byteorder)
            return (
                start_supervised(*passed)
                if how == BEGIN
                else enter(group, passed, own=how == ENTER_OWN)
            )
        for number in passed:
            os.close(number)


def enter(group: int, passed: array.array[int], *, own: bool) -> list[str]:
    """Let a sandbox be made and enter it; return its program's arguments inside."""
    status, running, options, control = passed
    channel = socket(fileno=control)
    hand_on_options(channel, options)
    init, host_pid = wait_made(status, running, channel, group)
    try:
        inside = fork_inside(init, host_pid, own=own)
    except OSError:
        if select.select([init], [], [], 0)[0]:  # its harness is dead, and it with it
            give_up(group)
        raise
    if inside:
        close_all_but({control})
        report(channel, inside)
    os.setsid()  # else the process in between could be signalled through our group
    os.close(init)
    spec, channel = take_spec(channel)
    opened = handles(spec)
    limit_others(spec["limits"])
    restrict(spec)
    return hand_over(spec, channel, opened)


def fork_inside(init: int, host_pid: int, *, own: bool) -> int:
    """Enter the sandbox's namespaces and fork, into them. Raises OSError, also where it is dead."""
    # one with the host's network has no network namespace to enter
    shared = os.stat(f"/proc/{host_pid}/ns/net").st_ino == os.stat(NET).st_ino  # noqa: PTH116
    hide(init, host_pid, own=own)
    # a sandbox has a user namespace of its own where we are not root
    spaces = (NAMESPACES & ~(CLONE_NEWNET * shared)) | CLONE_NEWUSER * own
    must(libc.setns(init, spaces), "setns")
    return os.fork()


def hand_on_options(channel: socket, options: int) -> None:
    """Give bubblewrap its options, or exit: without the harness nothing may be made."""
    length = int.from_bytes(received(channel, LENGTH_BYTES)[0], sys.byteorder)
    words = received(channel, length)[0] if length else b""
    if len(words) < max(1, length):
        os._exit(126)
    with suppress(BrokenPipeError):  # it is dead, which its report will say
        while words:
            words = words[os.write(options, words) :]
    os.close(options)


def start_supervised(control: int) -> list[str]:
    """Make a Landlock sandbox; return its program's arguments inside."""
    spec, channel = take_spec(socket(fileno=control))
    return hand_over(spec, channel, confine_self(spec, channel))


def wait_made(status: int, running: int, channel: socket, group: int) -> tuple[int, int]:
    """Wait until a sandbox is made; return a pidfd of its first process, and its pid out here."""
    report = b""
    while b"\n" not in report:
        report += wait_byte(status, channel, group)
    host_pid = int(json.loads(report.partition(b"\n")[0])["child-pid"])
    init = os.pidfd_open(host_pid)
    wait_byte(running, channel, group)
    if select.select([status], [], [], 0)[0]:  # it has ended: another process may have its pid
        give_up(group)
    os.close(status)
    os.close(running)
    return init, host_pid


def wait_byte(number: int, channel: socket, group: int) -> bytes:
    """Wait for bytes and return them; give up where the sender or the harness is dead."""
    both = select.poll()
    for descriptor in (number, channel.fileno()):
        both.register(descriptor, select.POLLIN)
    ready = dict(both.poll())
    data = b"" if channel.fileno() in ready else os.read(number, 4096)
    return data or give_up(group)


def give_up(group: int) -> NoReturn:
    """Kill the sandbox's process group and exit."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    os._exit(126)


def take_spec(channel: socket) -> tuple[GuestSpec, socket]:
    """Report READY, take the spec and apply its descriptors and environment, or exit.

    Return the spec and the channel, moved where the program keeps a descriptor of its number.
    """
    myself = os.pidfd_open(os.getpid())
    send(channel, READY, [myself])
    os.close(myself)
    output, *kept = receive_descriptors(channel, GIVEN)
    spec = read(channel)
    places = {1: output, 2: output, **dict(zip(spec["fds"], kept, strict=True))}
    channel = socket(fileno=moved(channel.detach(), places))
    place_descriptors(places)
    os.environ.clear()
    os.environ.update(spec["env"])
    return spec, channel


def receive_descriptors(control: socket, word: bytes) -> list[int]:
    """Return the descriptors that come with the expected `word`, or exit."""
    message = passed = b""
    with suppress(ConnectionResetError):
        message, passed = received(control, len(word))
    if message != word:
        os._exit(126)
    return list(array.array("i", passed))


def received(control: socket, count: int) -> tuple[bytes, bytes]:
    """Return the next `count` bytes, and the descriptors that come with them, packed."""
    message, ancillary, _, _ = control.recvmsg(count, CMSG_LEN(4 * MAX_DESCRIPTORS), MSG_WAITALL)
    return message, b"".join(data for _, _, data in ancillary)


def hand_over(spec: GuestSpec, channel: socket, opened: list[int]) -> list[str]:
    """Report that the program starts now, and close everything of ours.

    A program that is a file is executed and never returns.
    """
    announce_start(channel, opened)
    if spec["executed"]:
        execute(spec, channel)
    channel.detach()
    close_all_but({0, 1, 2, *spec["fds"]})
    reseed()
    return spec["argv"]


def report(channel: socket, inside: int) -> NoReturn:
    """Wait for the program, report its status and CPU time, and exit.

    This process may outlive its parent: the sandbox dies with the harness, and its namespace exists
    until the dead program is reaped here.
    """
    try:
        _, status, used = os.wait4(inside, 0)
        channel.sendall(f"{status} {used.ru_utime + used.ru_stime:.6f}".encode())
    finally:
        os._exit(0)


def place_descriptors(places: dict[int, int]) -> None:
    """Copy descriptors (values) to the numbers that the program expects (keys).

    A source may have the number of another's place, so all leave the places before any is filled.
    """
    sources = {place: moved(number, places) for place, number in places.items()}
    for place, number in sources.items():
        os.dup2(number, place)


def moved(number: int, places: Container[int]) -> int:
    """Return a copy of a descriptor outside `places`, itself if it is there already.

    Copies inside `places` stay open, for `place_descriptors` to replace.
    """
    while number in places:
        number = os.dup(number)
    return number


def reseed() -> None:
    """Reset what imports have fixed: numpy's seed, the folder of temporary files, the selector."""
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "tempfile" in sys.modules:
        sys.modules["tempfile"].__dict__["tempdir"] = None
    if "selectors" in sys.modules:  # as they choose where the filter allows no epoll
        try:
            select.epoll().close()
        except OSError:
            selectors = sys.modules["selectors"].__dict__
            selectors["DefaultSelector"] = selectors["PollSelector"]
