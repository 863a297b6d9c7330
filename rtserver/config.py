"""Every setting of a server, as one frozen value that has been checked.

Rule: a ``Config`` that exists is usable. Names follow Node's Socket.IO where it
has the option; times are seconds, sizes are bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from rtserver.errors import ConfigurationError
from rtserver.recovery import ConnectionStateRecovery, read_recovery
from rtserver.types import Secret, TransportName

ENVIRONMENT_PREFIX = "RTSERVER_"
MIN_SECRET_BYTES = 16
SameSite = Literal["strict", "lax", "none"]


@dataclass(frozen=True, slots=True)
class Cors:
    """Which browser origins may talk to the server, and what they are told.

    Args:
        origins: Origins such as ``https://example.com``, or ``"*"`` for every one.
        methods: The answer to a preflight's question for methods.
        allowed_headers: Header names, or None to reflect what was asked for.
        exposed_headers: Response headers that scripts may read.
        credentials: Whether cookies may be sent. Never granted to ``"*"``.
        max_age: Seconds for which a browser may keep a preflight's answer.
    """

    origins: Sequence[str] | Literal["*"]
    methods: Sequence[str] = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE")
    allowed_headers: Sequence[str] | None = None
    exposed_headers: Sequence[str] = ()
    credentials: bool = False
    max_age: int | None = None


@dataclass(frozen=True, slots=True)
class Cookie:
    """The cookie set by a polling handshake, for load balancers that go by one."""

    name: str = "io"
    path: str = "/"
    http_only: bool = True
    same_site: SameSite = "lax"
    secure: bool = False
    max_age: int | None = None


class Options(TypedDict, total=False):
    """The keyword arguments of ``Server``: each a field of ``Config``."""

    path: str
    transports: Sequence[TransportName]
    allow_upgrades: bool
    ping_interval: float
    ping_timeout: float
    upgrade_timeout: float
    connect_timeout: float
    close_timeout: float
    shutdown_timeout: float
    head_timeout: float
    keep_alive_timeout: float
    max_http_buffer_size: int
    max_packets_per_payload: int
    max_head_size: int
    max_headers: int
    max_attachments: int
    max_depth: int
    max_namespaces: int
    max_rooms: int
    max_pending_acks: int
    max_pending_events: int
    max_queue_bytes: int
    max_queue_packets: int
    max_connections: int | None
    http_compression: bool
    http_compression_threshold: int
    per_message_deflate: bool
    cookie: Cookie | str | bool | None
    cors: Cors | Sequence[str] | str | None
    serve_client: bool | str | Path
    cleanup_empty_child_namespaces: bool
    connection_state_recovery: ConnectionStateRecovery | Mapping[str, Any] | float | bool | None
    slow_handler: float
    api_page: bool
    api_title: str
    api_version: str
    secret: str | Sequence[str] | Secret | Sequence[Secret] | None
    run_dir: str | Path | None
    redis_url: str | Secret | None
    advertise: str | None
    drain_rate: int
    drain_timeout: float
    trusted_proxies: str | Sequence[str]


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a server. Build one with ``Config.of``, which checks them.

    Args:
        path: Where Engine.IO listens; begins and ends with a slash.
        transports: Those that a handshake may ask for.
        allow_upgrades: Whether polling may become WebSocket.
        ping_interval: Seconds between a pong and the next ping.
        ping_timeout: Seconds that a client has to answer a ping.
        upgrade_timeout: Seconds that an upgrade may take.
        connect_timeout: Seconds in which a client must join a namespace.
        close_timeout: Seconds after our WebSocket Close until TCP is closed.
        shutdown_timeout: Seconds that a stop may take to flush and finish handlers.
        head_timeout: Seconds for a request head, and the window in which a body must progress.
        keep_alive_timeout: Seconds that an HTTP connection may idle between requests.
        max_http_buffer_size: The largest message or request body, and the largest sum of a packet's attachments.
        max_packets_per_payload: Engine.IO packets in one POST.
        max_head_size: The largest request head.
        max_headers: Headers in one head.
        max_attachments: Binary attachments of one packet.
        max_depth: Nesting of a payload.
        max_namespaces: Namespaces that one client may join.
        max_rooms: Rooms that one socket may be in.
        max_pending_acks: Acknowledgements that the server may await from one socket.
        max_pending_events: Events queued for a socket's handlers before its connection is no longer read.
        max_queue_bytes: Outbound bytes queued for one connection before it counts as a slow consumer.
        max_queue_packets: The same in packets.
        max_connections: Connections of this node; None takes the file descriptor limit less a reserve.
        http_compression: Whether large poll answers are compressed.
        http_compression_threshold: From how many bytes on.
        per_message_deflate: Whether WebSocket compression is negotiated.
        cookie: Set on a polling handshake; ``True`` or a name for the defaults.
        cors: Allowed origins; None allows only pages of the host that the request names.
        serve_client: Serve ``socket.io.js`` and the like from the npm package; a path says where it is.
        cleanup_empty_child_namespaces: Whether a dynamic namespace goes when its last socket leaves.
        connection_state_recovery: How long, and within which bounds, a client that was cut off may come back.
        slow_handler: Seconds after which a plain handler is named as blocking the loop.
        api_page: Whether ``/asyncapi`` tells everybody which events there are.
        api_title: What that page and the AsyncAPI document call the application.
        api_version: The version that they name.
        secret: Shared by the nodes and proxies of a cluster, and what makes a node one of them. Several
            (in one text: separated by commas) let it be replaced: the first signs, all verify.
        run_dir: Where nodes of one machine find each other; None is ``$XDG_RUNTIME_DIR/rtserver`` or
            ``/tmp/rtserver-<uid>``.
        redis_url: The Redis between the nodes.
        advertise: The ``host:port`` that other machines reach this node by; None is where it listens.
        drain_rate: Sessions closed each second when a node of a cluster is drained.
        drain_timeout: Seconds after which a drained node closes all sessions that are left.
        trusted_proxies: Networks of proxies whose ``X-Forwarded-For`` and ``-Proto`` are believed.
    """

    path: str = "/socket.io/"
    transports: tuple[TransportName, ...] = ("polling", "websocket")
    allow_upgrades: bool = True
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    upgrade_timeout: float = 10.0
    connect_timeout: float = 45.0
    close_timeout: float = 1.0
    shutdown_timeout: float = 5.0
    head_timeout: float = 10.0
    keep_alive_timeout: float = 60.0
    max_http_buffer_size: int = 1_000_000
    max_packets_per_payload: int = 1_000
    max_head_size: int = 16_384
    max_headers: int = 100
    max_attachments: int = 10
    max_depth: int = 100
    max_namespaces: int = 32
    max_rooms: int = 1_000
    max_pending_acks: int = 1_000
    max_pending_events: int = 64
    max_queue_bytes: int = 1_048_576
    max_queue_packets: int = 1_024
    max_connections: int | None = None
    http_compression: bool = True
    http_compression_threshold: int = 1_024
    per_message_deflate: bool = False
    cookie: Cookie | None = None
    cors: Cors | None = None
    serve_client: bool | Path = True
    cleanup_empty_child_namespaces: bool = True
    connection_state_recovery: ConnectionStateRecovery | None = None
    slow_handler: float = 0.05
    api_page: bool = True
    api_title: str = "Socket.IO server"
    api_version: str = "0"
    secret: tuple[Secret, ...] = ()
    run_dir: Path | None = None
    redis_url: Secret | None = None
    advertise: str | None = None
    drain_rate: int = 500
    drain_timeout: float = 20.0
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Config:
        """Check ``options`` and make a configuration of them.

        Raises:
            ConfigurationError: A name is unknown or a value cannot be used.
        """
        known = {field.name for field in fields(cls)}
        for name in options:
            if name not in known:
                raise ConfigurationError(name, options[name], f"one of the settings {', '.join(sorted(known))}")
        values = dict(options)
        for name, convert in _CONVERSIONS.items():
            if name in values:
                values[name] = convert(name, values[name])
        for field in fields(cls):
            if field.name in values and field.name not in _CONVERSIONS:
                values[field.name] = _checked(field.name, values[field.name], field.default)
        return cls(**values)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """The settings named ``RTSERVER_<NAME>``, as options for ``Config.of``.

        Raises:
            ConfigurationError: A variable's text does not read as its setting's type.
        """
        options: dict[str, Any] = {}
        for field in fields(cls):
            variable = ENVIRONMENT_PREFIX + field.name.upper()
            if (text := environment.get(variable)) is not None:
                options[field.name] = read_text(variable, field.name, text)
        return options


