"""The ``/admin`` namespace, through real sockets of a server in this process."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from rtserver import Server, Socket, user_room
from rtserver.client import ConnectError
from rtserver.handlers.admin.events import NodeReport
from rtserver.handlers.admin.handlers import register
from rtserver.handlers.admin.reports import FORGOTTEN_AFTER, MAX_NODES, Reports
from rtserver.handlers.admin.watching import MAX_TEXT, SHOWN_PER_SECOND, shortened
from rtserver.testing import open_server


def build(**options: Any) -> Server:
    io = Server()

    @io.of("/admin").use
    def identify(socket: Socket) -> None:
        if socket.handshake.auth.get("admin"):
            socket.user = SimpleNamespace(id="root", scopes=frozenset(["admin"]))

    @io.use
    def name(socket: Socket) -> None:
        if user := socket.handshake.auth.get("user"):
            socket.join(user_room(user))

    @io.on("join")
    def join(socket: Socket, room: str) -> None:
        socket.join(room)

    @io.on("echo")
    def echo(socket: Socket, value: Any) -> Any:
        return value

    register(io, **options)
    return io


ADMIN = {"admin": True}


async def test_nobody_joins_without_the_scope() -> None:
    async with open_server(build()) as server:
        with pytest.raises(ConnectError, match="not allowed"):
            async with server.socket("/admin"):
                pass


async def test_the_node_reports_at_once_and_every_second(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(build()) as server, server.socket() as user, server.socket("/admin", auth=ADMIN) as admin:
        await user.call("join", "hall")
        first = await admin.receive("cluster:report")
        (node,) = first["nodes"]
        assert node["state"] == "ready"
        assert node["polling"] + node["websocket"] == 2
        assert node["memory"] > 1_000_000
        second = await admin.receive("cluster:report")
        (node,) = second["nodes"]
        main = next(one for one in node["namespaces"] if one["name"] == "/")
        assert main == {"name": "/", "sockets": 1, "rooms": 1, "events": 1}
        assert node["packets_in"] == 1


async def test_names_that_clients_chose_are_reported_together(autojump_clock: trio.testing.MockClock) -> None:
    io = build()
    io.of(re.compile("^/n-"))
    async with open_server(io) as server, server.client() as client, server.socket("/admin", auth=ADMIN) as admin:
        for number in range(3):
            await client.connect(f"/n-{number}")
        await admin.receive("cluster:report")
        report = (await admin.receive("cluster:report"))["nodes"][0]
        names = {one["name"]: one["sockets"] for one in report["namespaces"]}
        assert names == {"/": 0, "/admin": 1, "(dynamic)": 3}


async def test_sockets_and_rooms_are_found_by_page() -> None:
    async with (
        open_server(build()) as server,
        server.socket("/admin", auth=ADMIN) as admin,
        server.socket(auth={"user": "ann"}) as one,
        server.socket() as two,
        server.socket(),
    ):
        for socket, rooms in ((one, ("hall", "bar")), (two, ("hall",))):
            for room in rooms:
                await socket.call("join", room)
        page = await admin.call("cluster:sockets", {"namespace": "/", "size": 2})
        assert page["total"] == 3
        assert len(page["sockets"]) == 2
        rest = await admin.call("cluster:sockets", {"namespace": "/", "size": 2, "offset": 2})
        assert len(rest["sockets"]) == 1
        found = await admin.call("cluster:sockets", {"namespace": "/", "search": "bar"})
        (ann,) = found["sockets"]
        assert (ann["user"], ann["rooms"]) == ("ann", ["bar", "hall"])
        assert (await admin.call("cluster:sockets", {"namespace": "/", "search": "ann"}))["total"] == 1
        rooms_found = await admin.call("cluster:rooms", {"namespace": "/"})
        assert rooms_found == {"total": 2, "rooms": [{"name": "hall", "sockets": 2}, {"name": "bar", "sockets": 1}]}
        unknown = await admin.call("cluster:sockets", {"namespace": "/nowhere"})
        assert unknown["error"]["code"] == "unknown_namespace"
        wrong = await admin.call("cluster:sockets", {"namespace": "/", "size": 1_000_000})
        assert wrong["error"]["code"] == "invalid_payload"


async def test_a_watched_socket_shows_both_directions_until_it_is_let_go() -> None:
    io = build()
    async with open_server(io) as server, server.socket() as user, server.socket("/admin", auth=ADMIN) as admin:
        target = {"namespace": "/", "id": next(iter(io.sockets))}
        assert await admin.call("cluster:watch", target) == {"done": True}
        await user.call("echo", {"text": "hello", "file": b"12345"})
        io.emit("news", 7)
        heard, said = await admin.receive("cluster:socket_event"), await admin.receive("cluster:socket_event")
        assert (heard["direction"], heard["event"]) == ("in", "echo")
        assert heard["args"] == '[{"text":"hello","file":"<5 bytes>"}]'
        assert (said["direction"], said["event"], said["args"]) == ("out", "news", "[7]")
        for _ in range(SHOWN_PER_SECOND * 3):
            await user.call("echo", 1)
        await admin.call("cluster:unwatch", target)
        assert io.of("/admin").adapter.local_rooms() == {}


async def test_a_watch_ends_when_nobody_renews_it(autojump_clock: trio.testing.MockClock) -> None:
    io = build()
    async with open_server(io) as server, server.socket():
        socket = next(iter(io.sockets.values()))
        async with server.socket("/admin", auth=ADMIN) as admin:
            await admin.call("cluster:watch", {"namespace": "/", "id": socket.id})
            await trio.sleep(60)
            assert socket.any_listeners is not None
        await trio.sleep(60)
        assert socket.any_listeners is None


async def test_watches_are_bounded() -> None:
    async with open_server(build()) as server, server.socket("/admin", auth=ADMIN) as admin:
        for number in range(10):
            await admin.call("cluster:watch", {"namespace": "/", "id": f"socket-{number}"})
        refused = await admin.call("cluster:watch", {"namespace": "/", "id": "one more"})
        assert refused["error"]["code"] == "too_many"


async def test_a_socket_or_a_user_is_disconnected() -> None:
    ended: list[str] = []

    async def disconnect_user(user: str) -> None:
        ended.append(user)

    io = build(disconnect_user=disconnect_user)
    async with open_server(io) as server, server.socket() as user, server.socket("/admin", auth=ADMIN) as admin:
        await admin.call("cluster:disconnect_socket", {"namespace": "/", "id": next(iter(io.sockets))})
        assert await user.wait_closed() == "io server disconnect"
        await admin.call("cluster:disconnect_user", {"id": "ann"})
        assert ended == ["ann"]


async def test_a_node_is_drained_by_its_id() -> None:
    drained = trio.Event()
    io = build(drain=drained.set)
    async with open_server(io) as server, server.socket("/admin", auth=ADMIN) as admin:
        (node,) = (await admin.receive("cluster:report"))["nodes"]
        assert (await admin.call("cluster:drain", {"id": "another"}))["error"]["code"] == "unknown_node"
        assert not drained.is_set()
        assert await admin.call("cluster:drain", {"id": node["id"]}) == {"done": True}
        with trio.fail_after(5):
            await drained.wait()


def report(name: str) -> dict[str, Any]:
    numbers = ("polling", "websocket", "opened", "packets_in", "packets_out", "bytes_in", "bytes_out", "slow_consumers")
    rest: dict[str, Any] = dict.fromkeys((*numbers, "memory"), 0)
    return {
        "id": name,
        "name": name,
        "state": "ready",
        "uptime": 1.0,
        "loop_delay": 0.0,
        "relay": "none",
        **rest,
        "namespaces": [],
    }


def test_what_another_node_says_is_checked_and_forgotten_when_old() -> None:
    reports = Reports()
    garbage: Any
    for garbage in (None, 7, [], {}, {"id": "x"}, {**report("x"), "state": "happy"}, {**report("x"), "memory": "much"}):
        reports.take(garbage, now=0)
    assert reports.summary(now=0).nodes == []
    reports.take(report("b"), now=0)
    reports.take(report("a"), now=FORGOTTEN_AFTER)
    assert [node.name for node in reports.summary(now=1).nodes] == ["a", "b"]
    assert [node.name for node in reports.summary(now=FORGOTTEN_AFTER + 1).nodes] == ["a"]


def test_no_more_nodes_are_kept_than_a_cluster_can_have() -> None:
    reports = Reports()
    for number in range(MAX_NODES + 10):
        reports.take(report(f"node-{number}"), now=0)
    kept: list[NodeReport] = reports.summary(now=0).nodes
    assert len(kept) == MAX_NODES


@pytest.mark.parametrize("value", [lambda: ["x" * 10_000], lambda: [object()], lambda: [float("nan")], lambda: [b"x"]])
def test_whatever_is_shown_is_short(value: Callable[[], list[Any]]) -> None:
    assert len(shortened(tuple(value()))) <= MAX_TEXT
