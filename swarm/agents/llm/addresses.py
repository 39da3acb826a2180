"""Addresses of providers: on this machine, or the maker's own."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from swarm.agents.llm.settings import DEFAULT_URLS, ModelSettings


def is_loopback(url: str) -> bool:
    """Return whether `url` names this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_home(settings: ModelSettings) -> bool:
    """Return whether requests go to the API's own maker, whose environment variables then apply."""
    return urlsplit(settings.url).hostname == urlsplit(DEFAULT_URLS[settings.kind]).hostname
