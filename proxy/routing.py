"""Which upstream a request is for.

Rule: a sid that was not minted under the secret, or by a life of a node that is over, goes
to nobody: it is answered here, and no client can aim at a node.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import NamedTuple

from proxy.errors import UnknownSession
from proxy.head import RequestHead
from proxy.pool import Pool
from proxy.settings import Settings
from proxy.upstreams import Upstream
from rtserver.protocol.sid import Owner, SidCodec


class Route(NamedTuple):
    """Where a request goes.

    Args:
        upstream: None when nobody can have it.
        pinned: Nobody else may have it.
        sets_cookie: The answer shall tell the client, by a cookie, whose it is.
    """

    upstream: Upstream | None
    pinned: bool = False
    sets_cookie: bool = False


class UnknownOwner(UnknownSession):
    """The sid is sound, but its node is not known here, or not yet.

    Args:
        owner: What the sid says.
    """

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self.owner = owner


class Router:
    """Finds upstreams for requests.

    Args:
        pool: The upstreams.
        settings: Affinity, secret and path.
    """

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._path = settings.path
        self._bare_path = settings.path.rstrip("/")
        self._codec = SidCodec(settings.secret) if settings.affinity.kind == "sid" else None
        # So that a cookie does not say how many upstreams there are, and an address is in none.
        self._cookie_key = blake2s("\0".join(settings.secret).encode(), person=b"rtcookie").digest()

    def route(self, head: RequestHead, peer: str, now: float) -> Route:
        """Where a request goes.

        Raises:
            UnknownSession: It names a session that nobody can have.
        """
        match self._settings.affinity.kind:
            case "sid":
                return self._by_sid(head, now)
            case "cookie":
                return self._by_cookie(head, now)
            case "address":
                return self._by_hash(peer.encode(), now)
            case "header":
                value = head.get(self._settings.affinity.header)
                return Route(self._pool.pick(now)) if value is None else self._by_hash(value, now)

    def is_engines(self, path: str) -> bool:
        """Whether a path is Engine.IO's."""
        return path.startswith(self._path) or path == self._bare_path

    def _by_sid(self, head: RequestHead, now: float) -> Route:
        assert self._codec is not None
        if self.is_engines(head.path):
            sid = read_sid(head.query)
            # A preflight is about the page and not about the session.
            if sid is not None and head.method != "OPTIONS":
                owner = self._codec.read(sid)
                if owner is None:
                    raise UnknownSession
                upstream = self._pool.holder(owner)
                if upstream is None:
                    raise UnknownOwner(owner)
                return Route(upstream, pinned=True)
        return Route(self._pool.pick(now))

    def _by_cookie(self, head: RequestHead, now: float) -> Route:
        value = read_cookie(head.get(b"cookie") or b"", self._settings.cookie_name.encode())
        if value is not None:
            for upstream in self._pool.candidates:
                if self.cookie_of(upstream).encode() == value:
                    # One that is down has lost its sessions, or will have.
                    return Route(upstream) if upstream.usable(now) else self._anew(now)
        return self._anew(now)

    def _anew(self, now: float) -> Route:
        return Route(self._pool.pick(now), sets_cookie=True)

    def cookie_of(self, upstream: Upstream) -> str:
        """What the cookie says of an upstream."""
        return blake2s(upstream.name.encode(), key=self._cookie_key, digest_size=9).hexdigest()

    def _by_hash(self, value: bytes, now: float) -> Route:
        """The one that is highest for this value: few change places when one comes or goes."""
        usable = [one for one in self._pool.candidates if one.usable(now)]
        found = max(usable, key=lambda one: blake2s(one.name.encode() + b"\0" + value).digest(), default=None)
        if found is not None:
            found.chosen(now, self._pool.rules)
        return Route(found)


def read_sid(query: str) -> str | None:
    """The ``sid`` parameter; a repeated one reads as none that was ever minted."""
    if "sid=" not in query:
        return None
    found = [value for name, _, value in (pair.partition("=") for pair in query.split("&")) if name == "sid"]
    if len(found) > 1:
        return "\0repeated"
    return found[0] if found else None


def read_cookie(header: bytes, name: bytes) -> bytes | None:
    """The value of a cookie; the first of several."""
    for pair in header.split(b";"):
        key, _, value = pair.strip().partition(b"=")
        if key == name:
            return value
    return None
