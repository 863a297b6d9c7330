"""Where a Redis is, and how to get in: read from a URL by redis-py, which knows all forms of it.

Rule: what is secret in it never reaches a log or an error. What redis-py does by itself
blocks, so it runs in worker threads, with a time limit of its own.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast
from urllib.parse import parse_qs, urlsplit

import redis
import redis.crc
import redis.exceptions
import trio

from rtserver.adapters.redis.replies import RelayDown
from rtserver.errors import ConfigurationError
from rtserver.types import Secret

DEFAULT_PORT = 6379
SENTINEL_PORT = 26_379
# For whoever is asked where Redis is: there are others to ask.
ANSWER_SECONDS = 1.0
COMMAND_SECONDS = 2.0
SLOTS: int = redis.crc.REDIS_CLUSTER_HASH_SLOTS
# What clients of redis-py raise when Redis is away or refuses.
REDIS_ERRORS = (redis.RedisError, redis.exceptions.RedisClusterException)
# What a URL says of one server, and not of the others.
_PLACE = ("connection_class", "host", "port", "path", "db")
_FORMS = "redis://host:6379/0, rediss://…, unix:///path, redis+sentinel://host,host/name or redis+cluster://host,host"


class Reachable(Protocol):
    """What a connection can be made to."""

    async def connect(self) -> trio.abc.Stream:
        """A stream to it, TLS included. Raises ``OSError`` or ``RelayDown``."""

    def access(self) -> tuple[str, ...]:
        """What ``HELLO`` takes to be let in."""


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
        given: All that the URL says, in the words of redis-py.
    """

    host: str
    port: int = DEFAULT_PORT
    path: str | None = None
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, url: str) -> RedisTarget:
        """Read ``redis://``, ``rediss://`` and ``unix://`` URLs.

        Raises:
            ConfigurationError: It is none of these; the URL itself is not quoted, as it may hold a password.
        """
        try:
            given: dict[str, Any] = dict(redis.connection.parse_url(url))  # type: ignore[no-untyped-call]
        except ValueError:
            # Without the cause: it may quote the URL.
            raise ConfigurationError("redis_url", Secret(""), _FORMS) from None
        kind = given.get("connection_class")
        return cls(
            host=given.get("host", "localhost"),
            port=given.get("port", DEFAULT_PORT),
            path=given.get("path"),
            database=given.get("db", 0),
            username=given.get("username"),
            password=given.get("password"),
            tls=_tls(given) if kind is redis.SSLConnection else None,
            given=given,
        )

    def client(self) -> redis.Redis:
        """A client of redis-py for it, which connects at its first command. Blocks, with a limit."""
        return redis.Redis(connection_pool=redis.ConnectionPool(**{**_limits(COMMAND_SECONDS), **self.given}))

    def access(self) -> tuple[str, ...]:
        return () if self.password is None else ("AUTH", self.username or "default", self.password)

    async def connect(self) -> trio.abc.Stream:
        if self.path is not None:
            return await trio.open_unix_socket(self.path)
        stream: trio.abc.Stream = await trio.open_tcp_stream(self.host, self.port)
        if self.tls is not None:
            secured = trio.SSLStream(stream, self.tls, server_hostname=self.host)
            try:
                await secured.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            stream = secured
        return stream


@dataclass(frozen=True, slots=True)
class SentinelTarget:
    """The master of a name, which sentinels know at any time.

    Args:
        sentinels: Addresses of sentinels.
        name: What they watch.
        like: How to get into the master; its host and port are the sentinels' to say.
        password: Of the sentinels, if they ask for one.
    """

    sentinels: tuple[tuple[str, int], ...]
    name: str
    like: RedisTarget
    password: str | None = field(default=None, repr=False)

    def access(self) -> tuple[str, ...]:
        return self.like.access()

    async def connect(self) -> trio.abc.Stream:
        host, port = await trio.to_thread.run_sync(self.discover, abandon_on_cancel=True)
        return await replace(self.like, host=host, port=port).connect()

    def discover(self) -> tuple[str, int]:
        """Where the master is now. Blocks. Raises ``RelayDown`` if no sentinel knows."""
        watched = self._watched()
        try:
            host, port = watched.discover_master(self.name)  # type: ignore[no-untyped-call]
        except redis.RedisError as exc:
            raise RelayDown(f"no sentinel knows a master: {type(exc).__name__}") from exc
        finally:
            for sentinel in watched.sentinels:
                sentinel.close()
        return str(host), int(port)

    def _watched(self) -> redis.Sentinel:
        access = {} if self.password is None else {"password": self.password}
        return redis.Sentinel(self.sentinels, sentinel_kwargs={**_limits(ANSWER_SECONDS), **access})  # type: ignore[no-untyped-call]

    def client(self) -> redis.Redis:
        """A client of redis-py for the master, which asks the sentinels whenever it connects. Blocks."""
        given = {name: value for name, value in self.like.given.items() if name not in _PLACE}
        watched: Any = self._watched()
        client = watched.master_for(self.name, ssl=self.like.tls is not None, **_limits(COMMAND_SECONDS), **given)
        return cast(redis.Redis, client)


