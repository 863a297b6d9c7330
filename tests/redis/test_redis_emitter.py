"""Emitters of every kind reach the clients of every node."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from rtserver import ConfigurationError, EncodeError, LimitExceeded, Server, Socket, event
from rtserver.adapters.redis import RedisAdapter
from rtserver.adapters.redis.link import MAX_MESSAGE
from rtserver.cli import main
from rtserver.client import ClientSocket
from rtserver.emitter import Emitter, RelayDown, connect, open_emitter
from rtserver.testing import open_server
from tests.services.redis import RedisServer

PATIENCE = 5.0
NEWS = event("news", str)


class Two:
    """Two nodes with a client each: the first in ``hall`` and ``bar``, the second in ``hall``."""

    def __init__(self, servers: list[Server], clients: list[ClientSocket]) -> None:
        self.servers = servers
        self.clients = clients
        self.heard: list[list[Any]] = [[], []]
        self.told: list[Any] = []
        for client, heard in zip(clients, self.heard, strict=True):
            client.on("news", lambda *args, heard=heard: heard.append(list(args)))
        for io in servers:
            io.on_server_side("told")(self.told.append)

    async def until(self, condition: Callable[[], Any]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await trio.lowlevel.checkpoint()

    async def heard_by_both(self) -> list[list[Any]]:
        """What each has heard, up to something that both have."""
        await self.until(lambda: all(heard[-1:] == [["fence"]] for heard in self.heard))
        heard = [one[:-1] for one in self.heard]
        for one in self.heard:
            one.clear()
        return heard


@pytest.fixture(params=[False, True], ids=["classic", "sharded"])
def sharded(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def two(shared_redis: RedisServer, sharded: bool) -> AsyncIterator[Two]:
    servers = [Server(adapter=RedisAdapter(shared_redis.url, sharded=sharded)) for _ in range(2)]
    rooms = iter([("hall", "bar"), ("hall",)])
    for io in servers:

        @io.on_connect
        def enter(socket: Socket) -> None:
            socket.join(*next(rooms))

        io.of("/chat")
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_server(io)) for io in servers]
        clients = [await stack.enter_async_context(server.socket()) for server in opened]
        # Rooms of their own channels are heard once Redis has said so.
        for io in servers:
            await io.fetch_sockets()
        yield Two(servers, clients)


async def say_everything(emitter: Emitter, two: Two) -> None:
    emitter.emit("news", 1, b"\x01", {"a": [None]})
    emitter.to("bar").emit("news", "bar")
    emitter.to("hall").except_("bar").emit(NEWS, "hall, not bar")
    emitter.volatile.compress(False).emit("news", "now")
    emitter.of("/chat").emit("news", "elsewhere")
    emitter.of("chat").emit("news", "elsewhere")
    emitter.emit("news", "fence")
    to_all, now = [1, b"\x01", {"a": [None]}], ["now"]
    assert sorted(map(repr, await two.heard_by_both())) == sorted(
        map(repr, [[to_all, ["bar"], now], [to_all, ["hall, not bar"], now]])
    ), "one has heard what it should not"
    emitter.server_side_emit("told", 7)
    await two.until(lambda: two.told == [7, 7])
    emitter.to("bar").sockets_join("attic")
    await two.until(lambda: "attic" in two.servers[0].adapter.local_rooms())
    emitter.to("attic").sockets_leave("attic")
    await two.until(lambda: "attic" not in two.servers[0].adapter.local_rooms())
    emitter.to("bar").disconnect_sockets(close=True)
    with trio.fail_after(PATIENCE):
        assert await two.clients[0].wait_closed() == "io server disconnect"
    assert two.clients[1].connected


async def test_a_plain_program_reaches_clients(two: Two, shared_redis: RedisServer, sharded: bool) -> None:
    await say_everything(connect(shared_redis.url, sharded=sharded), two)


async def test_a_program_on_trio_reaches_clients(two: Two, shared_redis: RedisServer, sharded: bool) -> None:
    async with open_emitter(shared_redis.url, sharded=sharded) as emitter:
        await say_everything(emitter, two)


async def test_what_was_said_at_the_end_is_sent(two: Two, shared_redis: RedisServer, sharded: bool) -> None:
    async with open_emitter(shared_redis.url, sharded=sharded) as emitter:
        for number in range(1_000):
            emitter.emit("news", number)
    await two.until(lambda: all(len(heard) == 1_000 for heard in two.heard))


async def test_a_shell_reaches_clients(two: Two, shared_redis: RedisServer, sharded: bool) -> None:
    async def run(*args: str, **environment: str) -> Any:
        options = ["emit", *(["--sharded"] if sharded else [])]
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main, [*options, *args], env={"RTSERVER_REDIS_URL": None, **environment})
        )

    said = json.dumps({"text": "é"})
    result = await run("--room", "hall", "--except", "bar", "news", said, "7", RTSERVER_REDIS_URL=shared_redis.url)
    assert (result.exit_code, result.output) == (0, "")
    result = await run("--redis-url", shared_redis.url, "news", '"fence"')
    assert (result.exit_code, result.output) == (0, "")
    assert sorted(map(repr, await two.heard_by_both())) == sorted(map(repr, [[], [[{"text": "é"}, 7]]]))
    for args, message in (
        (("news", "no json"), "not JSON"),
        (("news",), "which Redis?"),
        (("--redis-url", shared_redis.url, "connect"), "reserved"),
        (("--redis-url", "http://localhost", "news"), "redis_url"),
        (("--redis-url", "redis://127.0.0.1:1", "news"), "redis has not taken it"),
    ):
        result = await run(*args)
        assert result.exit_code != 0
        assert message in result.output


def test_what_cannot_be_sent_is_an_error(shared_redis: RedisServer) -> None:
    emitter = connect(shared_redis.url)
    for value in (object(), math.nan, [math.inf]):
        with pytest.raises(EncodeError):
            emitter.emit("news", value)
    with pytest.raises(ValueError, match="reserved"):
        emitter.emit("disconnect")
    with pytest.raises(TypeError, match="room"):
        emitter.to(7)  # type: ignore[arg-type]
    with pytest.raises(LimitExceeded):
        emitter.emit("news", "x" * (MAX_MESSAGE + 1))


def test_a_redis_that_is_away_is_an_error_until_it_is_back(own_redis: RedisServer) -> None:
    emitter = connect(own_redis.url)
    emitter.emit("news")
    own_redis.kill()
    with pytest.raises(RelayDown):
        emitter.emit("news")
    own_redis.start()
    emitter.emit("news")


def test_a_url_of_something_else_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError):
        connect("http://localhost")
