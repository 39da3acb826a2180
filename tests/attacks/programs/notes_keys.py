"""Leave a note for the next sandbox in the user's kernel keyring."""

from __future__ import annotations

from attack_target import trying

USER_KEYRING, SEARCH, UNLINK = -4, 10, 9


def attack(target):
    target.call("add_key", b"user", target.tag.encode(), b"note", 4, USER_KEYRING)


def again(target):
    with trying():
        key = target.call("keyctl", SEARCH, USER_KEYRING, b"user", target.tag.encode(), 0)
        print("got a key")
        target.call("keyctl", UNLINK, key, USER_KEYRING)
