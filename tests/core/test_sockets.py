"""What handlers can do with a socket, through the whole stack without a network."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from rtserver import (
    Ack,
    AckTimeout,
    ConnectContext,
    ConnectRefused,
    Disconnected,
    EmitContext,
    EventContext,
    EventRefused,
    LimitExceeded,
    Middleware,
    Proceed,
    RequestContext,
    RequestRefused,
    RoomRefused,
    Server,
    Socket,
    event,
)
from rtserver.client import ConnectError
from rtserver.testing import open_server


class Post(msgspec.Struct):
    room: str
    text: str


POST = event("post", Post, ack=int)


async def test_the_return_value_is_the_acknowledgement() -> None:
    io = Server()

    @io.on("add")
    def add(socket: Socket, a: int, b: int = 5) -> int:
        return a + b

    @io.on("later")
    async def later(socket: Socket) -> str:
        await trio.lowlevel.checkpoint()
        return "done"

    async with open_server(io) as server, server.socket() as client:
        assert await client.call("add", 1, 2) == 3
        assert await client.call("add", 1) == 6
        assert await client.call("later") == "done"


async def test_a_refusal_is_answered_and_a_bug_is_not_explained(log_output: list[Any]) -> None:
    io = Server()

    @io.on("refuse")
    def refuse(socket: Socket) -> None:
        raise EventRefused("full", "no more room", retry_after=3)

    @io.on("break")
    async def crash(socket: Socket) -> None:
        raise KeyError("secret")

    async with open_server(io) as server, server.socket() as client:
        assert await client.call("refuse") == {"error": {"code": "full", "message": "no more room", "retry_after": 3}}
        assert await client.call("break") == {"error": {"code": "internal", "message": "internal error"}}
        assert await client.call("unknown") == {"error": {"code": "unknown_event", "message": "unknown event"}}
        answer = await client.call("refuse", "too", "many")
        assert answer["error"]["code"] == "invalid_arguments"
    assert [line["event"] for line in log_output if line["log_level"] == "error"] == ["handler_failed"]


async def test_a_handler_that_takes_ack_answers_for_itself() -> None:
    io = Server()

    @io.on("several")
    def several(socket: Socket, ack: Ack) -> None:
        assert ack.wanted
        ack(1, 2)
        ack("too late")

    @io.on("null")
    async def null(socket: Socket, ack: Ack) -> None:
        ack(None)

    @io.on("deaf")
    def deaf(socket: Socket, ack: Ack) -> None:
        assert not ack.wanted
        ack("nobody")
        socket.emit("heard")

    async with open_server(io) as server, server.socket() as client:
        assert await client.call("several") == (1, 2)
        assert await client.call("null") is None
        client.emit("deaf")
        await client.receive("heard")


async def test_async_handlers_of_a_socket_run_in_order_and_plain_ones_wait_for_them() -> None:
    io = Server()
    seen: list[str] = []
    gate = trio.Event()

    @io.on("slow")
    async def slow(socket: Socket, name: str) -> None:
        await gate.wait()
        seen.append(name)

    @io.on("plain")
    def plain(socket: Socket) -> None:
        seen.append("plain")

    @io.on("beside", concurrent=True)
    async def beside(socket: Socket) -> None:
        seen.append("beside")
        gate.set()

    async with open_server(io) as server, server.socket() as client:
        client.emit("slow", "first")
        client.emit("plain")
        client.emit("slow", "second")
        await client.call("beside")
        await client.call("plain")
    assert seen == ["beside", "first", "plain", "second", "plain"]


async def test_a_full_queue_pushes_back_and_loses_nothing() -> None:
    io = Server(max_pending_events=4)
    gate = trio.Event()
    seen: list[int] = []

    @io.on("work")
    async def work(socket: Socket, number: int) -> None:
        await gate.wait()
        seen.append(number)

    async with open_server(io) as server, server.socket() as client:
        for number in range(100):
            client.emit("work", number)
        await trio.testing.wait_all_tasks_blocked()
        (socket,) = io.sockets.values()
        assert socket.worker is not None
        assert len(socket.worker._queue) <= 4
        gate.set()
        await client.call("work", 100)
    assert seen == list(range(101))


async def test_a_handler_may_call_its_own_client_behind_a_full_queue() -> None:
    io = Server(max_pending_events=2)

    @io.on("ask")
    async def ask(socket: Socket, number: int) -> Any:
        return await socket.call("question", number)

    async with open_server(io) as server, server.socket() as client:
        client.on("question", lambda number: number * 2)
        for number in range(10):
            client.emit("ask", number)
        assert await client.call("ask", 10) == 20


async def test_a_call_ends_when_the_socket_does() -> None:
    io = Server()
    outcome: list[str] = []

    @io.on("ask")
    async def ask(socket: Socket) -> None:
        try:
            await socket.call("question")
        except Disconnected:
            outcome.append("disconnected")
        with pytest.raises(Disconnected):
            await socket.call("again")

    async with open_server(io) as server:
        async with server.socket() as client:
            client.emit("ask")
            await client.next_event("question")
        await trio.testing.wait_all_tasks_blocked()
    assert outcome == ["disconnected"]


async def test_a_broadcast_collects_acknowledgements(autojump_clock: trio.testing.MockClock) -> None:
    io = Server()
    async with open_server(io) as server, server.socket() as one, server.socket() as two:
        one.on("question", lambda: "one")
        two.on("question", lambda: "two")
        assert sorted(await io.call("question")) == ["one", "two"]
        two.off("question")
        with pytest.raises(AckTimeout) as caught, trio.fail_after(1):
            await io.call("question")
        assert (caught.value.answers, caught.value.missing) == (["one"], 1)
        assert await io.to("nobody").call("question") == []


async def test_typed_events_are_checked_both_ways() -> None:
    io = Server()

    @io.on(POST)
    def post(socket: Socket, draft: Post) -> int:
        return len(draft.text)

    async with open_server(io) as server, server.socket() as client:
        assert await client.call("post", {"room": "r", "text": "four"}) == 4
        answer = await client.call("post", {"room": "r", "text": 4})
        assert answer["error"]["code"] == "invalid_payload"
        assert "$.text" in answer["error"]["message"]
        (socket,) = io.sockets.values()
        client.on("post", lambda draft: "not a number")
        with pytest.raises(EventRefused):
            await socket.call(POST, Post("r", "t"))


async def test_rooms_are_entered_through_the_guard() -> None:
    io = Server(max_rooms=2)

    @io.guard_room
    async def guard(socket: Socket, room: str) -> bool:
        if room == "raise":
            raise RoomRefused("members only")
        return room != "secret"

    @io.on("enter")
    async def enter(socket: Socket, room: Any) -> list[str]:
        await socket.enter(room)
        return sorted(socket.rooms - {socket.id})

    async with open_server(io) as server, server.socket() as one, server.socket() as two:
        assert await one.call("enter", "a") == ["a"]
        assert (await one.call("enter", "secret"))["error"]["code"] == "room_refused"
        assert (await one.call("enter", "raise"))["error"]["message"] == "members only"
        assert (await one.call("enter", two.id))["error"]["code"] == "room_refused"
        assert (await one.call("enter", 7))["error"]["code"] == "room_refused"
        assert await one.call("enter", "b") == ["a", "b"]
        assert (await one.call("enter", "c"))["error"]["code"] == "too_many_rooms"
        assert set(io.adapter.local_rooms()) == {"a", "b"}


async def test_a_guard_that_thinks_while_the_client_leaves_lets_nobody_in() -> None:
    io = Server()
    asked, gate = trio.Event(), trio.Event()
    outcome: list[type[Exception]] = []

    @io.guard_room
    async def guard(socket: Socket, room: str) -> bool:
        asked.set()
        await gate.wait()
        return True

    @io.on("enter")
    async def enter(socket: Socket, room: str) -> None:
        try:
            await socket.enter(room)
        except Disconnected as exc:
            outcome.append(type(exc))

    async with open_server(io) as server:
        async with server.socket() as client:
            client.emit("enter", "room")
            await asked.wait()
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert outcome == [Disconnected]
        assert io.adapter.local_rooms() == {}


async def test_rooms_are_still_there_while_a_socket_disconnects() -> None:
    io = Server()
    seen: list[Any] = []

    @io.on_connect
    def welcome(socket: Socket) -> None:
        socket.join("lobby")

    @io.on_disconnecting
    def leaving(socket: Socket, reason: str) -> None:
        seen.append(("disconnecting", reason, socket.rooms - {socket.id}))

    @io.on_disconnect
    async def left(socket: Socket, reason: str) -> None:
        seen.append(("disconnect", reason, set(socket.rooms)))

    async with open_server(io) as server:
        async with server.socket():
            pass
        await trio.testing.wait_all_tasks_blocked()
    reason = "client namespace disconnect"
    assert seen == [("disconnecting", reason, {"lobby"}), ("disconnect", reason, set())]


async def test_a_broken_network_is_a_transport_close() -> None:
    io = Server()
    reasons: list[str] = []

    @io.on_disconnect
    def left(socket: Socket, reason: str) -> None:
        reasons.append(reason)

    async with open_server(io) as server, server.socket() as client:
        server.drop_connections()
        assert await client.wait_closed() == "transport close"
    assert reasons == ["transport close"]


async def test_listeners_hear_everything_in_both_directions() -> None:
    io = Server()
    heard: list[Any] = []

    @io.on_any
    def every(socket: Socket, name: str, *args: Any) -> None:
        heard.append(("any", name, args))

    @io.on_connect
    def welcome(socket: Socket) -> None:
        @socket.on_any
        def incoming(name: str, *args: Any) -> None:
            heard.append(("in", name, args))

        @socket.on_any_outgoing
        def outgoing(name: str, *args: Any) -> None:
            heard.append(("out", name, args))

        socket.data["listeners"] = (incoming, outgoing)

    @io.on("hello")
    def hello(socket: Socket, text: str) -> None:
        socket.emit("answer", 1)
        io.emit("all", 2)

    @io.on("quiet")
    def quiet(socket: Socket) -> None:
        for listener in socket.data["listeners"]:
            socket.off_any(listener)

    async with open_server(io) as server, server.socket() as client:
        await client.call("hello", "x")
        await client.call("quiet")
        await client.call("hello", "y")
    assert heard == [
        ("any", "hello", ("x",)),
        ("in", "hello", ("x",)),
        ("out", "answer", (1,)),
        ("out", "all", (2,)),
        ("any", "quiet", ()),
        ("in", "quiet", ()),
        ("any", "hello", ("y",)),
    ]


class Recording(Middleware):
    """Sees everything and refuses what says ``bad``."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Any:
        self.seen.append("request")
        if context.handshake.query.get("bad"):
            raise RequestRefused("go away", status=429, retry_after=3)
        return proceed(context)

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
        self.seen.append("connect")
        if context.auth.get("bad"):
            raise ConnectRefused("bad auth", {"why": 1})
        return proceed(context)

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Any:
        self.seen.append(f"event {context.event} {context.known}")
        if "bad" in context.args:
            raise EventRefused("bad", "bad argument")
        return proceed(context)

    def emit(self, context: EmitContext, proceed: Proceed[EmitContext]) -> Any:
        self.seen.append(f"emit {context.event}")
        return proceed(EmitContext(context.namespace, context.event, (*context.args, "stamped")))