def read_text(variable: str, name: str, text: str) -> Any:
    """The value that ``text`` (of an environment variable or a flag) gives the setting ``name``."""
    if name in _TEXTS or name == "connection_state_recovery":
        return text
    if name == "transports":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if name == "cors":
        return text if text == "*" else tuple(part.strip() for part in text.split(",") if part.strip())
    defaults = {field.name: field.default for field in fields(Config)}
    if name not in defaults:
        raise ConfigurationError(name, text, f"one of the settings {', '.join(sorted(defaults))}")
    default = defaults[name]
    if isinstance(default, bool) or name == "cookie":
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off", ""):
            return False
        if name in ("cookie", "serve_client"):
            return text
        raise ConfigurationError(variable, text, "true or false")
    try:
        return float(text) if isinstance(default, float) else int(text)
    except ValueError as exc:
        raise ConfigurationError(variable, text, "a number") from exc


def _checked(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ConfigurationError(name, value, "True or False")
        return value
    if name == "max_connections" and value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigurationError(name, value, "a number")
    if isinstance(default, float):
        if value <= 0:
            raise ConfigurationError(name, value, "seconds above 0")
        return float(value)
    if not isinstance(value, int) or value < (0 if name == "http_compression_threshold" else 1):
        raise ConfigurationError(name, value, "a whole number of at least 1")
    return value


def _path(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isascii() or set(value) & set(" ?#%\r\n\t"):
        raise ConfigurationError(name, value, "a path such as /socket.io/")
    return value.rstrip("/") + "/"


def _line(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        raise ConfigurationError(name, value, "one line of text")
    return value


def _transports(name: str, value: Any) -> tuple[TransportName, ...]:
    allowed = get_args(TransportName)
    if isinstance(value, str) or not value or any(transport not in allowed for transport in value):
        raise ConfigurationError(name, value, f"some of {', '.join(allowed)}")
    return tuple(value)


def _cookie(name: str, value: Any) -> Cookie | None:
    match value:
        case None | False:
            return None
        case True:
            return Cookie()
        case str() if value.isidentifier():
            return Cookie(value)
        case Cookie():
            return value
        case _:
            raise ConfigurationError(name, value, "True, a cookie name, or a Cookie")


def _cors(name: str, value: Any) -> Cors | None:
    match value:
        case None | Cors():
            return value
        case "*":
            return Cors("*")
        case str():
            return _cors(name, [value])
        case _ if all(isinstance(origin, str) and "://" in origin for origin in value):
            return Cors(tuple(origin.rstrip("/").lower() for origin in value))
        case _:
            raise ConfigurationError(name, value, '"*", origins such as https://example.com, or a Cors')


def _serve_client(name: str, value: Any) -> bool | Path:
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, Path)) and Path(value).is_dir():
        return Path(value)
    raise ConfigurationError(name, value, "True, False, or the folder that holds socket.io.js")


def _secret(name: str, value: Any) -> tuple[Secret, ...]:
    parts = [value] if isinstance(value, (str, Secret)) else list(value or ())
    texts = [part.reveal() if isinstance(part, Secret) else part for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(name, Secret(""), "texts")
    found = [text.strip() for part in texts for text in part.split(",") if text.strip()]
    if any(len(text.encode("utf-8", "replace")) < MIN_SECRET_BYTES for text in found):
        raise ConfigurationError(name, Secret(""), f"{MIN_SECRET_BYTES} bytes or more that nobody can guess")
    return tuple(Secret(text) for text in found)


def _run_dir(name: str, value: Any) -> Path | None:
    if value is None or value == "":
        return None
    if not isinstance(value, (str, Path)):
        raise ConfigurationError(name, value, "a folder")
    return Path(value)


def _redis_url(name: str, value: Any) -> Secret | None:
    text = value.reveal() if isinstance(value, Secret) else value
    if text is None or text == "":
        return None
    if not isinstance(text, str) or not text.isascii() or not all(text.partition("://")):
        # It may hold a password.
        raise ConfigurationError(name, Secret(""), "a URL such as redis://localhost:6379/0")
    return Secret(text)


def _advertise(name: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    host, _, port = str(value).rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65_535 or not host.isprintable():
        raise ConfigurationError(name, value, "host:port or [ipv6]:port")
    return str(value)


def _networks(name: str, value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(ip_network(str(part).strip()) for part in parts if str(part).strip())
    except (ValueError, TypeError) as exc:
        raise ConfigurationError(name, value, "networks such as 10.0.0.0/8") from exc


_TEXTS = ("path", "api_title", "api_version", "secret", "run_dir", "redis_url", "advertise", "trusted_proxies")

_CONVERSIONS = {
    "secret": _secret,
    "run_dir": _run_dir,
    "redis_url": _redis_url,
    "advertise": _advertise,
    "trusted_proxies": _networks,
    "path": _path,
    "transports": _transports,
    "cookie": _cookie,
    "cors": _cors,
    "serve_client": _serve_client,
    "connection_state_recovery": read_recovery,
    "api_title": _line,
    "api_version": _line,
}
