"""The settings: what there is, what it means, and where it may be given.

Rule: a flag wins over ``RTSERVER_PROXY_<NAME>``, which wins over the TOML file. A bad value
is one line that names the setting, what was given and what is allowed.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, TypeAlias

from proxy import values
from proxy.errors import BadSetting
from proxy.values import BY_SID, Affinity, StaticUpstream

PREFIX = "RTSERVER_PROXY_"
# What nodes and proxies share may be set once for both.
_SHARED = {"secret": "RTSERVER_SECRET", "run_dir": "RTSERVER_RUN_DIR", "redis_url": "RTSERVER_REDIS_URL"}

Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a proxy, checked. Build one with ``load``.

    Args:
        listen: Where plain HTTP is accepted, ``host:port``.
        tls_listen: Where TLS is accepted.
        tls_certificate: The certificate chain, PEM.
        tls_key: Its key, PEM.
        secret: Shared with the nodes; several while one is replaced by another.
        run_dir: Where nodes of this machine are found; None looks in the usual place.
        redis_url: Where nodes of other machines are found.
        upstreams: Servers that are there anyway, ``[slot=]host:port``.
        path: The path of Engine.IO.
        affinity: How a request finds the upstream of its session: ``sid``, ``cookie``, ``address`` or ``header:NAME``.
        cookie_name: Of the cookie, with ``affinity = "cookie"``.
        cors: The origins whose pages may read the proxy's own answers.
        cors_credentials: Whether they may with credentials.
        trusted: Networks of proxies in front of this one, whose word on the client is taken.
        proxy_protocol: Whether every connection begins with a PROXY protocol header, from a trusted peer.
        max_head_size: The largest request head, in bytes.
        max_headers: Headers in one head.
        max_body: The largest request body that is relayed, in bytes.
        max_bodies: The bytes of all request bodies that a worker holds at a time.
        max_connections: Connections that a worker holds; None takes the file descriptor limit less a reserve.
        max_connections_per_address: Those of one address (one /64 of IPv6) with all workers, without handed-over ones.
        head_timeout: Seconds for a request head, a TLS handshake, and the window in which a body must progress.
        keep_alive_timeout: Seconds that a relayed connection may idle between requests.
        connect_timeout: Seconds to connect to an upstream, or to hand a connection over.
        response_timeout: Seconds without a byte of an upstream's answer; more than a poll may last.
        tunnel_timeout: Seconds in which neither side of a tunnel says anything.
        eject_after: Failures in a row after which an upstream is passed over.
        eject_seconds: For how long, the first time; twice as long each time after, up to a minute.
        probe_path: What is asked of static upstreams.
        probe_interval: Seconds between two probes.
        probe_timeout: Seconds for the answer.
        slow_start: Seconds in which an upstream that has come takes its share gradually.
        access_log: A file for a line about each request, ``-`` for the standard output, empty for none.
        admin: The Unix socket (a path) or loopback ``host:port`` for metrics and state; empty: a socket in ``run_dir``.
        workers: Processes that accept.
        drain_timeout: Seconds that relayed connections get when the proxy stops.
        log_level: The least that is logged.
    """

    listen: tuple[str, ...] = ("127.0.0.1:8080",)
    tls_listen: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    secret: tuple[str, ...] = ()
    run_dir: Path | None = None
    redis_url: str | None = None
    upstreams: tuple[StaticUpstream, ...] = ()
    path: str = "/socket.io/"
    affinity: Affinity = BY_SID
    cookie_name: str = "rtproxy"
    cors: tuple[str, ...] | Literal["*"] = ()
    cors_credentials: bool = False
    trusted: tuple[Network, ...] = ()
    proxy_protocol: bool = False
    max_head_size: int = 16_384
    max_headers: int = 100
    max_body: int = 1_000_000
    max_bodies: int = 64_000_000
    max_connections: int | None = None
    max_connections_per_address: int = 1_000
    head_timeout: float = 10.0
    keep_alive_timeout: float = 60.0
    connect_timeout: float = 3.0
    response_timeout: float = 75.0
    tunnel_timeout: float = 120.0
    eject_after: int = 3
    eject_seconds: float = 5.0
    probe_path: str = "/readyz"
    probe_interval: float = 2.0
    probe_timeout: float = 2.0
    slow_start: float = 10.0
    access_log: str = ""
    admin: str = ""
    workers: int = 1
    drain_timeout: float = 20.0
    log_level: str = "info"

    def __post_init__(self) -> None:
        if self.affinity.kind == "sid" and not self.secret:
            raise BadSetting("secret", "", "the secret of the nodes (RTSERVER_SECRET), or another affinity than sid")
        if not self.listen and not self.tls_listen:
            raise BadSetting("listen", "", "at least one host:port")
        if self.tls_listen and not (self.tls_certificate and self.tls_key):
            raise BadSetting("tls_certificate", "", "a file, and tls_key another, as there is a tls_listen")
        if self.affinity.kind != "sid" and not self.upstreams:
            raise BadSetting("upstreams", "", f"at least one host:port, as the affinity is {self.affinity.kind}")
        if self.proxy_protocol and not self.trusted:
            raise BadSetting("trusted", "", "the networks that may send PROXY protocol headers")
        if self.cors == "*" and self.cors_credentials:
            raise BadSetting("cors_credentials", True, "origins in cors by name")


_CONVERSIONS = {
    "listen": values.addresses,
    "tls_listen": values.addresses,
    "tls_certificate": values.file,
    "tls_key": values.file,
    "secret": values.secret,
    "run_dir": values.path,
    "redis_url": values.redis_url,
    "upstreams": values.upstreams,
    "path": values.target,
    "affinity": values.affinity,
    "cookie_name": values.token,
    "cors": values.cors,
    "cors_credentials": values.truth,
    "trusted": values.networks,
    "proxy_protocol": values.truth,
    "max_connections": values.optional_count,
    "probe_path": values.request_target,
    "access_log": values.line,
    "admin": values.admin,
    "log_level": values.level,
}
_NAMES = {field.name: field for field in fields(Settings)}


def load(
    file: Path | None, flags: Mapping[str, object] | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of all three places.

    Args:
        file: The TOML file; None for ``RTSERVER_PROXY_CONFIG``, if that is set.
        flags: By the names of the settings; values as text or as TOML has them.
        environment: Where variables are.

    Raises:
        BadSetting: A value or a name is not one.
    """
    given: dict[str, tuple[str, object]] = {}
    if file is None and environment.get(f"{PREFIX}CONFIG"):
        file = Path(environment[f"{PREFIX}CONFIG"])
    for name, shared in _SHARED.items():
        if environment.get(shared):
            given[name] = (shared, environment[shared])
    if file is not None:
        given |= {name: (f"{name} in {file}", value) for name, value in _read(file).items()}
    for name in _NAMES:
        variable = PREFIX + name.upper()
        if variable in environment:
            given[name] = (variable, environment[variable])
    given |= {name: (f"--{name.replace('_', '-')}", value) for name, value in (flags or {}).items()}
    found: dict[str, Any] = {}
    for name, (where, value) in given.items():
        if name not in _NAMES:
            raise BadSetting(where, None, f"one of the settings {', '.join(sorted(_NAMES))}")
        found[name] = _convert(name, where, value)
    return Settings(**found)


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise BadSetting("config", str(file), f"a TOML file ({exc})") from exc


def _convert(name: str, where: str, value: object) -> Any:
    convert = _CONVERSIONS.get(name)
    if convert is not None:
        return convert(where, value)
    if isinstance(_NAMES[name].default, int):
        return values.count(where, value)
    return values.seconds(where, value)