class WaitingRecording(Recording):
    """The same, async, around what may be plain or not."""

    async def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Any:
        return await super().request(context, proceed)

    async def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
        return await super().connect(context, proceed)

    async def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Any:
        return await super().event(context, proceed)


@pytest.mark.parametrize("kind", [Recording, WaitingRecording])
async def test_middleware_sees_every_stage_and_may_refuse_it(kind: type[Recording]) -> None:
    recording = kind()
    io = Server(middleware=[recording])

    @io.on("hello")
    def hello(socket: Socket, text: str) -> str:
        socket.emit("greeting")
        io.to("nobody").emit("gossip")
        return text

    async with open_server(io) as server:
        async with server.socket() as client:
            assert await client.call("hello", "good") == "good"
            assert await client.receive("greeting") == "stamped"
            assert (await client.call("hello", "bad"))["error"]["code"] == "bad"
            assert (await client.call("unknown"))["error"]["code"] == "unknown_event"
        assert recording.seen == [
            "request",
            "connect",
            "event hello True",
            "emit greeting",
            "emit gossip",
            "event hello True",
            "event unknown False",
        ]
        with pytest.raises(ConnectError) as refused:
            async with server.socket(auth={"bad": True}):
                pass
        assert (refused.value.message, refused.value.data) == ("bad auth", {"why": 1})
        with pytest.raises(ConnectError) as turned_away:
            async with server.client(query={"bad": "1"}):
                pass
        assert turned_away.value.message == "go away"
        assert turned_away.value.data["status"] == 429
        assert io.sockets == {}


