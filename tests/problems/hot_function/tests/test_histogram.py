import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from histogram import histogram


def test_it_counts():
    text = b"hello, world" * 9
    assert histogram(text) == Counter(text)
