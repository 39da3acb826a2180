"""One end of a channel between sandboxes: `channel_ends.py FOLDER ROLE CARRIER SEED BEGIN`.

FOLDER holds the package `carriers`. A sender sends the bits of random.Random(SEED) and prints how
long that took; a receiver prints the bits that it read and how long it took. BEGIN, a time of
time.monotonic(), is when both act, where they run at a time; 0: the receiver starts when the sender
is dead.
"""

from __future__ import annotations

import sys
import time


def main():
    folder, role, carrier, seed, begin = sys.argv[1:]
    sys.path.append(folder)
    sys.dont_write_bytecode = True
    from carriers import CARRIERS  # noqa: PLC0415

    end = CARRIERS[carrier](int(seed), float(begin))
    began = time.monotonic()
    got = end.send() if role == "send" else end.receive()
    print("".join(map(str, got or [])), time.monotonic() - max(began, end.begin))


if __name__ == "__main__":
    main()