@pytest.mark.parametrize("verdict", [False, RequestRefused("no")])
async def test_allow_request_decides_on_handshakes(verdict: Any) -> None:
    async def allow(handshake: Any) -> bool:
        if handshake.query.get("in"):
            return True
        if isinstance(verdict, Exception):
            raise verdict
        return False

    async with open_server(Server(allow_request=allow)) as server:
        async with server.client(query={"in": "1"}) as client:
            assert client.connected
        with pytest.raises(ConnectError):
            async with server.client():
                pass


async def test_a_broken_check_lets_nobody_in(log_output: list[Any]) -> None:
    io = Server()

    @io.use
    def check(socket: Socket) -> None:
        raise KeyError("secret")

    async with open_server(io) as server:
        with pytest.raises(ConnectError) as refused:
            async with server.socket():
                pass
        assert refused.value.message == "internal error"
        assert io.sockets == {}
    assert [line["event"] for line in log_output if line["log_level"] == "error"] == ["connect_middleware_failed"]


async def test_a_refused_socket_leaves_nothing_behind() -> None:
    io = Server()

    @io.use
    def check(socket: Socket) -> None:
        socket.join("room")
        socket.emit("early")
        raise ConnectRefused("no")

    async with open_server(io) as server:
        with pytest.raises(ConnectError):
            async with server.socket():
                pass
        assert io.adapter.local_rooms() == {}


