"""Who may come back to what, and what is forgotten. The wire itself is in ``tests/behaviour/test_recovery_wire.py``."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Unpack

import pytest
import trio
import trio.testing

from rtserver import (
    ConfigurationError,
    ConnectionStateRecovery,
    ConnectRefused,
    Handshake,
    RoomRefused,
    Server,
    Socket,
)
from rtserver.client import ClientSocket, Reconnection, Settings
from rtserver.core.recovery import RecoveryStatistics
from rtserver.middleware import Permissions, allow
from rtserver.middleware.auth import Auth, User
from rtserver.testing import InProcessServer, open_server

AT_ONCE = Reconnection(delay=1, jitter=0)


class Client:
    """A client that comes back, and what it has heard of ``news``."""

    def __init__(self, server: InProcessServer, socket: ClientSocket) -> None:
        self.server = server
        self.socket = socket
        self.heard: list[Any] = []
        self.back = trio.Event()
        socket.on("news", self.heard.append)
        socket.on("connect", self._came_back)

    def _came_back(self) -> None:
        self.back.set()

    @property
    def here(self) -> Any:
        """The server's side of it."""
        return self.server.io.of(self.socket.namespace).sockets[str(self.socket.id)]

    async def cut(self, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """Break the connection, and wait until it is back; whether the session was."""
        self.back = trio.Event()
        self.server.drop_connections()
        meanwhile()
        await self.back.wait()
        recovered: bool = self.here.recovered
        assert self.socket.recovered is recovered
        return recovered


@asynccontextmanager
async def connected(io: Server, namespace: str = "/", **settings: Unpack[Settings]) -> AsyncIterator[Client]:
    settings["reconnection"] = AT_ONCE
    async with open_server(io) as server, server.socket(namespace, **settings) as socket:
        yield Client(server, socket)


def recovering(**settings: Any) -> Server:
    io = Server(connection_state_recovery=ConnectionStateRecovery(**settings))

    @io.on("enter")
    async def enter(socket: Socket, room: str) -> None:
        await socket.enter(room)

    return io


def statistics(io: Server) -> RecoveryStatistics:
    found = io.statistics().recovery
    assert found is not None
    return found


async def test_a_client_gets_what_it_missed_in_order_and_once(autojump_clock: trio.testing.MockClock) -> None:
    io = recovering()
    async with connected(io) as client:
        io.emit("news", 0)
        await client.socket.call("enter", "room")
        for number in range(1, 4):

            def meanwhile(number: int = number) -> None:
                io.to("room").emit("news", number)

            assert await client.cut(meanwhile)
            assert client.heard == list(range(number + 1))
        assert client.here.rooms == {client.socket.id, "room"}
        assert (statistics(io).recovered, statistics(io).afresh) == (3, 0)


async def test_what_a_dead_connection_has_swallowed_is_sent_again(autojump_clock: trio.testing.MockClock) -> None:
    io = recovering()
    async with connected(io) as client:
        io.emit("news", 0)
        await client.socket.call("enter", "room")
        # Sent, and lost with the connection before the client has read it.
        io.emit("news", 1)
        client.here.emit("news", 2)
        client.here.client.session.transport.take_queue()
        assert await client.cut()
        assert client.heard == [0, 1, 2]


async def test_events_of_rooms_come_from_the_time_when_the_client_was_in_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    io = recovering()
    async with connected(io) as client:
        io.to("room").emit("news", "before")
        await client.socket.call("enter", "room")
        io.to("room").emit("news", "during")
        client.here.leave("room")
        io.to("room").emit("news", "after")
        client.here.client.session.transport.take_queue()
        assert await client.cut()
        assert client.heard == ["during"]


async def test_a_handler_that_is_still_at_work_reaches_the_client_that_is_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    io = recovering()
    async with connected(io) as client:
        old = client.here
        assert await client.cut(lambda: old.emit("news", "away"))
        assert client.here is not old
        old.emit("news", "back")
        await client.socket.call("enter", "room")
        assert client.heard == ["away", "back"]


async def test_rooms_change_for_those_who_are_away(autojump_clock: trio.testing.MockClock) -> None:
    io = recovering()
    async with connected(io) as client:
        await client.socket.call("enter", "left")

        def meanwhile() -> None:
            everybody = io.in_(str(client.socket.id))
            everybody.sockets_join("joined")
            everybody.sockets_leave("left")
            io.to("left").emit("news", "left")
            io.to("joined").emit("news", "joined")
            io.except_("joined").emit("news", "excepted")

        assert await client.cut(meanwhile)
        assert client.here.rooms == {client.socket.id, "joined"}
        assert client.heard == ["joined"]


async def test_those_who_are_away_count_as_gone(autojump_clock: trio.testing.MockClock) -> None:
    io = recovering()
    async with connected(io) as client:
        await client.socket.call("enter", "room")
        client.server.drop_connections()
        assert await io.fetch_sockets() == []
        assert io.adapter.local_rooms() == {}
        assert await io.adapter.all_rooms() == set()
        assert io.statistics().namespaces[0].sockets == 0
        assert statistics(io).sessions == 1


async def test_who_was_disconnected_or_has_left_does_not_recover(autojump_clock: trio.testing.MockClock) -> None:
    io = recovering()

    @io.on("out")
    def out(socket: Socket) -> None:
        socket.disconnect()

    async with connected(io) as client:
        pid = client.here.pid
        client.socket.emit("out")
        await client.socket.wait_closed()
        async with client.server.socket(auth={"pid": pid}) as again:
            assert not again.recovered
            pid = io.sockets[str(again.id)].pid
        async with client.server.socket(auth={"pid": pid}) as again:
            assert not again.recovered
    async with connected(io) as client:
        assert not await client.cut(io.disconnect_sockets)
        assert statistics(io).sessions == 0


async def test_a_session_is_forgotten_in_time(autojump_clock: trio.testing.MockClock) -> None:
    io = recovering(max_disconnection_duration=10)
    async with open_server(io) as server:
        for away, recovers in ((7, True), (11, False)):
            async with server.socket() as socket:
                pid, first = io.sockets[str(socket.id)].pid, socket.id
                server.drop_connections()
            io.emit("news", 1)
            await trio.sleep(away)
            async with server.socket(auth={"pid": pid}) as again:
                assert (again.id == first) is recovers
                assert io.sockets[str(again.id)].recovered is recovers
        # Nothing but time has to pass.
        await trio.sleep(10 + 45 + 5)
        kept = statistics(io)
        assert (kept.sessions, kept.packets, kept.bytes) == (0, 0, 0)


@pytest.mark.parametrize("bound", [{"max_packets": 3}, {"max_bytes": 3_000}])
async def test_a_client_begins_afresh_when_what_it_missed_is_not_kept(
    autojump_clock: trio.testing.MockClock, bound: dict[str, int]
) -> None:
    io = recovering(**bound)
    async with connected(io) as client:
        client.here.data["name"] = "ann"
        first, pid = client.socket.id, client.here.pid
        await client.socket.call("enter", "room")

        def too_much() -> None:
            for number in range(10):
                io.to("room").emit("news", number)

        assert not await client.cut(too_much)
        assert client.socket.id != first
        assert client.here.pid != pid
        assert (client.here.rooms, client.here.data) == ({client.socket.id}, {})
        assert client.heard == []
        kept = statistics(io)
        assert kept.packets == 3 or 2_000 < kept.bytes <= 3_000
        assert (statistics(io).afresh, statistics(io).sessions) == (1, 0)


async def test_a_client_that_has_missed_nothing_recovers_however_old_its_offset_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    io = recovering(max_packets=3)
    async with connected(io) as client:
        io.emit("news", 0)
        await client.socket.call("enter", "room")

        def elsewhere() -> None:
            for number in range(10):
                io.to("elsewhere").emit("news", number)

        elsewhere()
        assert await client.cut(elsewhere)
        assert client.heard == [0]


async def test_what_does_not_fit_into_a_connection_is_not_sent(autojump_clock: trio.testing.MockClock) -> None:
    for options, size in (({"max_queue_packets": 16}, 1), ({"max_queue_bytes": 4_096}, 300)):
        io = Server(connection_state_recovery=True, **options)  # type: ignore[arg-type]
        async with connected(io) as client:

            def miss(count: int, size: int = size, io: Server = io) -> None:
                for _ in range(count):
                    io.emit("news", "x" * size)

            assert await client.cut(lambda: miss(5))
            assert len(client.heard) == 5
            assert not await client.cut(lambda: miss(9))
            assert len(client.heard) == 5


async def test_only_so_many_sessions_are_remembered(autojump_clock: trio.testing.MockClock) -> None:
    io = recovering(max_sessions=2)
    async with open_server(io) as server:
        pids = []
        for _ in range(3):
            async with server.socket() as socket:
                pids.append(io.sockets[str(socket.id)].pid)
                server.drop_connections()
        assert statistics(io).sessions == 2
        for pid, remembered in zip(pids, (False, True, True), strict=True):
            async with server.socket(auth={"pid": pid}) as socket:
                assert io.sockets[str(socket.id)].recovered is remembered


async def test_a_pid_is_used_once(autojump_clock: trio.testing.MockClock) -> None:
    io = recovering()
    io.of("/other")
    gone: list[str] = []

    @io.on_disconnect
    def left(socket: Socket, reason: str) -> None:
        gone.append(reason)

    async with open_server(io) as server, server.socket() as first:
        socket_id = str(first.id)
        pid = io.sockets[socket_id].pid
        # The server has not noticed yet that the connection is dead: whoever has the secret is the client.
        async with server.socket(auth={"pid": pid}) as second:
            await first.wait_closed()
            assert second.id == socket_id
            assert list(io.sockets) == [socket_id]
            assert gone == ["transport error"]
            server.drop_connections()
        async with server.socket(auth={"pid": pid}) as third, server.socket("/other", auth={"pid": pid}) as elsewhere:
            assert third.id == socket_id
            assert elsewhere.id != socket_id


@pytest.mark.parametrize(
    "garbage",
    [
        {"pid": ""},
        {"pid": "x" * 100_000},
        {"pid": "\0"},
        {"pid": 1},
        {"pid": None},
        {"pid": ["a"]},
        {"pid": {"a": 1}},
        {"pid": "unknown0000000000000", "offset": "1234567890123-1"},
        {"offset": "1234567890123-1"},
    ],
)
async def test_garbage_instead_of_a_pid_is_a_new_socket(
    autojump_clock: trio.testing.MockClock, garbage: dict[str, Any]
) -> None:
    io = recovering()
    async with open_server(io) as server, server.socket(auth=garbage) as socket:
        assert not io.sockets[str(socket.id)].recovered
        assert statistics(io).sessions == 0


@pytest.mark.parametrize(
    "offset",
    [1, True, [], {}, "", "x", "x" * 100_000, "1-1", "٣" * 13 + "-1", "1234567890123-", "9" * 13 + "-" + "9" * 5_000],
)
async def test_garbage_instead_of_an_offset_is_a_new_socket(
    autojump_clock: trio.testing.MockClock, offset: Any
) -> None:
    io = recovering()
    async with open_server(io) as server:
        async with server.socket() as socket:
            pid = io.sockets[str(socket.id)].pid
            server.drop_connections()
        async with server.socket(auth={"pid": pid, "offset": offset}) as again:
            assert not io.sockets[str(again.id)].recovered


async def test_an_offset_of_the_future_is_a_new_socket_and_one_of_another_server_is_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    io = recovering()
    async with open_server(io) as server:
        for written, recovers in ((r"\g<0>0", False), ("1234567890123-7", True)):
            async with server.socket() as socket:
                here: Any = io.sockets[str(socket.id)]
                io.to(here.id).emit("news", 1)
                offset = here.trail.after(0)[-1].message.text.decode().split('"')[-2]
                server.drop_connections()
            async with server.socket(
                auth={"pid": here.pid, "offset": re.sub(r".*", written, offset, count=1)}
            ) as again:
                assert io.sockets[str(again.id)].recovered is recovers
                if recovers:
                    assert await again.receive("news") == 1


# Who it is.


RULES = [allow("event"), allow("enter", "staff", scopes=["staff"]), allow("enter", "r*")]


def authenticated(**settings: Any) -> tuple[Server, dict[str, User]]:
    tokens = {"ann": User("ann", frozenset(["staff"])), "bob": User("bob")}

    def check(handshake: Handshake) -> User | None:
        return tokens.get(handshake.auth.get("token", ""))

    io = Server(
        middleware=[Auth(check), Permissions(RULES)],
        connection_state_recovery=ConnectionStateRecovery(**settings),
    )

    @io.on("enter")
    async def enter(socket: Socket, room: str) -> None:
        await socket.enter(room)

    return io, tokens


async def test_a_pid_is_bound_to_its_user(autojump_clock: trio.testing.MockClock) -> None:
    io, _ = authenticated()
    async with open_server(io) as server:
        async with server.socket(auth={"token": "ann"}) as socket:
            await socket.call("auth:refresh", {"token": "ann"})
            here: Any = io.sockets[str(socket.id)]
            here.data["secret"] = 1
            here.join("room")
            server.drop_connections()
        io.to("room").emit("news", 1)
        for token, recovers in (("bob", False), ("ann", True)):
            async with server.socket(auth={"token": token, "pid": here.pid}) as again:
                found: Any = io.sockets[str(again.id)]
                assert found.recovered is recovers
                assert found.user.id == token
                assert (found.id == here.id, found.data, "room" in found.rooms) == (
                    recovers,
                    {"secret": 1} if recovers else {},
                    recovers,
                )
        # Nor may somebody else end the connection that is there.
        async with server.socket(auth={"token": "ann"}) as socket:
            here = io.sockets[str(socket.id)]
            async with server.socket(auth={"token": "bob", "pid": here.pid}):
                assert here.connected


async def test_a_token_that_has_run_out_brings_nobody_back(autojump_clock: trio.testing.MockClock) -> None:
    for skip in (False, True):
        io, tokens = authenticated(skip_middlewares=skip)
        async with open_server(io) as server:
            async with server.socket(auth={"token": "ann"}) as socket:
                here: Any = io.sockets[str(socket.id)]
                here.user = User("ann", expires_at=time.time() - 1)
                server.drop_connections()
            ann = tokens.pop("ann")
            with pytest.raises(Exception, match="authentication failed"):
                async with server.socket(auth={"token": "ann", "pid": here.pid}):
                    pass
            assert statistics(io).sessions == 1
            # With a newer one the same session goes on.
            tokens["ann"] = ann
            async with server.socket(auth={"token": "ann", "pid": here.pid}) as again:
                assert io.sockets[str(again.id)].recovered
                assert io.sockets[str(again.id)].user is ann


async def test_middleware_is_passed_over_only_if_the_settings_say_so(autojump_clock: trio.testing.MockClock) -> None:
    for skip in (False, True):
        io = Server(connection_state_recovery={"skip_middlewares": skip})
        asked = 0

        @io.use
        def check(socket: Socket) -> None:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise ConnectRefused("once only")

        async with open_server(io) as server:
            async with server.socket() as socket:
                here: Any = io.sockets[str(socket.id)]
                here.user = "somebody"
                server.drop_connections()
            if skip:
                async with server.socket(auth={"pid": here.pid}) as again:
                    assert io.sockets[str(again.id)].user == "somebody"
            else:
                with pytest.raises(Exception, match="once only"):
                    async with server.socket(auth={"pid": here.pid}):
                        pass
        assert asked == 1 if skip else 2


@pytest.mark.parametrize("why", ["too much was missed", "a guard cannot say"])
async def test_middleware_that_is_passed_over_is_asked_about_whoever_begins_afresh(
    autojump_clock: trio.testing.MockClock, why: str, log_output: list[Any]
) -> None:
    io, tokens = authenticated(skip_middlewares=True, max_packets=3)
    away = False

    @io.guard_room
    async def guard(socket: Socket, room: str) -> None:
        if away and why == "a guard cannot say":
            raise OSError("the database is away")

    async with open_server(io) as server:
        async with server.socket(auth={"token": "ann"}) as socket:
            here: Any = io.sockets[str(socket.id)]
            await here.enter("room")
            server.drop_connections()
        away = True
        for number in range(10 if why == "too much was missed" else 1):
            io.to("room").emit("news", number)
        del tokens["ann"]
        with pytest.raises(Exception, match="authentication failed"):
            async with server.socket(auth={"token": "ann", "pid": here.pid}):
                pass
        assert io.sockets == {}


async def test_a_session_that_is_recovered_past_the_middleware_is_its_users_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    io, _ = authenticated(skip_middlewares=True)
    async with open_server(io) as server:
        async with server.socket(auth={"token": "ann"}) as socket:
            here: Any = io.sockets[str(socket.id)]
            assert here.client.bind("ann")
            server.drop_connections()
        async with server.socket(auth={"token": "ann", "pid": here.pid}) as again:
            assert io.sockets[str(again.id)].recovered
            assert not io.sockets[str(again.id)].client.bind("eve")


# Rooms.


@pytest.mark.parametrize("guarded", ["permissions", "guard"])
async def test_rooms_that_are_refused_now_are_not_restored_and_what_was_said_there_is_not_sent(
    autojump_clock: trio.testing.MockClock, guarded: str
) -> None:
    io, tokens = authenticated()
    refused: set[str] = set()

    @io.guard_room
    async def guard(socket: Socket, room: str) -> None:
        await trio.lowlevel.checkpoint()
        assert socket.data == {"kept": True}
        if room in refused:
            raise RoomRefused

    async with connected(io, auth={"token": "ann"}) as client:
        client.here.data["kept"] = True
        await client.socket.call("enter", "staff")
        await client.socket.call("enter", "room")
        client.here.join("joined")

        def meanwhile() -> None:
            if guarded == "guard":
                refused.add("staff")
            else:
                tokens["ann"] = User("ann")
            io.to("staff").emit("news", "staff only")
            io.to("staff", "room").emit("news", "both")
            io.to("room").emit("news", "room")
            io.to("joined").emit("news", "joined")

        assert await client.cut(meanwhile)
        assert client.heard == ["both", "room", "joined"]
        assert client.here.rooms - {"\0user:ann"} == {client.socket.id, "room", "joined"}
        # What was restored is asked about again the next time.
        refused.update(["room", "staff"])
        assert await client.cut()
        assert client.here.rooms - {"\0user:ann"} == {client.socket.id, "joined"}


async def test_a_client_begins_afresh_when_a_guard_cannot_say(
    autojump_clock: trio.testing.MockClock, log_output: list[Any]
) -> None:
    io = recovering()
    broken = False

    @io.guard_room
    async def guard(socket: Socket, room: str) -> None:
        if broken:
            raise OSError("the database is away")

    async with connected(io) as client:
        await client.socket.call("enter", "room")
        first, broken = client.socket.id, True
        assert not await client.cut()
        assert client.socket.id != first
        assert client.here.rooms == {client.socket.id}
    assert [line["event"] for line in log_output if line["log_level"] == "error"] == ["room_check_failed"]


async def test_what_is_taken_from_a_user_who_is_away_does_not_come_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    io, _ = authenticated()
    async with connected(io, auth={"token": "ann"}) as client:
        await client.socket.call("enter", "room")
        await client.socket.call("enter", "room2")

        def revoke() -> None:
            io.revoke("ann", "room")
            io.to("room").emit("news", 1)

        assert await client.cut(revoke)
        assert client.here.rooms == {client.socket.id, "room2", "\0user:ann"}
        assert client.heard == []
        # Also while somebody thinks about it.
        asked, answer = trio.Event(), trio.Event()

        @io.guard_room
        async def guard(socket: Socket, room: str) -> None:
            asked.set()
            await answer.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.cut)
            await asked.wait()
            io.revoke("ann", "room2")
            io.to("room2").emit("news", 2)
            answer.set()
        assert client.socket.recovered
        assert client.here.rooms == {client.socket.id, "\0user:ann"}
        assert client.heard == []


