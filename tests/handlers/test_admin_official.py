"""What ``@socket.io/admin-ui`` 0.5 asks of a server, as its page does it."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing

from rtserver import ConfigurationError, Server, Socket
from rtserver.client import ClientSocket, ConnectError
from rtserver.handlers.admin.official import instrument
from rtserver.middleware import Permissions
from rtserver.middleware.auth import JWTAuth
from rtserver.testing import open_server

GOOD: dict[str, Any] = {"username": "root", "password": "correct horse"}


def build(**options: Any) -> Server:
    io = Server()

    @io.on("echo")
    def echo(socket: Socket, value: Any) -> Any:
        return value

    @io.on("join")
    def join(socket: Socket, room: str) -> None:
        socket.join(room)

    instrument(io, **GOOD, **options)
    return io


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {**GOOD, "password": "wrong"},
        {**GOOD, "username": "?"},
        {"sessionId": "0" * 16},
        {"sessionId": ["x"]},
        {**GOOD, "password": 7},
    ],
)
async def test_every_wrong_answer_is_refused_in_the_same_words(auth: dict[str, Any]) -> None:
    async with open_server(build()) as server:
        with pytest.raises(ConnectError, match=r"^invalid credentials$"):
            async with server.socket("/admin", auth=auth):
                pass


async def test_a_session_id_comes_before_the_connect_and_serves_instead_of_the_password() -> None:
    async with open_server(build()) as server:
        async with server.socket("/admin", auth=GOOD) as page:
            session = await page.receive("session")
            assert len(session) == 16
            assert int(session, 16) >= 0
            assert await page.receive("config") == {
                "supportedFeatures": [
                    "EMIT",
                    "JOIN",
                    "LEAVE",
                    "DISCONNECT",
                    "MJOIN",
                    "MLEAVE",
                    "MDISCONNECT",
                    "AGGREGATED_EVENTS",
                ]
            }
        async with server.socket("/admin", auth={"sessionId": session}) as page:
            await page.receive("config")


async def test_sessions_are_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtserver.handlers.admin.official.MAX_SESSIONS", 5)
    io = build()
    async with open_server(io) as server:
        async with server.socket("/admin", auth=GOOD) as page:
            first = await page.receive("session")
        for _ in range(5):
            async with server.socket("/admin", auth=GOOD):
                pass
        with pytest.raises(ConnectError, match="invalid credentials"):
            async with server.socket("/admin", auth={"sessionId": first}):
                pass


async def test_statistics_come_every_two_seconds(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(build()) as server, server.socket() as user, server.socket("/admin", auth=GOOD) as page:
        await user.call("echo", 1)
        told = await page.receive("server_stats")
        assert told["clientsCount"] == 2
        assert {"name": "/", "socketsCount": 1} in told["namespaces"]
        counted = {one["type"]: one["count"] for one in told["aggregatedEvents"]}
        assert counted["rawConnection"] == 2
        assert counted["packetsIn"] == 1
        again = await page.receive("server_stats")
        assert "rawConnection" not in {one["type"] for one in again["aggregatedEvents"]}


async def test_commands_reach_the_namespace_the_room_and_the_socket() -> None:
    io = build()
    async with open_server(io) as server, server.socket() as user, server.socket("/admin", auth=GOOD) as page:
        await page.receive("config")
        page.emit("join", "/", "hall")
        page.emit("emit", "/", "hall", "news", 7)
        assert await user.receive("news") == 7
        page.emit("leave", "/", "hall", "hall")
        page.emit("emit", "/", None, "news", 8)
        assert await user.receive("news") == 8
        assert io.adapter.local_rooms() == {}
        garbage: Any
        for garbage in (("/nowhere", None, "x"), (None, None, "x"), ("/", 7, 7), ({}, [], {})):
            page.emit("emit", *garbage)
        page.emit("_disconnect", "/", False, next(iter(io.sockets)))
        assert await user.wait_closed() == "io server disconnect"


async def test_a_read_only_page_has_no_commands() -> None:
    io = build(read_only=True)
    async with open_server(io) as server, server.socket() as user, server.socket("/admin", auth=GOOD) as page:
        assert await page.receive("config") == {"supportedFeatures": ["AGGREGATED_EVENTS"]}
        answer = await page.call("emit", "/", None, "news", 7)
        assert answer["error"]["code"] == "unknown_event"
        assert await user.call("echo", 1) == 1


async def test_development_shows_sockets_events_and_rooms(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(build(mode="development")) as server, server.socket() as early:
        async with server.socket("/admin", auth=GOOD) as page:
            (known,) = await page.receive("all_sockets")
            assert (known["nsp"], known["rooms"]) == ("/", [known["id"]])
            assert "auth" not in known["handshake"]
            async with server.socket() as user:
                await check_one(page, user)
            assert (await page.receive("socket_disconnected"))[2] == "client namespace disconnect"
        await early.call("echo", 1)


async def check_one(page: ClientSocket, user: ClientSocket) -> None:
    connected, _ = await page.receive("socket_connected")
    await user.call("join", "hall")
    assert (await page.receive("event_received"))[:3] == ("/", connected["id"], ["join", "hall"])
    assert (await page.receive("room_joined"))[:3] == ("/", "hall", connected["id"])


@pytest.mark.parametrize(
    ("options", "culprit"),
    [({"password": "short"}, "password"), ({"mode": "loud"}, "mode"), ({"namespace": "/"}, "namespace")],
)
def test_wrong_settings_are_named(options: dict[str, Any], culprit: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{culprit}") as caught:
        instrument(Server(), **{**GOOD, **options})
    assert "short" not in str(caught.value)


async def test_the_page_needs_its_password_and_no_token_and_opens_nothing_else() -> None:
    auth, permissions = JWTAuth("a secret of more than thirty-two characters", refusal_delay=0), Permissions([])
    io = Server(middleware=[auth, permissions])
    chat = io.of("/chat")
    instrument(io, **GOOD, exempt_from=(auth, permissions))
    async with open_server(io) as server:
        for namespace in ("/", "/chat"):
            for given in ({}, GOOD):
                with pytest.raises(ConnectError, match="authentication failed"):
                    async with server.socket(namespace, auth=given):
                        pass
        with pytest.raises(ConnectError, match="invalid credentials"):
            async with server.socket("/admin", auth={**GOOD, "password": "wrong"}):
                pass
        async with server.socket("/admin", auth=GOOD) as page:
            await page.receive("config")
            assert await page.call("emit", "/chat", None, "news", 7) is None
    assert chat.sockets == {}


def test_only_the_servers_own_middleware_is_left_out_and_only_of_a_namespace_without_handlers() -> None:
    auth = JWTAuth("a secret of more than thirty-two characters")
    io = Server(middleware=[auth])
    taken = io.of("/taken")
    taken.on("event")(lambda socket: None)
    with pytest.raises(ConfigurationError):
        taken.exempt_from(auth)
    with pytest.raises(ConfigurationError):
        io.of("/free").exempt_from(Permissions([]))
    with pytest.raises(ConfigurationError):
        io.of("/").exempt_from(auth)
    assert taken.registry.middleware == io.of("/free").registry.middleware == io.registry.middleware == [auth]
