"""Access to the page: which requests are answered, and what a browser may do with an answer.

A request is refused (403) under another Host name than the page's own, which ends DNS rebinding;
from another site's page, unless a person follows a link there; without the token, where one is
needed. On loopback only steering needs it, elsewhere reading too. It comes once in the address, is
kept in a cookie that no other site can send, and is taken out of the address. What steers is a POST
with that cookie and this page's own Origin; other methods are refused.

Not covered:
- the page speaks plain HTTP. Off loopback, whoever can read the network can read the token:
  `ssh -L 8765:127.0.0.1:8765 HOST` needs no `--host`;
- on loopback, other users of the machine may read the page unless it is started with `--token`;
- browsers send cookies to every port of a host, so that a hostile server on this machine learns the
  token of a person who visits it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

STEERS: Final = "swarm.steers"
"""Name in a request's scope of whether its sender may steer."""

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src"
        " 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response that does not set them itself."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    hosts: names, without a port, by which the page may be addressed
    token: what a request must carry to steer, "" where nobody can
    guarded: whether it must carry it to read, too
    cookie: name of the cookie that holds it; ports share cookies, so two pages need two names
    """

    hosts: frozenset[str] = LOOPBACK
    token: str = ""
    guarded: bool = False
    cookie: str = "swarm-token"

    def refusal(self, method: str, headers: Headers, query: str) -> str:
        """Return why a request is refused, "" if it is not."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _host_name(hosts[0]) not in self.hosts:
            return f"this page is only answered as {', '.join(sorted(self.hosts))}"
        if _from_elsewhere(headers, hosts[0]):
            return "this page is not answered to other sites"
        if method in {"GET", "HEAD"}:
            carried = not self.guarded or self.steers(headers) or self.offers(query)
            return "" if carried else f"this page needs the token: {_OPEN}"
        if method != "POST" or "origin" not in headers:
            return "this page answers GET, and POST of its own forms"
        return "" if self.steers(headers) else f"steering needs the token: {_OPEN}"

    def steers(self, headers: Headers) -> bool:
        """Return whether the request's cookie has the token."""
        return self._is_token(_cookie(headers, self.cookie))

    def offers(self, query: str) -> bool:
        """Return whether the address has the token."""
        return any(self._is_token(value) for name, value in parse_qsl(query) if name == "token")

    def _is_token(self, value: str) -> bool:
        return bool(self.token) and secrets.compare_digest(value.encode(), self.token.encode())


_OPEN: Final = "open the address that `swarm dashboard` printed"


def _host_name(host: str) -> str:
    """Return the name in a Host header, "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _from_elsewhere(headers: Headers, host: str) -> bool:
    """Return whether another site's page sent the request; links that a person follows do not."""
    if any(origin != f"http://{host}" for origin in headers.getlist("origin")):
        return True
    follows = headers.get("sec-fetch-mode") == "navigate"
    return not follows and headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


class Gate:
    """The middleware that refuses what `access` refuses, and puts our headers on all answers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse, one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, query = Headers(scope=scope), scope["query_string"].decode("latin-1")
        why = self._access.refusal(scope["method"], headers, query)
        scope[STEERS] = self._access.steers(headers)
        app: ASGIApp = self._app
        if why:
            app = PlainTextResponse(f"refused: {why}\n", status_code=403)
        elif self._access.offers(query):
            app = self._without_token(scope["path"], query)
        await app(scope, receive, _with_headers(send))

    def _without_token(self, path: str, query: str) -> Response:
        """Return the way to the same page with the token in a cookie."""
        rest = urlencode([pair for pair in parse_qsl(query) if pair[0] != "token"])
        target = f"/{path.lstrip('/')}" + (f"?{rest}" if rest else "")
        answer = RedirectResponse(target, status_code=303)
        answer.set_cookie(
            self._access.cookie, self._access.token, httponly=True, samesite="strict", path="/"
        )
        return answer


def _with_headers(send: Send) -> Send:
    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_on