async def test_a_user_who_is_disconnected_while_away_does_not_recover(autojump_clock: trio.testing.MockClock) -> None:
    io, _ = authenticated()
    async with connected(io, auth={"token": "ann"}) as client:
        client.server.drop_connections()
        await io.disconnect_user("ann")
        assert statistics(io).sessions == 0
        assert not await client.cut()


async def test_a_dynamic_namespace_lives_as_long_as_somebody_may_come_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    io = recovering(max_disconnection_duration=10)
    parent = io.of(re.compile("^/dynamic-"))

    @parent.on_connect
    def joined(socket: Socket) -> None:
        socket.join("room")

    async with connected(io, "/dynamic-1") as client:
        assert await client.cut(lambda: io.of("/dynamic-1").to("room").emit("news", 1))
        assert client.heard == [1]
        assert io.namespaces["/dynamic-1"].sockets
        # Also when it is the last one, and begins afresh.
        assert not await client.cut(lambda: io.of("/dynamic-1").disconnect_sockets())
        assert io.namespaces["/dynamic-1"].sockets
        client.server.drop_connections()
        client.socket.disconnect()
        assert "/dynamic-1" in io.namespaces
        await trio.sleep(20)
        assert "/dynamic-1" not in io.namespaces


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(None, None), (False, None), ("off", None), (True, 120), ("on", 120), (30, 30), ("30", 30), (0.5, 0.5)],
)
def test_the_setting_is_a_choice_or_a_time(given: Any, seconds: float | None) -> None:
    chosen = Server(connection_state_recovery=given).config.connection_state_recovery
    assert (chosen and chosen.max_disconnection_duration) == seconds


@pytest.mark.parametrize(
    "given", [0, -1, float("nan"), float("inf"), "soon", {"seconds": 1}, {"max_packets": 0}, {"max_sessions": True}, []]
)
def test_a_setting_that_cannot_be_used_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError):
        Server(connection_state_recovery=given)
    with pytest.raises(ConfigurationError):
        ConnectionStateRecovery(skip_middlewares="yes")  # type: ignore[arg-type]
