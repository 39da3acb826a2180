"""A second implementation of the ledger's hash chain, for tests that forge whole ledgers."""

import hashlib
import re


def bodies(data):
    """Return the events' bytes of a ledger, without their links."""
    return [re.sub(rb',"link":"[^"]*"}$', b"}", line) for line in data.splitlines()]


def chained(events):
    """Return a ledger of events' bytes with valid links."""
    link, lines = "0:" + "0" * 32, []
    for number, body in enumerate(events, 1):
        link = f"{number}:{hashlib.sha256(link.encode() + body).hexdigest()[:32]}"
        lines.append(body[:-1] + f',"link":"{link}"}}\n'.encode())
    return b"".join(lines)


def forge(path, old, new):
    """Rewrite a whole ledger, its chain included, as anyone with write access can."""
    path.write_bytes(chained([body.replace(old, new) for body in bodies(path.read_bytes())]))