@dataclass(frozen=True, slots=True)
class ClusterTarget:
    """A Redis Cluster.

    Args:
        seeds: Addresses of some of its servers.
        like: How to get into each of them.
    """

    seeds: tuple[tuple[str, int], ...]
    like: RedisTarget

    def discover(self, known: Sequence[tuple[str, int]] = ()) -> list[tuple[str, int]]:
        """The master of each slot now. Blocks. Raises ``RelayDown`` if no server says.

        Args:
            known: Servers to ask first.
        """
        reasons = []
        for host, port in dict.fromkeys((*known, *self.seeds)):
            try:
                return _slots(host, self._ask(host, port))
            except (redis.RedisError, RelayDown) as exc:
                reasons.append(type(exc).__name__)
        raise RelayDown(f"no server knows the cluster: {', '.join(reasons)}")

    def client(self) -> redis.Redis:
        """A client of redis-py for the whole of it. Blocks. Raises one of ``REDIS_ERRORS`` if no server answers."""
        nodes = [redis.cluster.ClusterNode(host, port) for host, port in self.seeds]  # type: ignore[no-untyped-call]
        given = {name: value for name, value in self.like.given.items() if name not in _PLACE}
        client = redis.RedisCluster(
            startup_nodes=nodes, ssl=self.like.tls is not None, **_limits(COMMAND_SECONDS), **given
        )
        return cast(redis.Redis, client)

    def at(self, host: str, port: int) -> RedisTarget:
        """One of its servers."""
        return replace(self.like, host=host, port=port)

    def _ask(self, host: str, port: int) -> Any:
        place = {**_limits(ANSWER_SECONDS), **self.like.given, "host": host, "port": port}
        with redis.Redis(connection_pool=redis.ConnectionPool(**place)) as client:
            return client.execute_command("CLUSTER SLOTS")


def read_url(url: str) -> RedisTarget | SentinelTarget | ClusterTarget:
    """Where a URL points, whatever its form.

    Raises:
        ConfigurationError: It has none that is known; the URL is not quoted.
    """
    scheme, _, rest = url.partition("+")
    kind, separator, rest = rest.partition("://")
    if kind not in ("sentinel", "cluster") or not separator:
        return RedisTarget.of(url)
    place, slash, path = rest.partition("/")
    userinfo, at, hosts = place.rpartition("@")
    default = SENTINEL_PORT if kind == "sentinel" else DEFAULT_PORT
    addresses = tuple(_address(host, default) for host in hosts.split(","))
    if kind == "cluster":
        return ClusterTarget(addresses, RedisTarget.of(f"{scheme}://{userinfo}{at}localhost{slash}{path}"))
    name, _, query = path.partition("?")
    service, _, database = name.partition("/")
    if not service:
        raise ConfigurationError("redis_url", Secret(""), _FORMS)
    like = RedisTarget.of(f"{scheme}://{userinfo}{at}localhost/{database}?{query}")
    given = parse_qs(query).get("sentinel_password", [None])[0]
    return SentinelTarget(addresses, service, like, given)


def _limits(seconds: float) -> dict[str, Any]:
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds}


def _address(text: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ConfigurationError("redis_url", Secret(""), _FORMS)
    return host, default if port is None else port


def _slots(asked: str, answer: Any) -> list[tuple[str, int]]:
    """Of ``CLUSTER SLOTS``: the first and the last slot of each range, and then its master and its replicas."""
    owners: list[tuple[str, int] | None] = [None] * SLOTS
    for first, last, master, *_ in answer:
        host = master[0].decode() if isinstance(master[0], bytes) else master[0]
        # A server that does not know its own name is where it was asked.
        owners[first : last + 1] = [(host or asked, int(master[1]))] * (last - first + 1)
    found = [owner for owner in owners if owner is not None]
    if len(found) < SLOTS:
        raise RelayDown("the cluster has slots without a server")
    return found


def _tls(given: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=given.get("ssl_ca_certs"))
    if given.get("ssl_certfile"):
        context.load_cert_chain(given["ssl_certfile"], given.get("ssl_keyfile"))
    if given.get("ssl_cert_reqs") in ("none", ssl.CERT_NONE):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
