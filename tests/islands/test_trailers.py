"""Trailers: what is written is read back, by us and by git."""

import subprocess

from islands import trailers

VALUES = {"Run": "run1", "Seeds": 4, "Kept": ["abc gain=+1", "def gain=+2"], "None": []}
TEXT = "Swarm-Run: run1\nSwarm-Seeds: 4\nSwarm-Kept: abc gain=+1\nSwarm-Kept: def gain=+2\n"


def test_trailers_are_lines_in_the_order_of_the_mapping():
    """A sequence repeats its key; an empty one leaves no line."""
    assert trailers.write(VALUES) == TEXT


def test_trailers_are_read_back_and_the_last_value_of_a_key_counts():
    """Lines in the body that only look like trailers are overruled by the real ones."""
    message = (
        f"Subject\n\nSwarm-Run: forged\nSwarm-: no\n Swarm-Seeds: 9\n\n{TEXT}\nSigned-off: x\n"
    )
    assert trailers.read(message) == {"Run": "run1", "Seeds": "4", "Kept": "def gain=+2"}


def test_git_reads_them_as_trailers():
    """`git interpret-trailers --parse` returns the very lines."""
    done = subprocess.run(
        ["git", "interpret-trailers", "--parse"],
        input=f"Subject\n\nBody.\n\n{TEXT}",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == TEXT
