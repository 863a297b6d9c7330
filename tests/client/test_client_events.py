from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from rtserver.client import Ack, open_client, open_socket
from rtserver.errors import ConfigurationError, Disconnected, EncodeError, EventRefused, LimitExceeded
from rtserver.protocol.socketio.msgpack_parser import MsgpackParser
from tests.client.conftest import Reference, StartReference

VALUES = [
    [],
    [None],
    ["text ✓ \u2028"],
    [1, 2.5, True, {"deep": [{"er": []}]}],
    [b"\x00\xff"],
    [{"first": b"1", "rest": [b"", b"3"]}, b"4", "text"],
    ["x" * 300_000],
    [b"x" * 300_000],
]


@pytest.mark.parametrize("values", VALUES, ids=range(len(VALUES)))
async def test_values_come_back_as_they_went(reference: Reference, transports: Any, values: list[Any]) -> None:
    async with open_socket(reference.url, transports=transports) as socket:
        socket.emit("echo", *values)
        assert (await socket.next_event("echoed")).args == tuple(values)
        answer = await socket.call("echo", *values)
    assert answer == (values[0] if len(values) == 1 else tuple(values) or None)


@pytest.mark.parametrize("values", VALUES, ids=range(len(VALUES)))
async def test_values_come_back_with_the_msgpack_parser(
    msgpack_reference: Reference, transports: Any, values: list[Any]
) -> None:
    async with open_socket(msgpack_reference.url + "/chat", transports=transports, parser=MsgpackParser()) as socket:
        socket.emit("echo", *values)
        assert (await socket.next_event("echoed")).args == tuple(values)
        socket.on("question", lambda *args: list(args))
        socket.emit("ask", *values)
        assert await socket.receive("answered") == values


async def test_a_handler_is_called_and_its_result_is_the_acknowledgement(reference: Reference, transports: Any) -> None:
    async with open_socket(reference.url, transports=transports) as socket:

        @socket.on("question")
        def answer(number: int, data: bytes) -> dict[str, Any]:
            return {"number": number + 1, "data": data[::-1]}

        socket.emit("ask", 41, b"\x01\x02")
        assert await socket.receive("answered") == {"number": 42, "data": b"\x02\x01"}


async def test_an_async_handler_may_call_the_server(reference: Reference, transports: Any) -> None:
    async with open_socket(reference.url, transports=transports) as socket:

        @socket.on("question")
        async def answer(text: str) -> Any:
            return await socket.call("echo", text.upper())

        socket.emit("ask", "hello")
        assert await socket.receive("answered") == "HELLO"


async def test_a_handler_that_takes_ack_answers_for_itself(reference: Reference) -> None:
    wanted: list[bool] = []
    async with open_socket(reference.url) as socket:

        @socket.on("question")
        def answer(ack: Ack) -> str:
            wanted.append(ack.wanted)
            ack(1, b"2", None)
            ack("too late")
            wanted.append(ack.wanted)
            return "not this"

        socket.emit("ask")
        assert await socket.receive("answered") == (1, b"2", None)
        assert wanted == [True, False]


async def test_a_refusal_is_the_answer(reference: Reference) -> None:
    async with open_socket(reference.url) as socket:

        @socket.on("question")
        def answer() -> None:
            raise EventRefused("busy", "ask later", seconds=5)

        socket.emit("ask")
        assert await socket.receive("answered") == {"error": {"code": "busy", "message": "ask later", "seconds": 5}}


@pytest.mark.parametrize("waits", [False, True])
async def test_what_a_handler_raises_ends_the_client(reference: Reference, waits: bool) -> None:
    def fail() -> None:
        raise ZeroDivisionError("in the handler")

    async def fail_later() -> None:
        await trio.lowlevel.checkpoint()
        fail()

    async def listen() -> None:
        async with open_socket(reference.url) as socket:
            socket.on("question", fail_later if waits else fail)
            socket.emit("ask")
            await trio.sleep_forever()

    with pytest.raises(ZeroDivisionError, match="in the handler"):
        await listen()


@pytest.mark.parametrize("result", [ZeroDivisionError, object])
async def test_with_on_crash_the_client_goes_on(reference: Reference, result: Any) -> None:
    crashes: list[Exception] = []
    async with open_socket(reference.url, on_crash=crashes.append) as socket:

        @socket.on("question")
        def answer() -> Any:
            if result is object:
                return object()
            raise result

        socket.emit("ask")
        assert await socket.receive("answered") == {"error": {"code": "internal", "message": "internal error"}}
        assert [type(crash) for crash in crashes] == [EncodeError if result is object else ZeroDivisionError]


async def test_handlers_run_in_order_though_some_wait(reference: Reference) -> None:
    seen: list[int] = []
    done = trio.Event()
    async with open_socket(reference.url) as socket:

        @socket.on("tick")
        async def tick(index: int) -> None:
            if index % 100 == 0:
                await socket.call("echo")
            seen.append(index)

        socket.on("echoed", done.set)
        socket.emit("burst", 1_000)
        socket.emit("echo")
        await done.wait()
    assert seen == list(range(1_000))


async def test_a_handler_gets_what_came_before_it(reference: Reference) -> None:
    greetings: list[str] = []
    async with open_socket(reference.url) as socket:
        await socket.call("echo")
        socket.on("welcome", greetings.append)
        assert greetings == [socket.id]


