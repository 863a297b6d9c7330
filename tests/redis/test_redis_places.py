"""Where Redis may be: behind TLS, behind sentinels, spread over a cluster, and moving about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis.crc
import trio

from rtserver import ConfigurationError, Server, Socket
from rtserver.adapters.redis import RedisAdapter
from rtserver.adapters.redis.replies import LinkState
from rtserver.adapters.redis.target import ClusterTarget, SentinelTarget, read_url
from rtserver.cluster.lease import hold_lease
from rtserver.emitter import connect, open_emitter
from rtserver.testing import open_server
from tests.services.certificate import write_certificate
from tests.services.redis import RedisServer, behind_tls, until
from tests.services.redis_clusters import RedisCluster, WatchedRedis, running_cluster, watched_redis

PATIENCE = 15.0
ROOMS = tuple(f"room {number}" for number in range(12))


class Pair:
    """Two nodes, each with a client that is in every room."""

    def __init__(self, adapters: list[RedisAdapter], servers: list[Server]) -> None:
        self.adapters = adapters
        self.servers = servers
        self.heard: list[list[Any]] = [[], []]

    async def until(self, condition: Callable[[], Any]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await trio.lowlevel.checkpoint()

    async def both(self, state: LinkState) -> None:
        await self.until(lambda: all(adapter.state is state for adapter in self.adapters))

    async def hear_one_another(self) -> None:
        """Both say something to everybody and into every room; both hear it."""
        # Rooms are subscribed to as they are joined: until Redis has said so, it drops what is for them.
        with trio.fail_after(PATIENCE):
            for adapter in self.adapters:
                await adapter.link.flush()
        for index, io in enumerate(self.servers):
            other = self.heard[1 - index]
            other.clear()
            expected = sorted(["everybody", *ROOMS])
            io.emit("news", "everybody")
            for room in ROOMS:
                io.to(room).emit("news", room)
            await self.until(partial(_same, other, expected))
            found = await io.fetch_sockets()
            assert (len(found), found.silent) == (2, 0)


def _same(heard: list[Any], expected: list[Any]) -> bool:
    return sorted(heard) == expected


@asynccontextmanager
async def pair(url: str) -> AsyncIterator[Pair]:
    adapters = [RedisAdapter(url) for _ in range(2)]
    servers = [Server(adapter=adapter) for adapter in adapters]
    for io in servers:

        @io.on_connect
        def enter(socket: Socket) -> None:
            socket.join(*ROOMS)

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_server(io)) for io in servers]
        two = Pair(adapters, servers)
        for server, heard in zip(opened, two.heard, strict=True):
            client = await stack.enter_async_context(server.socket())
            client.on("news", heard.append)
        yield two


async def test_tls_with_a_certificate_that_is_checked(tmp_path: Path, own_redis: RedisServer) -> None:
    folder = write_certificate(tmp_path)
    async with behind_tls(own_redis, folder) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={folder / 'certificate.pem'}"
        async with pair(url) as two:
            await two.both(LinkState.HEALTHY)
            await two.hear_one_another()
            own_redis.freeze()
            await two.both(LinkState.DEGRADED)
            own_redis.thaw()
            await two.both(LinkState.HEALTHY)
            await two.hear_one_another()
            two.heard[0].clear()
            await trio.to_thread.run_sync(lambda: connect(url).emit("news", "from a thread"))
            await two.until(lambda: two.heard[0] == ["from a thread"])


@pytest.mark.parametrize("wrong", ["nobody vouches for it", "another host's", "no TLS"])
async def test_tls_that_is_not_what_it_should_be_is_refused(tmp_path: Path, own_redis: RedisServer, wrong: str) -> None:
    folder = write_certificate(tmp_path, "example.com" if wrong == "another host's" else "localhost")
    async with behind_tls(own_redis, folder) as port:
        url = f"rediss://localhost:{own_redis.port if wrong == 'no TLS' else port}"
        if wrong != "nobody vouches for it":
            url += f"?ssl_ca_certs={folder / 'certificate.pem'}"
        async with trio.open_nursery() as nursery:
            adapter = RedisAdapter(url)
            with trio.fail_after(PATIENCE):
                await nursery.start(adapter.run)
            assert adapter.state is LinkState.DEGRADED
            assert adapter.statistics().connects == 0
            nursery.cancel_scope.cancel()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedRedis]:
    with watched_redis(tmp_path) as found:
        yield found


async def test_the_master_of_the_sentinels_is_followed(watched: WatchedRedis) -> None:
    emitter = connect(watched.url)
    async with pair(watched.url) as two:
        await two.both(LinkState.HEALTHY)
        await two.hear_one_another()
        watched.master.kill()
        await two.both(LinkState.DEGRADED)
        await two.both(LinkState.HEALTHY)
        await two.hear_one_another()
        with watched.replica.client() as client:
            assert client.role()[0] == b"master"
        two.heard[0].clear()
        emitter.emit("news", "from a plain program")
        await two.until(lambda: two.heard[0] == ["from a plain program"])
    async with open_emitter(watched.url) as trio_emitter:
        trio_emitter.emit("news")


async def test_sentinels_that_know_no_master_are_asked_again(watched: WatchedRedis) -> None:
    watched.sentinel.kill()
    async with pair(watched.url) as two:
        await two.both(LinkState.DEGRADED)
        watched.sentinel.start()
        await two.both(LinkState.HEALTHY)
        await two.hear_one_another()


async def test_rooms_of_a_cluster_are_heard_where_their_slots_are(redis_cluster: RedisCluster) -> None:
    async with pair(redis_cluster.url) as two:
        await two.both(LinkState.HEALTHY)
        await two.hear_one_another()
        assert two.adapters[0].statistics().connects == 3
        for server in redis_cluster.masters:
            with server.client() as client:
                assert client.execute_command("PUBSUB", "SHARDCHANNELS", "socket.io*") != []
        two.heard[0].clear()
        emitter = connect(redis_cluster.url)
        for room in ROOMS:
            emitter.to(room).emit("news", room)
        async with open_emitter(redis_cluster.url) as trio_emitter:
            for room in ROOMS:
                trio_emitter.to(room).emit("news", room)
        await two.until(lambda: sorted(two.heard[0]) == sorted(ROOMS * 2))


async def test_a_room_is_heard_after_its_slot_has_moved(redis_cluster: RedisCluster) -> None:
    channel = b"socket.io#/#room 0#"
    before = redis_cluster.owner(channel)
    after = next(server for server in redis_cluster.masters if server is not before)
    async with pair(redis_cluster.url) as two:
        await two.both(LinkState.HEALTHY)
        await two.hear_one_another()
        redis_cluster.move(redis.crc.key_slot(channel), after)
        with after.client() as client:
            await two.until(lambda: client.execute_command("PUBSUB", "SHARDNUMSUB", channel)[1] == 2)
        await two.hear_one_another()
        assert two.adapters[0].statistics().connects == 3


async def test_a_master_that_comes_back_is_heard_again(redis_cluster: RedisCluster) -> None:
    async with pair(redis_cluster.url) as two:
        await two.both(LinkState.HEALTHY)
        redis_cluster.masters[2].freeze()
        await two.both(LinkState.DEGRADED)
        redis_cluster.masters[2].thaw()
        await two.both(LinkState.HEALTHY)
        await two.until(redis_cluster.agrees)
        await two.hear_one_another()


async def test_the_replica_of_a_dead_master_is_followed(tmp_path: Path) -> None:
    with running_cluster(tmp_path, replicas=True) as cluster:
        async with pair(cluster.url) as two:
            await two.both(LinkState.HEALTHY)
            await two.hear_one_another()
            cluster.masters[0].kill()
            await two.both(LinkState.DEGRADED)
            await two.both(LinkState.HEALTHY)
            await two.hear_one_another()


@pytest.mark.parametrize("away", [False, True])
async def test_slots_of_nodes_are_leased_from_a_cluster(
    redis_cluster: RedisCluster, tmp_path: Path, away: bool, log_output: list[Any]
) -> None:
    # Only one of its servers is known, and that one may answer later.
    server = redis_cluster.masters[0]

    async def thaw_when_missed() -> None:
        while not any(line["event"] == "waiting_for_redis" for line in log_output):
            await trio.lowlevel.checkpoint()
        server.thaw()

    async with trio.open_nursery() as nursery:
        if away:
            server.freeze()
            nursery.start_soon(thaw_when_missed)
        with trio.fail_after(PATIENCE):
            async with hold_lease(f"redis+cluster://127.0.0.1:{server.port}", tmp_path) as lease:
                assert lease.owner.slot == 0
    until(redis_cluster.agrees)


async def test_a_cluster_that_is_away_at_the_start_is_found_later(own_redis: RedisServer) -> None:
    # A server that is no cluster is none either.
    async with pair(f"redis+cluster://127.0.0.1:{own_redis.port}") as two:
        await two.both(LinkState.DEGRADED)
        two.servers[0].emit("news", 1)
        await two.until(lambda: two.heard[0] == [1])
        assert (await two.servers[0].fetch_sockets()).silent == 0
        assert two.adapters[0].statistics().backlog > 0


URLS: list[tuple[str, Any]] = [
    ("redis+sentinel://a,b:7,[::1]:8/name", ((("a", 26379), ("b", 7), ("::1", 8)), "name", None, None)),
    ("redis+sentinel://:pass%20word@a/name/2?sentinel_password=s", ((("a", 26379),), "name", "pass word", "s")),
]


@pytest.mark.parametrize(("url", "expected"), URLS)
def test_urls_of_sentinels(url: str, expected: Any) -> None:
    target = read_url(url)
    assert isinstance(target, SentinelTarget)
    assert (target.sentinels, target.name, target.like.password, target.password) == expected
    assert "pass" not in repr(target).replace("password", "")


def test_urls_of_clusters() -> None:
    target = read_url("rediss+cluster://user:secret@a,b:7/0")
    assert isinstance(target, ClusterTarget)
    assert target.seeds == (("a", 6379), ("b", 7))
    assert (target.like.username, target.like.password) == ("user", "secret")
    assert target.like.tls is not None
    assert "secret" not in repr(target)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:secret@a",
        "redis+sentinel://:secret@/name",
        "redis+sentinel://:secret@a:port/name",
        "redis+cluster://:secret@",
        "http+cluster://:secret@a",
        "redis+other://:secret@a",
    ],
)
def test_urls_that_are_none_are_refused_without_quoting_them(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisAdapter.from_url(url)
    assert "secret" not in str(caught.value)
