"""Leave a note for the next box in the kernel's keyring of the user."""

from __future__ import annotations

from field import trying

USER_KEYRING, SEARCH, UNLINK = -4, 10, 9


def attack(field):
    field.call("add_key", b"user", field.tag.encode(), b"note", 4, USER_KEYRING)


def again(field):
    with trying():
        key = field.call("keyctl", SEARCH, USER_KEYRING, b"user", field.tag.encode(), 0)
        print("got a key")
        field.call("keyctl", UNLINK, key, USER_KEYRING)
