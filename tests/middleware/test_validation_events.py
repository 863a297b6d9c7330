"""Validation around handlers: what comes in, what answers, what goes out, and limits on all of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import msgspec
import pydantic
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from rtserver import Ack, ConfigurationError, EventContext, EventRefused, Server, Socket, event
from rtserver.middleware.validation import Validation
from rtserver.testing import open_server
from tests.behaviour.support import Kind, Serve

INTERNAL = {"error": {"code": "internal", "message": "internal error"}}


class Message(msgspec.Struct):
    id: int
    text: str
    at: dt.datetime | None = None
    picture: bytes = b""


class News(msgspec.Struct):
    id: int


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Model(pydantic.BaseModel):
    name: str
    born: dt.date


def refused(answer: Any) -> str:
    assert isinstance(answer, dict), answer
    assert answer["error"]["code"] == "invalid_payload", answer
    return str(answer["error"]["message"])


# What comes in.


def strict() -> Server:
    schemas = {
        "say": {"type": "string", "maxLength": 5},
        "move": [int, {"type": "integer", "minimum": 0}],
        "draw": Point,
        "ping": None,
        "upload": [str, bytes],
    }
    io = Server(middleware=[Validation(schemas, max_size=1_000, max_depth=3, max_text=100)])
    for name in (*schemas, "any"):
        io.on(name)(describe)
    return io


def describe(socket: Socket, *args: Any) -> str:
    return repr(args)


@pytest.mark.parametrize(
    ("wire", "answer"),
    [
        ('["say","hello"]', "('hello',)"),
        ('["move",1,2]', "(1, 2)"),
        ('["draw",{"x":1,"y":2}]', "(Point(x=1, y=2),)"),
        ('["ping"]', "()"),
    ],
)
async def test_events_that_have_only_a_name_are_checked_and_passed_on(
    serve: Serve, kind: Kind, wire: str, answer: str
) -> None:
    site = await serve(strict())
    peer = await site.open(kind)
    await peer.join()
    await peer.send(f"421{wire}")
    assert await peer.receive() == f'431["{answer}"]'


REFUSED: list[tuple[str, str]] = [
    ('["say"]', "expected 1 argument, got 0"),
    ('["say","a","b"]', "expected 1 argument, got 2"),
    ('["say",1]', "expected type string - at `$`"),
    ('["say","secret"]', "expected maxLength 5 - at `$`"),
    ('["move",true,1]', "argument 1: Expected `int`, got `bool`"),
    ('["move",1,true]', "argument 2: expected type integer - at `$`"),
    ('["move",1,-1]', "argument 2: expected minimum 0 - at `$`"),
    ('["draw",{"x":1,"y":"secret"}]', "Expected `int`, got `str` - at `$.y`"),
    ('["draw",{"x":1,"y":true}]', "Expected `int`, got `bool` - at `$.y`"),
    ('["ping","secret"]', "expected no arguments, got 1"),
    (f'["any","{"s" * 101}"]', "expected at most 100 characters - at `$`"),
    (f'["any",{{"a":["{"s" * 101}"]}}]', "expected at most 100 characters - at `$.a[0]`"),
    ('["any",[[[[]]]]]', "expected at most 3 levels - at `$[0][0][0]`"),
    ('["any",1,{"a":{"b":{"c":{}}}}]', "argument 2: expected at most 3 levels - at `$.a.b.c`"),
    (f'["any",[{",".join("0" * 200)}]]', "expected a size of at most 1000 - at `$`"),
]


async def test_what_does_not_fit_is_refused_by_argument_path_and_rule(serve: Serve, kind: Kind) -> None:
    site = await serve(strict())
    peer = await site.open(kind)
    await peer.join()
    for wire, message in REFUSED:
        await peer.send(f"421{wire}")
        error = f'{{"code":"invalid_payload","message":"{message}"}}'
        assert await peer.receive() == f'431[{{"error":{error}}}]'
    # What was refused has harmed nobody.
    await peer.send('421["say","a"]')
    assert await peer.receive() == "431[\"('a',)\"]"


async def test_a_key_is_a_text_too_and_is_not_repeated_whole() -> None:
    async with open_server(strict()) as server, server.socket() as client:
        told = refused(await client.call("any", {"s" * 10_000: 1}))
    assert "at most 100 characters" in told
    assert len(told) < 300


async def test_binary_counts_with_its_bytes(serve: Serve, kind: Kind) -> None:
    site = await serve(strict())
    peer = await site.open(kind)
    await peer.join()
    await peer.send('451-1["upload","name",{"_placeholder":true,"num":0}]', b"abc")
    assert await peer.receive() == "431[\"('name', b'abc')\"]"
    await peer.send('451-2["any",{"_placeholder":true,"num":0}]', b"a" * 101)
    assert "expected at most 100 bytes" in str(await peer.receive())


async def test_events_without_a_handler_are_measured_too() -> None:
    async with open_server(strict()) as server, server.socket() as client:
        assert (await client.call("nothing", "short"))["error"]["code"] == "unknown_event"
        refused(await client.call("nothing", "s" * 101))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(JSON, max_size=3), st.integers(0, 5), st.integers(0, 20), st.integers(0, 200))
def test_limits_hold_for_every_value(args: list[Any], depth: int, text: int, size: int) -> None:
    def deepest(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(deepest, inner), default=0)

    def texts(value: Any) -> list[int]:
        if isinstance(value, (str, bytes)):
            return [len(value)]
        inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
        return [length for one in inner for length in texts(one)]

    lengths = texts(args)
    fits = max(map(deepest, args), default=0) <= depth and max(lengths, default=0) <= text and sum(lengths) <= size
    limits = Validation(max_depth=depth, max_text=text, max_size=size)
    try:
        limits.event(EventContext(None, "e", args, False), lambda context: None)
    except EventRefused:
        return
    assert fits


# What answers.


def answering(value: Any, ack: Any, **options: Any) -> Server:
    io = Server(middleware=[Validation(**options)])
    typed = event("typed", None, ack=ack)

    @io.on(typed)
    def plain(socket: Socket) -> Any:
        return value

    @io.on(event("later", None, ack=ack))
    async def later(socket: Socket) -> Any:
        await trio.lowlevel.checkpoint()
        return value

    @io.on(event("itself", None, ack=ack))  # type: ignore[arg-type]
    def itself(socket: Socket, ack: Ack) -> Any:
        ack(value)
        return "not looked at"

    return io


GOOD = [
    (3, int),
    ("x", str),
    (Message(1, "x", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), b"abc"), Message),
    ({"id": 1, "text": "x"}, Message),
    (Point(1, 2), Point),
    (Model(name="ann", born=dt.date(2000, 1, 1)), Model),
    ([Message(1, "x")], list[Message]),
    (Message(1, "x"), {"type": "object", "required": ["id", "text"]}),
    ({"anything": 1}, None),
]
BAD = [
    ("secret", int),
    (True, int),
    (Message(1, 7), Message),  # type: ignore[arg-type]
    ({"id": 1}, Message),
    (Point(1, "secret"), Point),  # type: ignore[arg-type]
    ({"name": "secret"}, Model),
    (Message("secret", "x"), {"type": "object", "properties": {"id": {"type": "integer"}}}),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("value", "ack"), GOOD)
@pytest.mark.parametrize("name", ["typed", "later", "itself"])
async def test_an_acknowledgement_that_fits_is_sent_as_it_is(name: str, value: Any, ack: Any) -> None:
    async with open_server(answering(value, ack)) as server, server.socket() as client:
        answer = await client.call(name)
    assert answer not in (None, INTERNAL)


@pytest.mark.parametrize(("value", "ack"), BAD)
@pytest.mark.parametrize("name", ["typed", "later", "itself"])
async def test_an_acknowledgement_that_does_not_fit_is_a_bug_and_is_not_sent(
    log_output: list[Any], name: str, value: Any, ack: Any
) -> None:
    async with open_server(answering(value, ack)) as server, server.socket() as client:
        with trio.fail_after(5):
            assert await client.call(name) == INTERNAL
    failed = [line for line in log_output if line["event"] == "handler_failed"]
    assert len(failed) == 1


async def test_acknowledgements_of_events_by_name_have_schemas_too(log_output: list[Any]) -> None:
    io = Server(middleware=[Validation(acks={"say": {"type": "integer"}, "quiet": None})])
    answers: list[Any] = [3, "three", None]

    @io.on("say")
    def say(socket: Socket, index: int) -> Any:
        return answers[index]

    @io.on("quiet")
    def quiet(socket: Socket) -> None:
        return None

    async with open_server(io) as server, server.socket() as client:
        assert await client.call("say", 0) == 3
        assert await client.call("say", 1) == INTERNAL
        assert await client.call("say", 2) == INTERNAL
        assert await client.call("quiet") is None


async def test_refusals_of_handlers_are_no_acknowledgements_to_check() -> None:
    io = Server(middleware=[Validation()])

    @io.on(event("no", None, ack=int))
    def no(socket: Socket) -> int:
        raise EventRefused("no", "not today")

    async with open_server(io) as server, server.socket() as client:
        assert await client.call("no") == {"error": {"code": "no", "message": "not today"}}


# What goes out.


@pytest.mark.parametrize("way", ["socket", "room", "everybody", "typed"])
async def test_what_is_sent_is_checked_before_anybody_gets_it(
    serve: Serve, kind: Kind, way: str, log_output: list[Any]
) -> None:
    news = event("typed", News)
    schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    io = Server(middleware=[Validation(emits={"news": schema}, declared_emits=True)])
    io.emits(news)

    @io.on("go")
    def go(socket: Socket, given: Any) -> str:
        socket.join("room")
        match way:
            case "socket":
                socket.emit("news", {"id": given})
            case "room":
                io.to("room").emit("news", {"id": given})
            case "everybody":
                io.emit("news", {"id": given})
            case _:
                io.emit(news, News(given))
        return "sent"

    site = await serve(io)
    peer = await site.open(kind)
    await peer.join()
    await peer.send('421["go","wrong"]')
    assert await peer.receive() == '431[{"error":{"code":"internal","message":"internal error"}}]'
    await peer.send('422["go",3]')
    sent = str(await peer.receive())
    assert sent.startswith(('42["news",{"id":3', '42["typed",{"id":3'))
    assert await peer.receive() == '432["sent"]'


async def test_events_that_nobody_has_described_are_sent_as_ever() -> None:
    io = Server(middleware=[Validation(declared_emits=True)])
    io.emits("plain")

    @io.on_connect
    def hello(socket: Socket) -> None:
        socket.emit("plain", 1, 2)
        socket.emit("other")

    async with open_server(io) as server, server.socket() as client:
        assert await client.receive("plain") == (1, 2)


@pytest.mark.parametrize("limit", [-1, True, 1.5, "9"])
@pytest.mark.parametrize("name", ["max_size", "max_depth", "max_text"])
def test_a_limit_that_is_none_is_refused_by_name(name: str, limit: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Validation(**{name: limit})


def test_a_schema_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="schema"):
        Validation({"say": {"type": "strnig"}})
