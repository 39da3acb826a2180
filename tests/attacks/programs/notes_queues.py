"""Leave a note for the next box in message queues and semaphores, which no process owns."""

from __future__ import annotations

import os

from field import trying

CREATE, REMOVE = 0o1666, 0


def attack(field):
    name = field.tag.encode()
    with trying():
        field.call("msgget", field.key, CREATE)
    with trying():
        field.call("semget", field.key, 1, CREATE)
    with trying():
        field.call("mq_open", name, os.O_CREAT | os.O_RDWR, 0o600, 0)


def again(field):
    with trying():
        queue = field.call("msgget", field.key, 0)
        print("got a message queue")
        field.call("msgctl", queue, REMOVE, 0)
    with trying():
        semaphores = field.call("semget", field.key, 0, 0)
        print("got semaphores")
        field.call("semctl", semaphores, 0, REMOVE, 0)
    with trying():
        os.close(field.call("mq_open", field.tag.encode(), os.O_RDONLY, 0, 0))
        print("got a queue with a name")
        field.call("mq_unlink", field.tag.encode())
