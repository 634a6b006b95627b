"""Serves the page until Ctrl-C."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightning_hwtune.errors import ArgumentError, MissingDependencyError

if TYPE_CHECKING:
    from lightning_hwtune.web.studies import Studies

__all__ = ["PORT", "check_installed", "is_loopback", "serve"]

PORT = 8321
_CLOSING_S = 1


def check_installed() -> None:
    """Checks that the libraries of the server are installed.

    Raises:
        MissingDependencyError: one is missing.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        text = f"`hwtune serve` needs {error.name}: pip install 'lightning_hwtune[serve]'"
        raise MissingDependencyError(text) from None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    studies: Studies, token: str, host: str, port: int, ready: Callable[[str], None], *, controls: bool = False
) -> None:
    """Serves until Ctrl-C or SIGTERM.

    Args:
        port: 0 for a free one.
        controls: whether the page may change studies.
        ready: is called with the address of the page once it can be opened.

    Raises:
        ArgumentError: the port is taken, or this machine does not have the address.
    """
    import uvicorn

    from lightning_hwtune.web.access import own_names
    from lightning_hwtune.web.app import make_app

    listener = _listener(host, port)
    bound: int = listener.getsockname()[1]
    names = () if is_loopback(host) else (host, *own_names())
    app = make_app(studies, token, bound, names, controls=controls)
    quiet: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=_CLOSING_S, **quiet))
    shown = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::"):
        shown = socket.getfqdn()
    ready(f"http://{shown}:{bound}/?token={token}")
    before = signal.getsignal(signal.SIGTERM)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn sends itself the signal again once it has closed
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a message is worth printing; that the streams of open pages end with the server is not."""
    return not str(record.msg).startswith("Cancel ")


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if isinstance(error, socket.gaierror) or error.errno == 99:
            raise ArgumentError("--host", host, "an address of this machine, such as 127.0.0.1 or 0.0.0.0") from None
        hint = f"Port {port} cannot be used ({error.strerror}). Give another one, or 0 for any free one."
        raise ArgumentError("--port", port, "a port that is free", hint=hint) from None
    return listener
