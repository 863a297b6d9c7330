"""Where a Redis is, and how to get in: read from a URL by redis-py, which knows all forms of it.

Rule: what is secret in it never reaches a log or an error.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

import redis
import trio

from rtserver.errors import ConfigurationError
from rtserver.types import Secret

DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """One Redis server.

    Args:
        host: Its name or address; empty with ``path``.
        port: Its port.
        path: Of its Unix socket, if it has one.
        database: Its number. Channels of all databases are the same, so it matters to nobody here.
        username: For servers with ACLs.
        password: If it asks for one.
        tls: The settings of TLS, or None.
    """

    host: str
    port: int = DEFAULT_PORT
    path: str | None = None
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, url: str) -> RedisTarget:
        """Read ``redis://``, ``rediss://`` and ``unix://`` URLs.

        Raises:
            ConfigurationError: It is none of these; the URL itself is not quoted, as it may hold a password.
        """
        try:
            given: dict[str, Any] = dict(redis.connection.parse_url(url))  # type: ignore[no-untyped-call]
        except ValueError as exc:
            raise ConfigurationError("redis_url", Secret(""), "a URL such as redis://localhost:6379/0") from exc
        kind = given.get("connection_class")
        return cls(
            host=given.get("host", "localhost"),
            port=given.get("port", DEFAULT_PORT),
            path=given.get("path"),
            database=given.get("db", 0),
            username=given.get("username"),
            password=given.get("password"),
            tls=_tls(given) if kind is redis.SSLConnection else None,
        )

    async def connect(self) -> trio.abc.Stream:
        """A stream to it, TLS included.

        Raises:
            OSError: It cannot be reached.
        """
        if self.path is not None:
            return await trio.open_unix_socket(self.path)
        stream: trio.abc.Stream = await trio.open_tcp_stream(self.host, self.port)
        if self.tls is not None:
            secured = trio.SSLStream(stream, self.tls, server_hostname=self.host)
            await secured.do_handshake()
            stream = secured
        return stream


def _tls(given: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=given.get("ssl_ca_certs"))
    if given.get("ssl_certfile"):
        context.load_cert_chain(given["ssl_certfile"], given.get("ssl_keyfile"))
    if given.get("ssl_cert_reqs") in ("none", ssl.CERT_NONE):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
