"""Be the last that the kernel kills when memory runs out, in place of the first."""

from __future__ import annotations

from pathlib import Path

from attack_target import trying

SCORE = Path("/proc/self/oom_score_adj")


def attack(_):
    high = min(1000, int(SCORE.read_text()) + 100)
    with trying():
        SCORE.write_text(str(high))  # whoever raises it may go back
        SCORE.write_text(str(high - 100))
        if int(SCORE.read_text()) < high:
            print("got a better place")
