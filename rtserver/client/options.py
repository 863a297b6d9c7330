"""A client's settings, checked once, and the addresses that follow from them."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias, TypedDict
from urllib.parse import SplitResult, urlencode, urlsplit

from rtserver.client.backoff import Reconnection
from rtserver.errors import ConfigurationError
from rtserver.protocol.socketio.json_parser import JSONParser
from rtserver.protocol.socketio.parser import Parser
from rtserver.types import TransportName

AuthSource: TypeAlias = (
    Mapping[str, Any] | Callable[[], Mapping[str, Any] | None] | Callable[[], Awaitable[Mapping[str, Any] | None]]
)
"""What goes with CONNECT: a mapping, or a function (plain or async) that is asked at every connect."""

SECURE = {"http": False, "ws": False, "https": True, "wss": True}


class Settings(TypedDict, total=False):
    """The keyword arguments of ``open_client``. Their meaning and defaults: ``Options``."""

    path: str
    transports: Sequence[TransportName]
    upgrade: bool
    query: Mapping[str, str]
    headers: Mapping[str, str]
    auth: AuthSource | None
    parser: Parser
    reconnection: Reconnection | None
    ssl_context: ssl.SSLContext | None
    uds: str | None
    on_crash: Callable[[Exception], None] | None
    connect_timeout: float
    upgrade_timeout: float
    close_timeout: float
    max_message_size: int
    max_queue_packets: int
    max_queue_bytes: int
    max_pending_events: int
    max_pending_acks: int
    max_inbox: int


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that a client can be told.

    Args:
        url: ``http``, ``https``, ``ws`` or ``wss``, host and port; nothing behind.
        path: Where the server's Engine.IO listens.
        transports: In order of preference. The first one makes the connection; with
            polling first and WebSocket among them the connection is upgraded.
        upgrade: Whether polling is upgraded at all.
        query: Added to the query string of every request.
        headers: Added to the head of every request.
        auth: For namespaces that are connected without an ``auth`` of their own.
        parser: The codec, the same as the server's.
        reconnection: None to let a lost connection be the end.
        ssl_context: For ``https`` and ``wss``, instead of the default one.
        uds: The path of a Unix socket to connect to, instead of the URL's host and port.
        on_crash: Called with what a handler raised, and the client goes on. Without it
            the exception ends the client and leaves ``open_client``.
        connect_timeout: Seconds for one attempt to connect.
        upgrade_timeout: Seconds for the server to answer the probe of an upgrade.
        close_timeout: Seconds that leaving may take to send what is queued.
        max_message_size: Bytes of one WebSocket message, or of one answer to a poll.
        max_queue_packets: Packets that wait to be sent.
        max_queue_bytes: Bytes that wait to be sent, beyond the last message.
        max_pending_events: Events of one socket that wait for its handlers; while there are more nothing is read.
        max_pending_acks: Acknowledgements that one socket waits for.
        max_inbox: Events of one socket without a handler that are kept for ``receive``; the oldest give way.

    Raises:
        ConfigurationError: A setting has a value that it cannot have.
    """

    url: str
    _: KW_ONLY
    path: str = "/socket.io/"
    transports: Sequence[TransportName] = ("polling", "websocket")
    upgrade: bool = True
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: AuthSource | None = None
    parser: Parser = field(default_factory=JSONParser)
    reconnection: Reconnection | None = field(default_factory=Reconnection)
    ssl_context: ssl.SSLContext | None = None
    uds: str | None = None
    on_crash: Callable[[Exception], None] | None = None
    connect_timeout: float = 20.0
    upgrade_timeout: float = 10.0
    close_timeout: float = 2.0
    max_message_size: int = 16 * 2**20
    max_queue_packets: int = 10_000
    max_queue_bytes: int = 16 * 2**20
    max_pending_events: int = 64
    max_pending_acks: int = 1_000
    max_inbox: int = 1_000

    def __post_init__(self) -> None:
        parts = self.parts
        if parts.scheme not in SECURE or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ConfigurationError("url", self.url, "http, https, ws or wss, a host and perhaps a port")
        if not self.path.startswith("/"):
            raise ConfigurationError("path", self.path, "an absolute path such as '/socket.io/'")
        if not self.transports or not set(self.transports) <= {"polling", "websocket"}:
            raise ConfigurationError("transports", self.transports, "'polling', 'websocket' or both")
        if self.uds is not None and self.secure:
            raise ConfigurationError("uds", self.uds, "an http or ws URL with it")
        for name in ("connect_timeout", "upgrade_timeout", "close_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(name, getattr(self, name), "seconds, more than zero")
        for name in MAXIMA:
            if not getattr(self, name) >= 1:
                raise ConfigurationError(name, getattr(self, name), "a positive number")

    @property
    def parts(self) -> SplitResult:
        """The URL, taken apart.

        Raises:
            ConfigurationError: It is not a URL, or its port is not a port.
        """
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as exc:
            raise ConfigurationError("url", self.url, "a URL") from exc
        return parts

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return SECURE[self.parts.scheme]

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def port(self) -> int:
        return self.parts.port or (443 if self.secure else 80)

    @property
    def authority(self) -> str:
        """The value of the ``Host`` header."""
        return self.parts.netloc.rpartition("@")[2]

    @property
    def may_upgrade(self) -> bool:
        """Whether a connection that started with polling shall go on with WebSocket."""
        return self.upgrade and "websocket" in self.transports

    def target(self, transport: TransportName, sid: str | None) -> str:
        """The path and query of a request."""
        query = {**self.query, "EIO": "4", "transport": transport}
        if sid is not None:
            query["sid"] = sid
        return f"{self.path}?{urlencode(query)}"


MAXIMA = (
    "max_message_size",
    "max_queue_packets",
    "max_queue_bytes",
    "max_pending_events",
    "max_pending_acks",
    "max_inbox",
)
