"""Leave a note for the next box in System V shared memory, which no process owns."""

from __future__ import annotations

from field import trying

CREATE, REMOVE = 0o1666, 0


def attack(field):
    field.call("shmget", field.key, 4096, CREATE)


def again(field):
    with trying():
        place = field.call("shmget", field.key, 0, 0)
        print("got shared memory")
        field.call("shmctl", place, REMOVE, 0)
