"""What a client said when it came: address, headers, query and ``auth``.

Rule: a view of the request, decoded when looked at, because most are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import unquote_plus


class HttpRequest(Protocol):
    """The part of an HTTP request that a handshake shows."""

    path: str
    query: str
    peer: str
    secure: bool

    @property
    def headers(self) -> dict[str, str]: ...


class Handshake:
    """The handshake of a socket.

    Attributes:
        auth: What the client passed as ``auth`` for this namespace; an empty mapping if nothing.
        issued: When the client came, in seconds since the epoch.
    """

    __slots__ = ("_request", "auth", "issued")

    def __init__(self, request: HttpRequest, auth: Mapping[str, Any], issued: float) -> None:
        self._request = request
        self.auth = auth
        self.issued = issued

    def with_auth(self, auth: Mapping[str, Any]) -> Handshake:
        """The same, with what the client says of itself by now."""
        return Handshake(self._request, auth, self.issued)

    @property
    def origin(self) -> str | None:
        """The page that a browser has made the request for, such as ``https://example.com``; None without one."""
        return self.headers.get("origin")

    @property
    def same_origin(self) -> bool:
        """Whether the page, if there is one, is of the host that the request is for, and came as safely."""
        if self.origin is None:
            return True
        scheme, _, host = self.origin.lower().partition("://")
        # Whoever sits between can make up a page without TLS. A proxy may have taken it off the request.
        return host == self.headers.get("host", "").lower() and (scheme == "https" or not self.secure)

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers, names in lower case."""
        return self._request.headers

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters, decoded; the last of a repeated one."""
        pairs = (pair.partition("=") for pair in self._request.query.split("&") if pair)
        return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}

    @property
    def address(self) -> str:
        """The address of the other end; empty on a Unix socket."""
        return self._request.peer

    @property
    def secure(self) -> bool:
        """Whether the request came over TLS."""
        return self._request.secure

    @property
    def url(self) -> str:
        """The path with the query, as sent."""
        query = self._request.query
        return f"{self._request.path}?{query}" if query else self._request.path

    @property
    def cookies(self) -> Mapping[str, str]:
        """The request's cookies, as sent."""
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name: value for name, sign, value in pairs if sign}

    def details(self) -> dict[str, Any]:
        """As plain values, for other nodes. Source: socket.io 4.8, ``Handshake``."""
        return {
            "headers": dict(self.headers),
            "query": dict(self.query),
            "address": self.address,
            "secure": self.secure,
            "url": self.url,
            "issued": int(self.issued * 1000),
            "xdomain": "origin" in self.headers,
            "auth": dict(self.auth),
        }
