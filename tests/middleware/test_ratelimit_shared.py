"""Rates that all nodes share, through a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from rtserver import ConfigurationError, Server, Socket
from rtserver.client import ConnectError
from rtserver.middleware.ratelimit.shared import ANSWERS_WITHIN, LEFT_ALONE_FOR, SharedRateLimit
from rtserver.testing import open_server
from rtserver.testing.server import InProcessServer
from tests.services.redis import RedisServer, running_redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


def node(limit: SharedRateLimit) -> Server:
    """A node whose clients are whoever they say they are."""
    io = Server(middleware=[limit])
    chat = io.of("/chat")

    @io.use
    @chat.use
    def name(socket: Socket) -> None:
        user = socket.handshake.auth.get("user")
        socket.user = user and type("User", (), {"id": user})()

    @io.on("say")
    def say(socket: Socket, text: str) -> str:
        return text

    @chat.on("say")
    def say_there(socket: Socket, text: str) -> str:
        return text

    return io


class Cluster:
    """Nodes with the same limits, each with its own connection to Redis."""

    def __init__(self, limits: list[SharedRateLimit], nodes: list[InProcessServer]) -> None:
        self.limits = limits
        self.nodes = nodes


@asynccontextmanager
async def running(redis: RedisServer, count: int = 2, **options: Any) -> AsyncIterator[Cluster]:
    limits = [SharedRateLimit(redis.url, **options) for _ in range(count)]
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(open_server(node(limit))) for limit in limits]
        for limit in limits:
            await shared(limit)
        yield Cluster(limits, nodes)


async def shared(limit: SharedRateLimit) -> None:
    """Wait until the limit hears from Redis."""
    probe = f"test {id(limit)}"
    with trio.fail_after(10):
        while True:
            await limit._ask([(probe, probe, limit._connects.rate)])
            if not limit.alone:
                return
            await trio.lowlevel.checkpoint()


async def say(server: InProcessServer, user: str | None, namespace: str = "/") -> Any:
    """The code of the refusal, or what was said, over a connection of its own."""
    auth = {} if user is None else {"user": user}
    async with server.socket(namespace, auth=auth) as client:
        answer = await client.call("say", "x")
    return answer["error"]["code"] if isinstance(answer, dict) else answer


async def test_a_user_has_one_bucket_on_all_nodes(redis: RedisServer) -> None:
    async with running(redis, events={"say": "3/min"}, by="user") as cluster:
        one, two = cluster.nodes
        assert [await say(one, "ann"), await say(two, "ann"), await say(one, "ann", "/chat")] == ["x"] * 3
        assert await say(two, "ann") == "rate_limited"
        assert await say(one, "ann") == "rate_limited"
        assert await say(two, "bob") == "x"


async def test_a_bucket_of_an_address_is_nobodys_in_particular(redis: RedisServer) -> None:
    async with running(redis, events={"say": ["100/min per user", "2/min per address"]}) as cluster:
        one, two = cluster.nodes
        assert [await say(one, "ann"), await say(two, "bob")] == ["x"] * 2
        assert await say(one, "cleo") == "rate_limited"


async def test_the_total_is_shared_and_unknown_events_count_in_it(redis: RedisServer) -> None:
    async with running(redis, total="3/min per user", unknown="2/min per user") as cluster:
        one, two = cluster.nodes
        async with one.socket(auth={"user": "ann"}) as client:
            assert (await client.call("nothing"))["error"]["code"] == "unknown_event"
            assert (await client.call("nothing"))["error"]["code"] == "unknown_event"
        async with two.socket(auth={"user": "ann"}) as client:
            refused = (await client.call("nothing"))["error"]
            assert refused["code"] == "rate_limited"
            assert 0 < refused["retry_after"] <= 30
        assert await say(two, "ann") == "x"
        assert await say(one, "ann") == "rate_limited"


async def test_joins_and_handshakes_are_shared(redis: RedisServer) -> None:
    async with running(redis, connects="2/min", handshakes="3/min") as cluster:
        one, two = cluster.nodes
        for server in (one, two):
            async with server.socket():
                pass
        with pytest.raises(ConnectError, match="too many requests") as caught:
            async with two.socket():
                pass
        assert caught.value.data["code"] == "rate_limited"
        with pytest.raises(ConnectError) as caught:
            async with one.client():
                pass
        assert "too many requests" in str(caught.value)


async def test_what_one_bucket_refuses_takes_nothing_from_the_other(redis: RedisServer) -> None:
    async with running(redis, count=1, events={"say": "1/min per user"}, total="3/min per user") as cluster:
        (one,) = cluster.nodes
        assert await say(one, "ann") == "x"
        for _ in range(5):
            assert await say(one, "ann") == "rate_limited"
        async with one.socket(auth={"user": "ann"}) as client:
            assert (await client.call("nothing"))["error"]["code"] == "unknown_event"


async def test_a_node_counts_alone_while_redis_is_away_and_says_so(redis: RedisServer, log_output: list[Any]) -> None:
    async with running(redis, events={"say": "2/min"}, by="user") as cluster:
        one, two = cluster.nodes
        assert await say(one, "ann") == "x"
        log_output.clear()
        redis.kill()
        # What the node has counted before is not forgotten, and what it counts now is its own.
        assert await say(one, "ann") == "x"
        assert await say(one, "ann") == "rate_limited"
        assert await say(two, "ann") == "x"
        assert [limit.alone for limit in cluster.limits] == [True, True]
        assert [line["log_level"] for line in log_output if line["event"] == "rates_counted_alone"] == ["warning"] * 2
        redis.start()
        for limit in cluster.limits:
            await shared(limit)
        assert await say(one, "bob") == "x"
        assert await say(one, "bob") == "x"
        assert await say(two, "bob") == "rate_limited"
        assert len([line for line in log_output if line["event"] == "rates_shared_again"]) == 2


class Silent:
    """A Redis that takes every question, and answers none."""

    def __init__(self) -> None:
        self.asked = 0

    async def command(self, *args: bytes) -> Any:
        self.asked += 1
        await trio.sleep_forever()


async def test_a_redis_that_was_silent_is_not_asked_again_at_once(autojump_clock: trio.testing.MockClock) -> None:
    silent = Silent()
    limit = SharedRateLimit(
        silent, {"say": "100/min"}, by="user", connects="100/s", handshakes="100/s", clock=trio.current_time
    )
    async with open_server(node(limit)) as server, server.socket(auth={"user": "ann"}) as client:
        await trio.sleep(LEFT_ALONE_FOR)
        silent.asked = 0
        began = trio.current_time()
        for number in range(50):
            assert await client.call("say", number) == number
        assert silent.asked == 1
        assert trio.current_time() - began == pytest.approx(ANSWERS_WITHIN)
        await trio.sleep(LEFT_ALONE_FOR)
        await client.call("say", "x")
        assert silent.asked == 2


async def test_a_redis_that_does_not_answer_delays_one_event_and_not_the_next(redis: RedisServer) -> None:
    async with (
        running(redis, count=1, events={"say": "100/min"}, by="user") as cluster,
        cluster.nodes[0].socket(auth={"user": "ann"}) as client,
    ):
        redis.freeze()
        try:
            with trio.fail_after(5):
                assert [await client.call("say", n) for n in range(20)] == list(range(20))
            assert cluster.limits[0].alone
        finally:
            redis.thaw()


async def test_a_clock_of_redis_that_was_put_back_locks_nobody_out(redis: RedisServer) -> None:
    async with running(redis, count=1, events={"say": "1/s burst 3"}, by="user") as cluster:
        far = b"9000000000000000"
        with redis.client() as client:
            client.set("rtserver:rates:event say:1.0:user ann", far)
            assert await say(cluster.nodes[0], "ann") == "rate_limited"
            assert client.get("rtserver:rates:event say:1.0:user ann") == far
        limit = cluster.limits[0]
        assert 0 < await limit._ask([("event say", ("ann",), limit._counted["say"][0][4].rate)]) <= 1


async def test_what_is_kept_in_redis_goes_away_by_itself(redis: RedisServer) -> None:
    async with running(
        redis, count=1, events={"say": "2/min"}, by="user", connects="60/min", handshakes="60/min"
    ) as cluster:
        await say(cluster.nodes[0], "ann")
        with redis.client() as client:
            keys = list(client.scan_iter("rtserver:rates:*"))
            assert keys
            # -1 says that a key stays for ever, -2 that it is gone already.
            assert all(client.pttl(key) in {-2, *range(60_001)} for key in keys)


@pytest.mark.parametrize("scheme", ["http", "redis+cluster"])
def test_a_url_of_what_it_cannot_use_is_refused_and_not_quoted(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^redis") as caught:
        SharedRateLimit(f"{scheme}://:hush@localhost")
    assert "hush" not in str(caught.value)
