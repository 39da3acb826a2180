"""Leave a note for the next sandbox in message queues and semaphores."""

from __future__ import annotations

import os

from attack_target import trying

CREATE, REMOVE = 0o1666, 0


def attack(target):
    name = target.tag.encode()
    with trying():
        target.call("msgget", target.key, CREATE)
    with trying():
        target.call("semget", target.key, 1, CREATE)
    with trying():
        target.call("mq_open", name, os.O_CREAT | os.O_RDWR, 0o600, 0)


def again(target):
    with trying():
        queue = target.call("msgget", target.key, 0)
        print("got a message queue")
        target.call("msgctl", queue, REMOVE, 0)
    with trying():
        semaphores = target.call("semget", target.key, 0, 0)
        print("got semaphores")
        target.call("semctl", semaphores, 0, REMOVE, 0)
    with trying():
        os.close(target.call("mq_open", target.tag.encode(), os.O_RDONLY, 0, 0))
        print("got a queue with a name")
        target.call("mq_unlink", target.tag.encode())