async def test_dynamic_namespaces_come_and_go() -> None:
    io = Server()
    numbers = io.of(re.compile(r"^/n-\d+$"))

    async def starts_with_x(name: str, auth: Any) -> bool:
        await trio.lowlevel.checkpoint()
        return name.startswith("/x")

    functions = io.of(starts_with_x)

    @functions.on_connect
    def welcome(socket: Socket) -> None:
        socket.emit("welcome", socket.namespace.name)

    async with open_server(io) as server, server.client() as client:
        one = await client.connect("/n-1")
        two = await client.connect("/n-2")
        three = await client.connect("/x-3")
        assert await three.receive("welcome") == "/x-3"
        numbers.emit("news", 7)
        assert await one.receive("news") == 7
        assert await two.receive("news") == 7
        assert len(await numbers.fetch_sockets()) == 2
        with pytest.raises(ConnectError, match="Invalid namespace"):
            await client.connect("/nowhere")
        assert set(io.namespaces) == {"/", "/n-1", "/n-2", "/x-3"}
        numbers.disconnect_sockets()
        assert await one.wait_closed() == "io server disconnect"
        await trio.testing.wait_all_tasks_blocked()
        assert set(io.namespaces) == {"/", "/x-3"}


async def test_a_dynamic_namespace_waits_for_whoever_is_being_looked_at() -> None:
    io = Server()
    children = io.of(re.compile("^/n$"))
    looking, go = trio.Event(), trio.Event()

    @children.use
    async def look(socket: Socket) -> None:
        if socket.handshake.auth.get("slow"):
            looking.set()
            await go.wait()

    async with open_server(io) as server, server.client() as first, server.client() as second:
        one = await first.connect("/n")
        async with trio.open_nursery() as nursery:
            joined: list[Any] = []

            async def join() -> None:
                joined.append(await second.connect("/n", auth={"slow": True}))

            nursery.start_soon(join)
            await looking.wait()
            one.disconnect()
            await trio.testing.wait_all_tasks_blocked()
            go.set()
        children.emit("news", 7)
        assert await joined[0].receive("news") == 7
        joined[0].disconnect()
        await trio.testing.wait_all_tasks_blocked()
        assert set(io.namespaces) == {"/"}


