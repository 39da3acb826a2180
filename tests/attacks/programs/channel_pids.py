"""Count the processes of the whole machine by the inode of a pidfd."""

from __future__ import annotations

import ctypes
import os
import signal
import socket

from attack_target import trying

CLONE_PIDFD, SO_PEERPIDFD = 0x1000, 77


def attack(target):
    with trying():
        print("got the count", os.fstat(os.pidfd_open(os.getpid())).st_ino)
    with trying():
        ours, _ = socket.socketpair()
        number = ours.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
        print("got the count", os.fstat(number).st_ino)
    with trying():
        number, flags = ctypes.c_int(-1), CLONE_PIDFD | signal.SIGCHLD
        child = target.call("clone", flags, 0, ctypes.addressof(number), 0, 0)
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        print("got the count", os.fstat(number.value).st_ino)
