"""Who may read the page: a token in the printed address, then a cookie; nothing from a foreign page or host name.

A request that changes a study is a POST below `/do/`, which only a server with `--control` accepts. It needs the
cookie, our `Origin`, and a header that a browser lets other origins send only if the server allows it, which it never
does.

The answer to the address with the token sets a cookie that is made from the token, and the page removes the token from
the address. A page of another site cannot read ours: its requests have a foreign `Origin` or `Sec-Fetch-Site`, and one
that points its own name to this machine has a foreign `Host`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CONTENT_POLICY", "CONTROL_HEADER", "Access", "stored_token"]

CONTROL_HEADER = "x-hwtune-request"

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""The page runs our scripts only and loads nothing from elsewhere."""

_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_FORBIDDEN = "403: open the address that `hwtune serve` has printed; it has a token at its end\n"


def stored_token(path: Path | None = None) -> str:
    """Returns this user's token: the stored one, so that open pages continue after a restart, or a new one.

    A file that other users can read is not used, and is replaced.
    """
    path = path or _token_path()
    try:
        stat = path.stat()
        found = path.read_text(encoding="ascii").strip()
        if len(found) >= 32 and stat.st_uid == os.getuid() and not stat.st_mode & 0o077:
            return found
    except (OSError, ValueError):
        pass
    token = secrets.token_urlsafe(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(token)
    except OSError:  # no home folder that can be written: the token is then for this server only
        pass
    return token


def _token_path() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    return folder / "lightning_hwtune" / "serve_token"


@final
class Access:
    """ASGI middleware that lets only the user of the printed address read.

    Args:
        token: the token of the address.
        port: the port of the server, a part of the cookie's name: browsers send the cookies of one port to all ports.
        hosts: names under which this server may be addressed, in addition to loopback names and addresses of numbers.
        controls: whether requests that change a study are accepted.
    """

    def __init__(
        self, app: ASGIApp, token: str, port: int, hosts: tuple[str, ...] = (), *, controls: bool = False
    ) -> None:
        self._app, self._token, self._controls = app, token, controls
        self._cookie = f"hwtune_{port}"
        self._secret = hmac.new(token.encode(), b"cookie", hashlib.sha256).hexdigest()
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that is not allowed; passes on the others."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._refusal(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if answer is None and self._has_token(scope):
                    headers.append("set-cookie", f"{self._cookie}={self._secret}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """Returns the answer to a request that does not reach the page; None for one that may."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_known(host):
            return PlainTextResponse("400: this server does not have this host name\n", 400)
        changes = scope["method"] == "POST" and scope["path"].startswith("/do/")
        if not changes and scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("405: this server only reads\n", 405)
        if changes and not self._controls:
            return PlainTextResponse("403: this server only reads; `hwtune serve --control` also controls\n", 403)
        if changes and (headers.get("origin") is None or headers.get(CONTROL_HEADER) is None):
            return PlainTextResponse("403: only the page of this server may change a study\n", 403)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        is_link = scope["path"] == "/" and origin is None and headers.get("sec-fetch-mode") == "navigate"
        if origin not in (None, f"http://{host}") or (site not in ("same-origin", "none") and not is_link):
            return PlainTextResponse("403: requests of other pages are refused\n", 403)
        if not self._has_token(scope) and not self._has_cookie(headers):
            return PlainTextResponse(_FORBIDDEN, 403)
        return None

    def _has_token(self, scope: Scope) -> bool:
        """Return whether this is the printed address; the page then removes the token from what the browser shows."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return scope["path"] == "/" and secrets.compare_digest(given.encode(), self._token.encode())

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return found is not None and secrets.compare_digest(found.value.encode(), self._secret.encode())

    def _is_known(self, host: str) -> bool:
        """Return whether a `Host` header is a name of this server, or an address, which no other site can have."""
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.lower() in self._hosts
        return True


def own_names() -> tuple[str, ...]:
    """Returns the names of this machine, for a server that other machines can reach."""
    return tuple({socket.gethostname(), socket.getfqdn()})
