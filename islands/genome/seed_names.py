"""Names of seeds: `SEED`, `data_seed`, `random_state`; a count of seeds is not a seed."""

from __future__ import annotations

import re

_SEED = re.compile(
    r"(?:(?i:(?:^|_)seeds?(?:_?(?:value|offset|base|number|num|all|everything))?_?\d*)"
    r"|[a-z]Seed"
    r"|(?i:pythonhashseed|random_state))\Z"
)
_COUNT = re.compile(
    r"(?:^|_)(?:n|nb|no|num|nums|number|number_of|count|counts|count_of|max|min|total)_?seeds?\Z"
    r"|(?:^|_)seeds?_?(?:count|counts|total)\Z",
    re.IGNORECASE,
)
_CAMEL_COUNT = re.compile(r"(?:\A|[a-z])(?:[nN]|[nN]um|[mM]ax|[mM]in|[tT]otal|[cC]ount)Seeds?\Z")


def is_seed_name(name: str) -> bool:
    """Return whether `name` means a seed, or several."""
    plain = name.lstrip("-").replace("-", "_")
    return _SEED.search(plain) is not None and not is_seed_count(plain)


def is_seed_count(name: str) -> bool:
    """Return whether `name` means a number of seeds, such as NUM_SEEDS."""
    plain = name.lstrip("-").replace("-", "_")
    return _COUNT.search(plain) is not None or _CAMEL_COUNT.search(plain) is not None


def is_plural(name: str) -> bool:
    """Return whether `name` means several seeds: a single number there counts them."""
    return re.search(r"seeds\Z", name, re.IGNORECASE) is not None