async def test_arguments_that_a_handler_has_no_place_for_are_left_out(reference: Reference) -> None:
    seen: list[Any] = []
    async with open_socket(reference.url) as socket:

        @socket.on("echoed")
        def first(value: int) -> None:
            seen.append(value)

        socket.emit("echo", 1, 2, 3)
        await socket.call("echo")
    assert seen == [1]


async def test_on_any_sees_every_event_until_it_is_taken_away(reference: Reference) -> None:
    seen: list[Any] = []

    async with open_socket(reference.url) as socket:
        await socket.receive("welcome")
        listener = socket.on_any(lambda *event: seen.append(event))
        socket.on("echoed", lambda: None)
        socket.emit("echo", 1)
        socket.emit("number")
        await socket.call("echo")
        socket.off_any(listener)
        socket.emit("echo", 2)
        await socket.call("echo")
    assert seen == [("echoed", 1), ("7", "seven")]


async def test_an_event_has_one_handler(reference: Reference) -> None:
    async with open_socket(reference.url) as socket:
        socket.on("echoed", lambda: None)
        with pytest.raises(ConfigurationError, match="echoed"):
            socket.on("echoed", lambda: None)
        socket.off("echoed")
        socket.emit("echo", 1)
        assert await socket.receive("echoed") == 1


async def test_reserved_names_are_refused(reference: Reference) -> None:
    async with open_socket(reference.url) as socket:
        with pytest.raises(ConfigurationError, match="disconnect"):
            socket.emit("disconnect")
        with pytest.raises(ConfigurationError, match="disconnecting"):
            socket.on("disconnecting", lambda: None)
        with pytest.raises(EncodeError):
            socket.emit("echo", object())
        assert socket.connected


async def test_receive_answers_emptily_and_next_event_lets_one_answer(reference: Reference) -> None:
    async with open_socket(reference.url) as socket:
        socket.emit("ask", 1)
        assert await socket.receive("question") == 1
        assert await socket.receive("answered") is None
        socket.emit("ask", 2)
        question = await socket.next_event("question")
        question.ack(question.value + 1)
        assert await socket.receive("answered") == 3


async def test_iteration_ends_with_the_socket(reference: Reference) -> None:
    async with open_socket(reference.url) as socket:
        socket.emit("burst", 3)
        names = []
        async for event in socket:
            names.append(event.name)
            if event.args == (2,):
                socket.disconnect()
    assert names == ["welcome", "tick", "tick", "tick"]


async def test_a_stream_pauses_the_connection_and_loses_nothing(reference: Reference, transports: Any) -> None:
    async with open_socket(reference.url, transports=transports, max_pending_events=2) as socket:
        with socket.stream("tick", max_buffer=1) as ticks:
            socket.emit("burst", 500)
            assert [(await ticks.receive()).value for _ in range(500)] == list(range(500))
            socket.emit("kick")
            assert [event async for event in ticks] == []


async def test_the_inbox_is_bounded_and_says_what_it_lost(reference: Reference) -> None:
    async with open_socket(reference.url, max_inbox=10) as socket:
        socket.emit("burst", 30)
        await socket.call("echo")
        assert socket.dropped == 21
        with pytest.raises(LimitExceeded, match="tick"):
            await socket.receive("tick")
        assert await socket.receive("tick") == 20


async def test_a_call_can_be_given_up(reference: Reference) -> None:
    async with open_socket(reference.url, max_pending_acks=1) as socket:
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(0.01):
                await socket.call("silence")
        assert await socket.call("echo", "again") == "again"


async def test_pending_calls_are_bounded(reference: Reference) -> None:
    async with open_socket(reference.url, max_pending_acks=1) as socket, trio.open_nursery() as nursery:
        nursery.start_soon(socket.call, "silence")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LimitExceeded):
            await socket.call("echo")
        nursery.cancel_scope.cancel()


async def test_the_queue_is_bounded_and_can_be_flushed(reference: Reference, transports: Any) -> None:
    async with open_socket(reference.url, transports=transports, max_queue_packets=100) as socket:
        for _ in range(100):
            socket.emit("echo")
        with pytest.raises(LimitExceeded):
            socket.emit("echo")
        await socket.flush()
        socket.emit("echo")
        await socket.flush()


async def test_posts_stay_below_the_servers_limit(start_reference: StartReference) -> None:
    server = start_reference(maxHttpBufferSize=2_000)
    async with open_socket(server.url, transports=["polling"]) as socket:
        for index in range(40):
            socket.emit("echo", f"{index:0500}")
        for index in range(40):
            assert await socket.receive("echoed") == f"{index:0500}"


async def test_two_clients_talk(reference: Reference, transports: Any) -> None:
    settings: Any = {"transports": transports}
    async with open_socket(reference.url, **settings) as alice, open_client(reference.url, **settings) as client:
        bob = await client.connect()
        alice.emit("say", "hello")
        assert await bob.receive("said") == "hello"


async def test_a_closed_socket_says_so(reference: Reference) -> None:
    async with open_socket(reference.url) as socket:
        socket.disconnect()
        for attempt in (socket.call, socket.receive):
            with pytest.raises(Disconnected, match="io client disconnect"):
                await attempt("echo")
        with pytest.raises(Disconnected):
            socket.emit("echo")
