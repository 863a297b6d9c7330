"""Origins: from which pages clients may come.

Rule: a browser names the page's origin and cannot lie about it; nothing else has to name
one, and may name any. So this keeps foreign pages from using what a browser holds, such as
cookies, and no program from anything. Source: RFC 6454; RFC 6455, 10.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from rtserver.core.handshake import Handshake
from rtserver.core.pipeline import ConnectContext, Middleware, Proceed, RequestContext, Result
from rtserver.errors import ConfigurationError, ConnectRefused, RequestRefused
from rtserver.logs import LimitedLog

MESSAGE = "origin not allowed"
# Browsers leave them out.
USUAL_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_LABELS = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z", re.ASCII)


class AllowedOrigins(Middleware):
    """Refuses clients of pages that are not on a list: handshakes with 403, namespaces with a ``connect_error``.

    The server's setting ``cors`` says to whom answers are readable, and holds for every request. This is
    for what is stricter: a namespace of which only some pages may be, or clients that must name their page.
    For the whole server give it to ``Server(middleware=…)``, in front of authentication; for a
    namespace to its ``use``.

    Args:
        origins: Such as ``https://example.com``; ``https://*.example.com`` is every host below that one.
        own_host: Whether pages of the host that the request is for are allowed too.
        required: Whether clients that name no origin, which browsers' cross-site ones always do, are refused.

    Raises:
        ConfigurationError: An origin is not written as browsers write them.
    """

    def __init__(self, origins: Iterable[str] = (), *, own_host: bool = True, required: bool = False) -> None:
        if isinstance(origins, str):
            raise ConfigurationError("origins", origins, "a list of origins")
        self._exact: set[str] = set()
        self._below: list[tuple[str, str]] = []
        for origin in origins:
            self._add(origin)
        self._own_host = own_host
        self._required = required
        self._quiet = LimitedLog()
        self.refused = 0

    def _add(self, origin: str) -> None:
        scheme, star, host = origin.rstrip("/").lower().partition("://*.")
        text = f"{scheme}://{host}" if star else scheme
        try:
            parts = urlsplit(text)
            written = parts.hostname is not None and text == f"{parts.scheme}://{parts.netloc}"
            # Reading the port checks it.
            usual = parts.port is not None and parts.port == USUAL_PORTS.get(parts.scheme)
            if not written or usual or not text.isascii() or "@" in text or "*" in text:
                raise ValueError
        except ValueError:
            raise ConfigurationError(
                "origins", origin, "scheme and host as in https://example.com, and a port if it is not the usual one"
            ) from None
        if star:
            self._below.append((f"{scheme}://", f".{host}"))
        else:
            self._exact.add(text)

    def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Result:
        if not self._allows(context.handshake):
            raise RequestRefused(MESSAGE)
        return proceed(context)

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        if not self._allows(context.socket.handshake):
            raise ConnectRefused(MESSAGE)
        return proceed(context)

    def _allows(self, handshake: Handshake) -> bool:
        if self._is_allowed(handshake):
            return True
        self.refused += 1
        self._quiet.warning("origin_refused", origin=(handshake.origin or "")[:200], address=handshake.address)
        return False

    def _is_allowed(self, handshake: Handshake) -> bool:
        origin = handshake.origin
        if origin is None:
            return not self._required
        if self._own_host and handshake.same_origin:
            return True
        origin = origin.lower()
        return origin in self._exact or any(
            origin.startswith(scheme) and origin.endswith(host) and _LABELS.match(origin[len(scheme) : -len(host)])
            for scheme, host in self._below
        )
