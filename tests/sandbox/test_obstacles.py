"""What forbids namespaces is found in the machine's settings, and the advice is what lifts it."""

import ctypes
import errno
import platform
import struct
import subprocess
import sys

import pytest

from harness.contract import SetupError
from harness.sandbox.backends import bubblewrap
from harness.sandbox.backends.obstacles import CONTAINER, fixes
from harness.sandbox.backends.seccomp import (
    ALLOW,
    ANY_BIT,
    EQUAL,
    ERRNO,
    LOAD,
    NEW_NAMESPACE,
    RETURN,
)

SET_NO_NEW_PRIVS, SET_SECCOMP, MODE_FILTER = 38, 22, 2

REFUSED = {"unshare": 272, "mount": 165, "umount2": 166, "pivot_root": 155, "setns": 308}
CLONE, CLONE3 = 56, 435

USER = "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nSeccomp:\t{}\n"
ROOT = "Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\nSeccomp:\t{}\n"


def docker_filter():
    """Return a filter like docker's default for a container without CAP_SYS_ADMIN."""

    def step(code, value, yes=0, no=0):
        return struct.pack("<HBBI", code, yes, no, value)

    refuse = step(RETURN, ERRNO | errno.EPERM)
    program = b""
    for number in REFUSED.values():
        program += step(LOAD, 0) + step(EQUAL, number, no=1) + refuse
    program += step(LOAD, 0) + step(EQUAL, CLONE3, no=1) + step(RETURN, ERRNO | errno.ENOSYS)
    program += step(LOAD, 0) + step(EQUAL, CLONE, no=3) + step(LOAD, 16)
    return program + step(ANY_BIT, NEW_NAMESPACE, no=1) + refuse + step(RETURN, ALLOW)


def install(program):
    """Put this process and its descendants under a filter."""
    code = ctypes.create_string_buffer(program, len(program))
    about = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(SET_SECCOMP, MODE_FILTER, about, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls")
def test_below_dockers_filter_the_advice_is_what_works_there():
    """The options of `docker run`, and nothing about a bubblewrap that is installed."""
    code = """
from tests.sandbox.test_obstacles import docker_filter, install
from harness.sandbox.backends import bubblewrap
install(docker_filter())
bubblewrap.check()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    line = done.stderr.splitlines()[-1]
    assert "cannot make a sandbox here" in line
    assert CONTAINER in line
    assert "apt install" not in line


@pytest.mark.parametrize(
    ("files", "told", "said", "not_said"),
    [
        ({"self/status": USER.format(2)}, "No permissions", CONTAINER, "another user"),
        ({"self/status": ROOT.format(2)}, "not permitted", "docker run --user 1000", "AppArmor k"),
        ({"self/status": ROOT.format(0)}, "not permitted", "run swarm as another user", CONTAINER),
        ({"self/status": USER.format(0)}, "Can't mount proc on /newroot/proc", CONTAINER, "root"),
        (
            {"sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"},
            "setting up uid map: Permission denied",
            "bwrap-userns-restrict to /etc/apparmor.d",
            "docker",
        ),
        (
            {"sys/kernel/unprivileged_userns_clone": "0\n"},
            "No permissions",
            "`sysctl -w kernel.unprivileged_userns_clone=1`",
            "max_user",
        ),
        (
            {"sys/user/max_user_namespaces": "0\n"},
            "No space left on device",
            "`sysctl -w user.max_user_namespaces=15000`",
            "AppArmor",
        ),
    ],
)
def test_each_setting_has_its_fix(tmp_path, files, told, said, not_said):
    """One that does not apply here is not named."""
    for name, text in files.items():
        path = tmp_path / "proc" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert said in fixes(told, tmp_path)
    assert not_said not in fixes(told, tmp_path)


def test_without_a_known_setting_the_message_and_a_new_bubblewrap_remain(tmp_path, monkeypatch):
    """The line holds what bubblewrap said."""
    assert fixes("Failed", tmp_path) == ""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: Failed' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(bubblewrap, "find_sandbox", lambda: broken)
    monkeypatch.setattr(bubblewrap, "fixes", lambda _: "")
    with pytest.raises(SetupError, match=r"\(bwrap: Failed\): allow user namespaces .*apt install"):
        bubblewrap.check.__wrapped__()
