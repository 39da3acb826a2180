"""Watch who opens the user's files, without opening one."""

from __future__ import annotations

import os

from attack_target import libc

CREATED = 0x100


def attack(target):
    number = libc.inotify_init1(os.O_NONBLOCK)
    if (
        number >= 0
        and libc.inotify_add_watch(number, f"{target.folder}/home".encode(), CREATED) >= 0
    ):
        print("got a watch on a folder")
