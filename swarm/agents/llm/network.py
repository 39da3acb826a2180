"""The connection to a provider: proxies, and what an environment's variables may add to it.

An SDK's own HTTP client would send loopback addresses through HTTP_PROXY, fail with ImportError at
a socks5:// proxy, and send account headers of the environment (OPENAI_ORG_ID, OPENAI_PROJECT_ID,
OPENAI_CUSTOM_HEADERS, ANTHROPIC_CUSTOM_HEADERS) to whatever address program.md names.
"""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from harness.contract import SetupError
from swarm.agents.llm.addresses import is_home, is_loopback
from swarm.agents.llm.settings import ModelSettings

CONNECT_S = 10.0
"""Seconds for a connection."""

_PROXY_SCHEMES = ("http", "https")

_MAX_CAUSES = 20

_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)


def proxy_of(url: str) -> str:
    """Return the proxy that the environment names for `url`, "" for none; never on loopback."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.netloc):
        return ""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def shown(proxy: str) -> str:
    """Return the address of a proxy without its password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def http_client(settings: ModelSettings) -> httpx2.AsyncClient:
    """Return an HTTP client for requests to this provider.

    Raises SetupError where the environment names a proxy that it cannot use.
    """
    proxy = proxy_of(settings.url)
    if proxy and urlsplit(proxy).scheme not in _PROXY_SCHEMES:
        raise SetupError(
            f"the environment names the proxy {shown(proxy)} for {settings.url}: only http:// and"
            " https:// proxies work here; set HTTPS_PROXY to one, or NO_PROXY to"
            f" {urlsplit(settings.url).hostname}"
        )
    # a transport of our own: the client then ignores the environment's proxies, which it would also
    # use for loopback addresses, but still reads its certificates
    transport = httpx2.AsyncHTTPTransport(proxy=proxy or None, limits=_LIMITS)
    timeout = httpx2.Timeout(settings.timeout_seconds, connect=CONNECT_S)
    return httpx2.AsyncClient(transport=transport, timeout=timeout, follow_redirects=True)


def own_headers(settings: ModelSettings, key: str, omit: Any) -> dict[str, Any]:  # noqa: ANN401 - each SDK has its own mark
    """Return headers that replace those which the environment would send to a foreign address.

    `omit` is the SDK's mark for a header that is not sent. A header that carries the key keeps it.
    """
    if is_home(settings):
        return {}
    lines = os.environ.get(f"{settings.kind.upper()}_CUSTOM_HEADERS", "").split("\n")
    names = [line.partition(":")[0].strip() for line in lines if ":" in line]
    names += ["OpenAI-Organization", "OpenAI-Project"] if settings.kind == "openai" else []
    keys = {"authorization": f"Bearer {key}", "x-api-key": key}
    return {name: keys.get(name.lower(), omit) for name in names}


def explain(error: BaseException, settings: ModelSettings) -> str:
    """Return what kept a request from being sent, and the fix, in a line."""
    url, causes = settings.url, _causes(error)
    proxy = proxy_of(url)
    if proxy:
        through = f"{url} through the proxy {shown(proxy)} of the environment"
        why = type(causes[-1]).__name__
        return f"could not reach {through} ({why}): check the proxy, or set NO_PROXY"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        start = "start Ollama (`ollama serve`)" if ":11434" in url else "start its server"
        return f"connection refused at {url}: {start} or change `base_url`"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        host = urlsplit(url).hostname
        return f"no address for {host} of {url}: check the network or change `base_url`"
    return (
        f"could not connect to {url} ({type(causes[-1]).__name__}): check the network or `base_url`"
    )


def _causes(error: BaseException) -> list[BaseException]:
    found = [error]
    while (
        len(found) < _MAX_CAUSES
        and (cause := found[-1].__cause__ or found[-1].__context__) is not None
    ):
        found += [cause]
        if isinstance(cause, BaseExceptionGroup):
            found += [cause.exceptions[0]]
    return found