async def test_a_namespace_whose_client_left_while_it_was_looked_for_is_not_kept() -> None:
    looking, go = trio.Event(), trio.Event()

    async def slowly(name: str, auth: Any) -> bool:
        looking.set()
        await go.wait()
        return True

    io = Server()
    io.of(slowly)
    async with open_server(io) as server:
        async with server.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.connect, "/n")
            await looking.wait()
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert set(io.namespaces) == {"/"}


async def test_a_client_that_asks_for_too_many_rooms_is_refused(log_output: list[Any]) -> None:
    io = Server(max_rooms=2)

    @io.on("enter")
    async def enter(socket: Socket, room: str) -> None:
        await socket.enter(room)

    async with open_server(io) as server, server.socket() as client:
        for room in ("a", "b", "a"):
            assert await client.call("enter", room) is None
        assert (await client.call("enter", "c"))["error"]["code"] == "too_many_rooms"
    assert [line for line in log_output if line["log_level"] == "error"] == []


async def test_a_slow_handler_is_named(log_output: list[Any]) -> None:
    io = Server(slow_handler=1e-9)

    @io.on("block")
    def block(socket: Socket) -> None: ...

    async with open_server(io) as server, server.socket() as client:
        await client.call("block")
    warnings = [line for line in log_output if line["event"] == "handler_blocks"]
    assert "block" in warnings[0]["handler"]
    assert io.slow_handlers >= 1


async def test_pending_acknowledgements_are_bounded() -> None:
    io = Server(max_pending_acks=2)
    async with open_server(io) as server, server.socket():
        (socket,) = io.sockets.values()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.call, "a")
            nursery.start_soon(socket.call, "b")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(LimitExceeded):
                await socket.call("c")
            nursery.cancel_scope.cancel()
        assert not socket.awaits_answer


async def test_statistics_tell_what_is_there() -> None:
    io = Server()
    async with open_server(io) as server, server.socket() as client:
        await client.call("unknown")
        statistics = io.statistics()
        assert statistics.clients == 1
        assert statistics.engine.websocket == 1
        (main,) = statistics.namespaces
        assert (main.sockets, main.events_received, main.events_refused) == (1, 1, 1)
        assert statistics.node is None
    assert io.statistics().clients == 0


async def test_background_tasks_run_as_long_as_the_server() -> None:
    io = Server()
    seen: list[str] = []

    @io.background
    async def tick() -> None:
        seen.append("begun")
        try:
            await trio.sleep_forever()
        finally:
            seen.append("ended")

    @io.background
    async def once() -> None:
        seen.append("once")

    for _ in range(2):
        async with open_server(io) as server, server.socket():
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(seen) == ["begun", "once"]
            with pytest.raises(RuntimeError, match="running already"):
                io.background(tick)
        assert sorted(seen) == ["begun", "ended", "once"]
        seen.clear()


async def test_a_server_behind_another_one_says_goodbye_when_told() -> None:
    io = Server()
    reasons: list[str] = []

    @io.on_disconnect
    def left(socket: Socket, reason: str) -> None:
        reasons.append(reason)

    async with open_server(io) as server, server.socket() as client:
        io.emit("last words")
        io.stop()
        assert not io.ready
        await client.receive("last words")
        assert await client.wait_closed() == "transport close"
        with pytest.raises(ConnectError, match="shutting down"):
            async with server.client():
                pass
    assert reasons == ["server shutting down"]
