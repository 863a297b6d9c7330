"""Redis that goes away, comes back, stops answering, or says what it should not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import trio

from rtserver import ConfigurationError, LimitExceeded, Server, Socket, create_app
from rtserver.adapters.redis import RedisAdapter
from rtserver.adapters.redis.link import MAX_MESSAGE, RedisLink
from rtserver.adapters.redis.replies import LinkState, RelayDown
from rtserver.adapters.redis.target import RedisTarget
from rtserver.client import ClientSocket
from rtserver.testing import open_server
from tests.services.redis import RedisServer, running_redis

PATIENCE = 10.0
# What limits.md asks for after a Redis has come back.
BACK_WITHIN = 5.0


class Pair:
    """Two nodes with a client each, and what the clients have heard."""

    def __init__(self, adapters: list[RedisAdapter], servers: list[Server], clients: list[ClientSocket]) -> None:
        self.adapters = adapters
        self.servers = servers
        self.clients = clients
        self.heard: list[list[Any]] = [[], []]
        for client, heard in zip(clients, self.heard, strict=True):
            client.on("news", heard.append)

    async def until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        with trio.fail_after(seconds):
            while not condition():
                await trio.lowlevel.checkpoint()

    async def both(self, state: LinkState, seconds: float = PATIENCE) -> None:
        await self.until(lambda: all(adapter.state is state for adapter in self.adapters), seconds)


@asynccontextmanager
async def pair(url: str, *, sharded: bool = False) -> AsyncIterator[Pair]:
    adapters = [RedisAdapter(url, sharded=sharded, request_timeout=0.5) for _ in range(2)]
    servers = [Server(adapter=adapter) for adapter in adapters]
    for io in servers:

        @io.on("join")
        def join(socket: Socket, room: str) -> None:
            socket.join(room)

        @io.on_server_side("anything")
        def anything() -> int:
            return 7

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_server(io)) for io in servers]
        clients = [await stack.enter_async_context(server.socket()) for server in opened]
        yield Pair(adapters, servers, clients)


async def readiness(io: Server) -> tuple[int, str]:
    app: Any = create_app(io)
    answer = await app.test_client().get("/readyz")
    return answer.status_code, (await answer.get_json())["status"]


async def test_a_killed_redis_costs_nothing_at_home_and_is_found_when_it_is_back(own_redis: RedisServer) -> None:
    async with pair(own_redis.url) as two:
        await two.both(LinkState.HEALTHY)
        assert await readiness(two.servers[0]) == (200, "ready")
        assert len(await two.servers[0].fetch_sockets()) == 2
        own_redis.kill()
        await two.both(LinkState.DEGRADED)
        assert await readiness(two.servers[0]) == (200, "degraded")
        two.servers[0].emit("news", "while it is away")
        await two.until(lambda: two.heard[0] == ["while it is away"])
        found = await two.servers[0].fetch_sockets()
        assert (len(found), found.silent) == (1, 1)
        own_redis.start()
        await two.both(LinkState.HEALTHY, BACK_WITHIN)
        await two.until(lambda: two.heard[1] == ["while it is away"])
        two.servers[1].emit("news", "afterwards")
        await two.until(lambda: two.heard[0][-1:] == ["afterwards"] and two.heard[1][-1:] == ["afterwards"])
        assert two.heard[0] == ["while it is away", "afterwards"]


async def test_a_redis_that_stops_answering_is_noticed(own_redis: RedisServer) -> None:
    async with pair(own_redis.url) as two:
        await two.both(LinkState.HEALTHY)
        own_redis.freeze()
        try:
            await two.both(LinkState.DEGRADED)
            two.servers[0].emit("news", 1)
            await two.until(lambda: two.heard[0] == [1])
        finally:
            own_redis.thaw()
        await two.both(LinkState.HEALTHY, BACK_WITHIN)
        two.servers[0].emit("news", 2)
        await two.until(lambda: two.heard[1][-1:] == [2])


async def test_a_node_starts_without_redis_and_joins_the_others_later(own_redis: RedisServer) -> None:
    own_redis.kill()
    async with pair(own_redis.url) as two:
        await two.both(LinkState.DEGRADED)
        own_redis.start()
        await two.both(LinkState.HEALTHY)
        two.servers[0].emit("news", 1)
        await two.until(lambda: two.heard == [[1], [1]])


async def test_a_dead_peer_is_not_waited_for_for_ever(own_redis: RedisServer, log_output: list[Any]) -> None:
    async with pair(own_redis.url) as two:
        await two.both(LinkState.HEALTHY)
        with own_redis.client() as client, client.pubsub() as ghost:
            # Somebody who subscribes and never answers: what a frozen node is to the others.
            ghost.subscribe("socket.io-request#/#", "socket.io-response#/#", "socket.io-response#/#ghost1#")
            ghost.get_message(timeout=5)
            found = await two.servers[0].fetch_sockets()
            assert (len(found), found.silent, found.silent_nodes) == (2, 1, frozenset(["ghost1"]))
            answers = await two.servers[0].server_side_call("anything")
            assert (list(answers), answers.silent, answers.silent_nodes) == ([7], 1, frozenset(["ghost1"]))
            two.clients[0].on("question", lambda: "yes")
            two.clients[1].on("question", lambda: "yes")
            with trio.fail_after(PATIENCE):
                assert await two.servers[0].call("question") == ["yes", "yes"]
    silent = [line for line in log_output if line["event"] == "nodes_silent"]
    assert [(line["silent"], line["nodes"]) for line in silent] == [(1, ["ghost1"])] * 3


async def test_a_silent_node_of_the_sharded_kind_is_named(own_redis: RedisServer) -> None:
    async with pair(own_redis.url, sharded=True) as two:
        await two.both(LinkState.HEALTHY)
        with own_redis.client() as client, client.pubsub() as ghost:
            ghost.ssubscribe("socket.io#/#", "socket.io#/#0123456789abcdef#", "socket.io#/#a room#")
            ghost.get_sharded_message(timeout=5)
            found = await two.servers[0].fetch_sockets()
    assert (len(found), found.silent, found.silent_nodes) == (2, 1, frozenset(["0123456789abcdef"]))


HOSTILE = [
    b"",
    b"garbage",
    b"\xc1",
    b"cbuiltins\nprint\n(Vhello\ntR.",
    b"{}",
    b'{"type":99}',
    b'{"type":2,"opts":{"rooms":7}}',
    b'{"type":2,"uid":"x","opts":{"rooms":[],"except":[]},"rooms":{"a":1}}',
    b'{"type":4,"opts":[]}',
    b'{"type":5,"opts":{"rooms":[],"except":[]}}',
    b'{"type":5,"requestId":7,"opts":{"rooms":[],"except":[]}}',
    b'{"type":6,"data":7}',
    b'{"type":6,"data":[]}',
    b'{"type":7,"requestId":"x","packet":{"type":2,"data":["connect"],"nsp":"/"},"opts":{}}',
    b'{"type":3,"uid":"x","nsp":"/","data":{"packet":{"type":2,"data":["connect"]},"opts":{}}}',
    b'{"type":4,"uid":"x","nsp":"/","data":{"opts":{"rooms":{}},"rooms":["a"]}}',
    b'{"type":7,"uid":"x","nsp":"/","data":{"opts":{}}}',
    b'{"type":9,"uid":"x","nsp":"/","data":{"packet":"a"}}',
    b'{"type":99,"uid":"x","nsp":"/","data":{}}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
]


@pytest.mark.parametrize("sharded", [False, True])
async def test_whatever_is_published_by_others_harms_nobody(
    own_redis: RedisServer, log_output: list[Any], sharded: bool
) -> None:
    async with pair(own_redis.url, sharded=sharded) as two:
        await two.both(LinkState.HEALTHY)
        channels = ("socket.io#/#", "socket.io#/#hall#", "socket.io-request#/#", "socket.io-response#/#")
        with own_redis.client() as client:
            for payload in HOSTILE:
                for channel in channels:
                    client.execute_command("SPUBLISH" if sharded else "PUBLISH", channel, payload)
            client.publish(b"socket.io#/#\xff\xfe#", b"a room that has no name")
        two.servers[0].emit("news", "alive")
        await two.until(lambda: two.heard == [["alive"], ["alive"]])
        assert all(adapter.refused > 0 for adapter in two.adapters)
        assert all(adapter.state is LinkState.HEALTHY for adapter in two.adapters)
    assert [line for line in log_output if line["log_level"] == "error"] == []
    assert len([line for line in log_output if line["event"] == "message_refused"]) < 10


async def test_another_node_that_uses_our_name_is_taken_for_ourselves(own_redis: RedisServer) -> None:
    async with pair(own_redis.url) as two:
        await two.both(LinkState.HEALTHY)
        uid = two.servers[0].adapter.uid
        forged = f'{{"uid":"{uid}","type":4,"opts":{{"rooms":[],"except":[]}},"close":true}}'
        with own_redis.client() as client:
            client.publish("socket.io-request#/#", forged)
        assert await two.clients[1].wait_closed() == "io server disconnect"
        await two.clients[0].call("join", "hall")


async def test_a_message_that_is_too_large_is_an_error_of_whoever_sends_it(own_redis: RedisServer) -> None:
    async with pair(own_redis.url) as two:
        await two.both(LinkState.HEALTHY)
        with pytest.raises(LimitExceeded, match="too many for one message"):
            two.servers[0].to("nobody").emit("news", "x" * (MAX_MESSAGE + 1))
        two.servers[0].emit("news", 1)
        await two.until(lambda: two.heard == [[1], [1]])


async def test_what_others_publish_may_not_be_too_large(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, log_output: list[Any]
) -> None:
    monkeypatch.setattr("rtserver.adapters.redis.link.MAX_INCOMING", MAX_MESSAGE + 2_000_000)
    async with pair(own_redis.url) as two:
        await two.both(LinkState.HEALTHY)
        with own_redis.client() as client:
            for size in (MAX_MESSAGE + 1, MAX_MESSAGE + 4_000_000):
                await trio.to_thread.run_sync(client.publish, "socket.io#/#", b"x" * size)
                await two.until(lambda: two.adapters[0].refused == 1)
        # The larger one was not even read to its end.
        await two.until(lambda: all(adapter.statistics().connects == 2 for adapter in two.adapters))
        await two.both(LinkState.HEALTHY, BACK_WITHIN)
        two.servers[0].emit("news", 1)
        await two.until(lambda: two.heard == [[1], [1]])
    reasons = [line["reason"] for line in log_output if line["event"] == "redis_refuses"]
    assert "RelayDown: a message without end" in reasons


def link(url: str) -> tuple[RedisLink, list[tuple[bytes, bytes]]]:
    heard: list[tuple[bytes, bytes]] = []
    return RedisLink(RedisTarget.of(url), lambda subscribed, channel, payload: heard.append((channel, payload))), heard


async def test_what_is_published_while_redis_is_away_is_bounded_and_counted(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtserver.adapters.redis.backlog.MAX_MESSAGES", 100)
    own_redis.kill()
    one, heard = link(own_redis.url)
    one.subscribe([b"news"], [])
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        for number in range(250):
            one.publish(b"news", str(number).encode())
        assert (one.lost, one.backlog) == (150, 100)
        own_redis.start()
        with trio.fail_after(PATIENCE):
            while len(heard) < 100:
                await trio.lowlevel.checkpoint()
        assert [int(payload) for _, payload in heard] == list(range(150, 250))
        nursery.cancel_scope.cancel()


async def test_replies_go_to_who_asked_even_if_others_have_given_up(own_redis: RedisServer) -> None:
    one, heard = link(own_redis.url)
    one.subscribe([b"news"], [])
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        for number in range(100):
            with trio.CancelScope() as scope:
                scope.cancel()
                await one.command(b"ECHO", b"given up")
            one.publish(b"news", b"between")
            assert await one.command(b"ECHO", str(number).encode()) == str(number).encode()
        with pytest.raises(RelayDown):
            await one.command(b"NONSENSE")
        assert await one.command(b"ECHO", b"still right") == b"still right"
        assert len(heard) == 100
        own_redis.kill()
        with trio.fail_after(PATIENCE):
            while one.state is LinkState.HEALTHY:
                await trio.lowlevel.checkpoint()
        with pytest.raises(RelayDown):
            await one.command(b"PING")
        nursery.cancel_scope.cancel()


async def test_a_node_that_was_busy_for_long_is_not_deaf(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtserver.adapters.redis.link.ECHO_EVERY", 0.02)
    one, heard = link(own_redis.url)
    one.subscribe([b"news"])
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        for number in range(10):
            # As a handler does that computes: nothing is read for many times as long as an echo may take.
            until = time.perf_counter() + 0.2
            while time.perf_counter() < until:
                pass
            one.publish(b"news", str(number).encode())
            await one.command(b"PING")
        assert (one.connects, one.state, len(heard)) == (1, LinkState.HEALTHY, 10)
        nursery.cancel_scope.cancel()


async def test_users_and_passwords_of_acls(tmp_path: Path) -> None:
    acl = "user relay on >secret-of-the-relay ~* &* +@all"
    with running_redis(tmp_path, (acl,), password="of-the-default-user") as server:
        host = f"127.0.0.1:{server.port}"
        for access in (":of-the-default-user@", "relay:secret-of-the-relay@"):
            one, _ = link(f"redis://{access}{host}")
            async with trio.open_nursery() as nursery:
                await nursery.start(one.run)
                assert one.state is LinkState.HEALTHY
                nursery.cancel_scope.cancel()
        for access in ("", ":wrong@", "relay:wrong@", "nobody:secret-of-the-relay@"):
            one, _ = link(f"redis://{access}{host}")
            async with trio.open_nursery() as nursery:
                await nursery.start(one.run)
                assert one.state is LinkState.DEGRADED
                nursery.cancel_scope.cancel()


async def test_to_be_deaf_for_one_channel_is_to_be_deaf(tmp_path: Path, log_output: list[Any]) -> None:
    acl = "user relay on >secret ~* &rtserver-echo* &open +@all"
    with running_redis(tmp_path, (acl,)) as server:
        one, heard = link(f"redis://relay:secret@127.0.0.1:{server.port}")
        async with trio.open_nursery() as nursery:
            one.subscribe([b"open"])
            await nursery.start(one.run)
            one.publish(b"open", b"1")
            one.publish(b"closed", b"2")
            assert await one.command(b"ECHO", b"3") == b"3"
            assert (one.state, heard, one.lost) == (LinkState.HEALTHY, [(b"open", b"1")], 1)
            one.subscribe([b"closed"])
            with trio.fail_after(PATIENCE):
                while one.state is LinkState.HEALTHY:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert any("subscription refused" in line.get("reason", "") for line in log_output)


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with running_redis(tmp_path, (f"unixsocket {path}",)) as server:
        with server.client() as client:
            assert client.ping()
        one, _ = link(f"unix://{path}")
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run)
            assert one.state is LinkState.HEALTHY
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://localhost", "redis+sentinel://x", "redis://:top-secret@host:port/"]
)
def test_what_is_no_redis_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisAdapter(url)
    assert "top-secret" not in str(caught.value)


def test_the_password_is_in_no_repr() -> None:
    target = RedisTarget.of("rediss://user:top-secret@example.com:6380/2")
    assert (target.host, target.port, target.username, target.password) == ("example.com", 6380, "user", "top-secret")
    assert target.tls is not None
    assert "top-secret" not in repr(target)
    assert isinstance(redis.RedisError(), Exception)
