"""Two of our nodes and one of the reference's in one cluster: every operation, in every direction."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from rtserver import Server, Socket
from rtserver.adapters.redis import RedisAdapter
from rtserver.client import ClientSocket, open_socket
from tests.services.redis import RedisServer
from tests.services.redis_clusters import RedisCluster

HERE = Path(__file__).parent
NAMES = ("one", "two", "node")
PATIENCE = 5.0


def build(url: str, sharded: bool) -> Server:
    """What ``reference_node.mjs`` is, in Python."""
    io = Server(adapter=RedisAdapter(url, sharded=sharded))
    heard: list[Any] = []

    @io.on_server_side("told")
    def told(*args: Any) -> None:
        heard.append(list(args))

    @io.on_server_side("question")
    def question(value: Any) -> str:
        return f"ours {value}"

    def among(target: dict[str, Any]) -> Any:
        return io.to(*target.get("to", [])).except_(*target.get("except", []))

    async def fetch(target: dict[str, Any]) -> list[dict[str, Any]]:
        found = await among(target).fetch_sockets()
        return [{"id": one.id, "rooms": sorted(one.rooms), "data": one.data} for one in found]

    async def call(target: dict[str, Any], *args: Any) -> list[Any]:
        with trio.fail_after(3):
            answers: list[Any] = await among(target).call(*args)
        return answers

    async def rooms(target: dict[str, Any]) -> list[str]:
        return sorted(await io.adapter.all_rooms())

    operations: dict[str, Callable[..., Any]] = {
        "emit": lambda target, *args: among(target).emit(*args),
        "call": call,
        "fetch": fetch,
        "join": lambda target, *rooms: among(target).sockets_join(*rooms),
        "leave": lambda target, *rooms: among(target).sockets_leave(*rooms),
        "disconnect": lambda target: among(target).disconnect_sockets(close=True),
        "tell": lambda target, *args: io.server_side_emit("told", *args),
        "ask": lambda target, value: io.server_side_call("question", value),
        "rooms": rooms,
        "heard": lambda target: [heard.pop(0) for _ in range(len(heard))],
    }

    @io.on_connect
    def remember(socket: Socket) -> None:
        socket.data["name"] = socket.handshake.auth["name"]

    @io.on("do", concurrent=True)
    async def do(socket: Socket, name: str, target: dict[str, Any], args: list[Any]) -> Any:
        result = operations[name](target, *args)
        return await result if isinstance(result, Awaitable) else result

    return io


class Cluster:
    """A client on each node, and what each has heard of ``news``."""

    def __init__(self, clients: dict[str, ClientSocket]) -> None:
        self.clients = clients
        self.heard: dict[str, list[Any]] = {name: [] for name in clients}
        self.fences: Counter[str] = Counter()
        for name, client in clients.items():
            client.on("news", lambda *args, name=name: self.heard[name].append(list(args)))
            client.on("fence", lambda name=name: self.fences.update([name]))
            client.on("question", lambda value, name=name: f"{name} {value}")

    async def do(self, node: str, operation: str, *args: Any, **target: list[str]) -> Any:
        renamed = {key.rstrip("_"): value for key, value in target.items()}
        with trio.fail_after(PATIENCE):
            return await self.clients[node].call("do", operation, renamed, list(args))

    def id(self, name: str) -> str:
        socket_id = self.clients[name].id
        assert socket_id is not None
        return socket_id

    async def until(self, condition: Callable[[], Any]) -> None:
        """What another node does is not acknowledged, so it is looked for."""
        with trio.fail_after(PATIENCE):
            while not condition():
                await trio.lowlevel.checkpoint()

    async def told(self, *names: str) -> list[Any]:
        """Exactly these have heard one piece of news, which is the same for all."""
        await self.until(lambda: all(self.heard[name] for name in names))
        # Messages to everybody are behind whatever the same node has sent before.
        for name in NAMES:
            await self.do(name, "emit", "fence")
        await self.until(lambda: self.fences.total() == len(NAMES) ** 2)
        self.fences.clear()
        heard = {name: news for name, news in self.heard.items() if news}
        assert set(heard) == set(names), heard
        assert all(len(news) == 1 for news in heard.values()), heard
        first: list[Any] = next(iter(heard.values()))[0]
        assert all(news[0] == first for news in heard.values())
        for news in self.heard.values():
            news.clear()
        return first


@asynccontextmanager
async def reference_node(kind: str, urls: list[str]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        command = ["node", str(HERE / "reference_node.mjs"), kind, *urls]
        start = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some(100)
        yield f"http://127.0.0.1:{line.decode().strip()}"
        process.kill()


@asynccontextmanager
async def running_cluster(kind: str, url: str, urls: list[str]) -> AsyncIterator[Cluster]:
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        servers = [build(url, kind != "classic") for _ in range(2)]
        addresses = {}
        for name, io in zip(NAMES, servers, strict=False):
            (address,) = await nursery.start(io.serve, "127.0.0.1:0")
            addresses[name] = f"http://{address}"
        addresses["node"] = await stack.enter_async_context(reference_node(kind, urls))
        clients = {
            name: await stack.enter_async_context(open_socket(at, auth={"name": name}))
            for name, at in addresses.items()
        }
        yield Cluster(clients)
        for io in servers:
            io.stop()


@pytest.fixture(params=["classic", "sharded", "cluster"])
async def cluster(shared_redis: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    url, urls = shared_redis.url, [shared_redis.url]
    if request.param == "cluster":
        several: RedisCluster = request.getfixturevalue("redis_cluster")
        url, urls = several.url, [server.url for server in several.masters]
    async with running_cluster(request.param, url, urls) as found:
        yield found


@pytest.mark.parametrize("origin", NAMES)
async def test_broadcasts_reach_every_node_once(cluster: Cluster, origin: str) -> None:
    await cluster.do(origin, "emit", "news", 1, "é", {"a": [True, None, 1.5]})
    assert await cluster.told(*NAMES) == [1, "é", {"a": [True, None, 1.5]}]
    await cluster.do(origin, "emit", "news", b"\x01\x02")
    assert await cluster.told(*NAMES) == [b"\x01\x02"]


@pytest.mark.parametrize("origin", NAMES)
async def test_rooms_are_those_of_the_whole_cluster(cluster: Cluster, origin: str) -> None:
    await cluster.do(origin, "join", "hall", to=[cluster.id("one")])
    await cluster.do(origin, "join", "hall", "bar", to=[cluster.id("node")])
    for name in NAMES:
        with trio.fail_after(PATIENCE):
            while not {"hall", "bar"} <= set(await cluster.do(name, "rooms")):
                pass
    await cluster.do(origin, "emit", "news", "hall", to=["hall"])
    await cluster.told("one", "node")
    await cluster.do(origin, "emit", "news", "hall", to=["hall"], except_=["bar"])
    await cluster.told("one")
    await cluster.do(origin, "emit", "news", "one", to=[cluster.id("two")])
    await cluster.told("two")
    await cluster.do(origin, "leave", "hall", to=["hall"])
    with trio.fail_after(PATIENCE):
        while "hall" in await cluster.do("one", "rooms"):
            pass
    await cluster.do(origin, "emit", "news", "bar", to=["hall", "bar"])
    await cluster.told("node")


@pytest.mark.parametrize("origin", NAMES)
async def test_acknowledgements_come_from_every_node(cluster: Cluster, origin: str) -> None:
    answers = await cluster.do(origin, "call", "question", 7)
    assert sorted(answers) == ["node 7", "one 7", "two 7"]


@pytest.mark.parametrize("origin", NAMES)
async def test_sockets_are_found_on_every_node(cluster: Cluster, origin: str) -> None:
    found = await cluster.do(origin, "fetch")
    assert {one["id"]: one["data"]["name"] for one in found} == {cluster.id(name): name for name in NAMES}
    assert all(one["id"] in one["rooms"] for one in found)


@pytest.mark.parametrize("origin", NAMES)
async def test_nodes_tell_and_ask_one_another(cluster: Cluster, origin: str) -> None:
    await cluster.do(origin, "tell", "hello", 1)
    for name in NAMES:
        heard: list[Any] = []
        with trio.fail_after(PATIENCE):
            while name != origin and not heard:
                heard = await cluster.do(name, "heard")
        assert heard == ([] if name == origin else [["hello", 1]])
    expected = {"one": ["node 5", "ours 5"], "two": ["node 5", "ours 5"], "node": ["ours 5", "ours 5"]}
    assert sorted(await cluster.do(origin, "ask", 5)) == expected[origin]


@pytest.mark.parametrize("origin", NAMES)
@pytest.mark.parametrize("target", NAMES)
async def test_sockets_are_disconnected_wherever_they_are(cluster: Cluster, origin: str, target: str) -> None:
    if origin == target:
        cluster.clients[origin].emit("do", "disconnect", {"to": [cluster.id(target)]}, [])
    else:
        await cluster.do(origin, "disconnect", to=[cluster.id(target)])
    with trio.fail_after(PATIENCE):
        assert await cluster.clients[target].wait_closed() == "io server disconnect"


@pytest.mark.parametrize("cluster", ["classic"], indirect=True)
async def test_the_emitter_of_javascript_reaches_our_clients(cluster: Cluster, shared_redis: RedisServer) -> None:
    await cluster.do("one", "join", "hall", to=[cluster.id("one"), cluster.id("two")])
    await cluster.do("one", "join", "bar", to=[cluster.id("two")])
    with trio.fail_after(PATIENCE):
        while "bar" not in await cluster.do("two", "rooms"):
            pass
        await trio.run_process(["node", str(HERE / "emit.mjs"), shared_redis.url])
        assert await cluster.clients["two"].wait_closed() == "io server disconnect"
    await cluster.until(lambda: len(cluster.heard["one"]) == 4)
    assert cluster.heard["one"] == [["everybody", b"\x01\x02\x03"], ["hall"], ["not in the bar"], ["annex"]]
    assert cluster.heard["node"] == [["everybody", b"\x01\x02\x03"]]
    assert cluster.heard["two"] == [["everybody", b"\x01\x02\x03"], ["hall"], ["annex"]]
    assert await cluster.do("one", "heard") == [["from the emitter"]]
