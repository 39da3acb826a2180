"""Leave a note for the next sandbox in System V shared memory, which outlives processes."""

from __future__ import annotations

from attack_target import trying

CREATE, REMOVE = 0o1666, 0


def attack(target):
    target.call("shmget", target.key, 4096, CREATE)


def again(target):
    with trying():
        place = target.call("shmget", target.key, 0, 0)
        print("got shared memory")
        target.call("shmctl", place, REMOVE, 0)
