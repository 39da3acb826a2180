"""Prices of models: program.md's, else the packaged table's, nothing on this machine.

At an address that is not the maker's own the table does not apply: others set other prices.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from swarm.agents.llm.addresses import is_home, is_loopback
from swarm.agents.llm.settings import ModelSettings, Price

FREE = Price(0.0, 0.0, 0.0, 0.0)
"""The price of a model that runs on this machine."""

_DATED = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)$")


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The packaged prices by kind of provider and model, and when they were looked up."""

    checked: date
    prices: Mapping[str, Mapping[str, Price]]


@cache
def table() -> PriceTable:
    """Return the packaged table."""
    text = resources.files(__package__).joinpath("prices.toml").read_text(encoding="utf-8")
    told = tomllib.loads(text)
    kinds = {kind: told[kind] for kind in ("anthropic", "openai")}
    return PriceTable(
        told["checked"],
        {
            kind: {model: _price(**entry) for model, entry in models.items()}
            for kind, models in kinds.items()
        },
    )


def known_price(settings: ModelSettings) -> Price | None:
    """Return the price of a model, None if it is unknown."""
    if settings.price is not None:
        return settings.price
    return FREE if is_loopback(settings.url) else _packaged(settings)


def priced(settings: ModelSettings) -> ModelSettings:
    """Return `settings` with the price that is known, if one is."""
    return replace(settings, price=known_price(settings))


def price_line(agent: str, settings: ModelSettings) -> str:
    """Return a line that tells a person what an agent's model costs, and who says so."""
    price, model = known_price(settings), settings.model
    if price is None:
        return (
            f"{agent}: the price of {model} at {settings.url} is unknown, so tokens are counted and"
            " dollars are not; add `price: {input: 3, output: 15}` to count them"
        )
    if price == FREE:
        return f"{agent}: {model} at {settings.url} costs nothing"
    source = "program.md"
    if price == _packaged(settings):
        source = f"the table of {table().checked}; `price` in program.md overrides it"
    return (
        f"{agent}: {model} costs ${price.input:g} in and ${price.output:g} out per million tokens"
        f" ({source})"
    )


def _packaged(settings: ModelSettings) -> Price | None:
    """Return what the table says, which holds at the maker's own address."""
    if not is_home(settings):
        return None
    prices = table().prices[settings.kind]
    return prices.get(settings.model) or prices.get(_DATED.sub("", settings.model))


def _price(**entry: Any) -> Price:  # noqa: ANN401 - numbers of the table
    """Return an entry's price; what it does not name of the cache costs as much as input."""
    return Price(**{"cache_read": entry["input"], "cache_write": entry["input"]} | entry)
