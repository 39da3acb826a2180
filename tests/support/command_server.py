"""A process that has imported the command line, and forks one child for each `swarm` command.

A `swarm` process takes a second to import what it needs, and the tests start some two hundred.
A child has its own folder, environment, arguments and output, ends as any process does, and shares
nothing with another. `tests.support.target.command` is for tests that start one from scratch;
tests/test_layout.py shows that no command needs another's imports.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from importlib import import_module

from swarm.cli.main import COMMANDS, main, module_of

SERVER = "from tests.support.command_server import serve; serve(*map(int, {fds}))"


class CommandServer:
    """Runs commands with the packages of `home`; ends with this process."""

    def __init__(self, home, root, env):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            path = os.pathsep.join(map(str, (home, root)))
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVER.format(fds=[theirs.fileno()])],
                cwd=home,
                env={**env, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours

    def run(self, args, where, env, timeout):
        """Run a command to its end; return its exit code, standard output and standard error."""
        with ExitStack() as stack:
            files = [os.memfd_create(name) for name in ("out", "err")]
            for number in files:
                stack.callback(os.close, number)
            request = json.dumps([list(args), str(where), env]).encode()
            self._socket.settimeout(timeout)
            socket.send_fds(self._socket, [request], files)
            try:
                code = int(self._socket.recv(64))
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                raise
            out, err = (os.pread(number, 1 << 26, 0).decode() for number in files)
            return code, out, err


def serve(number):
    """Fork a child for each request on the socket until its other end closes."""
    for name in COMMANDS:
        import_module(module_of(name))
    gc.freeze()  # so that children share these pages
    with socket.socket(fileno=number) as requests:
        while True:
            data, files, _, _ = socket.recv_fds(requests, 1 << 20, 2)
            if not data:
                return
            child = os.fork()
            if not child:
                requests.close()
                _become(json.loads(data), files)
                return
            for each in files:
                os.close(each)
            _, status = os.waitpid(child, 0)
            requests.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request, files):
    """Turn this process into the command of `request`."""
    args, where, env = request
    for target, number in enumerate(files, 1):
        os.dup2(number, target)
        os.close(number)
    os.chdir(where)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["swarm", *args]
    main()
