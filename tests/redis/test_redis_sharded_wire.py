"""The words of the sharded ``@socket.io/redis-adapter``, as the reference package has written them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rtserver.adapters.base import Flags, SocketDetails, Target
from rtserver.adapters.redis import messages
from rtserver.adapters.redis.messages import Asked, Message, Outgoing, Question
from rtserver.adapters.redis.sharded import Sharded
from rtserver.errors import ProtocolError

ROOM1 = Target(frozenset(["room1"]))
DETAILS = SocketDetails("a", frozenset(["a", "x"]), {"n": 1}, {"secure": False})
FOUND = SocketDetails("a", frozenset(["a", "x"]), {"n": 1}, {"secure": False}, local=False)
SHARDED = Sharded("/", "401dd7c38b48e588")
THEIRS = "66d20fbc7c2ea237"
MESSAGES: list[tuple[Outgoing, bytes, str, Message]] = [
    (
        SHARDED.broadcast(["foo", 1], Target(), Flags()),
        b"socket.io#/#",
        (
            '{"type":3,"data":{"packet":{"type":2,"data":["foo",1]},"opts":{"rooms":[],"except":[],"flags":{}}},'
            '"uid":"401dd7c38b48e588","nsp":"/"}'
        ),
        messages.Broadcast(["foo", 1], Target(), Flags()),
    ),
    (
        SHARDED.broadcast(["foo"], ROOM1, Flags()),
        b"socket.io#/#room1#",
        (
            '{"type":3,"data":{"packet":{"type":2,"data":["foo"]},"opts":{"rooms":["room1"],"except":[],"flags":{}}},'
            '"uid":"401dd7c38b48e588","nsp":"/"}'
        ),
        messages.Broadcast(["foo"], ROOM1, Flags()),
    ),
    (
        SHARDED.broadcast(["foo"], Target(frozenset(["dlTx-S41Lx0wnB_fAAAA"])), Flags()),
        b"socket.io#/#",
        (
            '{"type":3,"data":{"packet":{"type":2,"data":["foo"]},"opts":{"rooms":["dlTx-S41Lx0wnB_fAAAA"],'
            '"except":[],"flags":{}}},"uid":"401dd7c38b48e588","nsp":"/"}'
        ),
        messages.Broadcast(["foo"], Target(frozenset(["dlTx-S41Lx0wnB_fAAAA"])), Flags()),
    ),
    (
        SHARDED.broadcast(["q"], ROOM1, Flags(), "5349adc6355cf16c"),
        b"socket.io#/#",
        (
            '{"type":3,"data":{"packet":{"type":2,"data":["q"]},"requestId":"5349adc6355cf16c","opts":{"rooms":["room1"],'
            '"except":[],"flags":{}}},"uid":"401dd7c38b48e588","nsp":"/"}'
        ),
        messages.Broadcast(["q"], ROOM1, Flags(), Asked("5349adc6355cf16c", SHARDED.uid)),
    ),
    (
        SHARDED.fetch(Target(), "bf9442b1537c3eea"),
        b"socket.io#/#",
        (
            '{"type":7,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"requestId":"bf9442b1537c3eea"},'
            '"uid":"401dd7c38b48e588","nsp":"/"}'
        ),
        messages.FetchSockets(Target(), Asked("bf9442b1537c3eea", SHARDED.uid)),
    ),
    (
        SHARDED.join(ROOM1, ["x"]),
        b"socket.io#/#",
        (
            '{"type":4,"data":{"opts":{"rooms":["room1"],"except":[],"flags":{}},"rooms":["x"]},'
            '"uid":"401dd7c38b48e588","nsp":"/"}'
        ),
        messages.Join(ROOM1, ["x"]),
    ),
    (
        SHARDED.leave(ROOM1, ["x"]),
        b"socket.io#/#",
        (
            '{"type":5,"data":{"opts":{"rooms":["room1"],"except":[],"flags":{}},"rooms":["x"]},'
            '"uid":"401dd7c38b48e588","nsp":"/"}'
        ),
        messages.Leave(ROOM1, ["x"]),
    ),
    (
        SHARDED.disconnect(ROOM1, True),
        b"socket.io#/#",
        (
            '{"type":6,"data":{"opts":{"rooms":["room1"],"except":[],"flags":{}},"close":true},'
            '"uid":"401dd7c38b48e588","nsp":"/"}'
        ),
        messages.Disconnect(ROOM1, True),
    ),
    (
        SHARDED.server_side(["p"]),
        b"socket.io#/#",
        '{"type":9,"data":{"packet":["p"]},"uid":"401dd7c38b48e588","nsp":"/"}',
        messages.ServerSide(["p"]),
    ),
    (
        SHARDED.server_side(["p"], "f3eb04aca6407d22"),
        b"socket.io#/#",
        '{"type":9,"data":{"requestId":"f3eb04aca6407d22","packet":["p"]},"uid":"401dd7c38b48e588","nsp":"/"}',
        messages.ServerSide(["p"], Asked("f3eb04aca6407d22", SHARDED.uid)),
    ),
]


@pytest.mark.parametrize(("outgoing", "channel", "golden", "message"), MESSAGES)
def test_the_sharded_words_are_those_of_the_reference(
    outgoing: Outgoing, channel: bytes, golden: str, message: Message
) -> None:
    assert outgoing == (channel, golden.encode())
    assert Sharded("/", THEIRS).read(*outgoing, {}) == message
    assert SHARDED.read(*outgoing, {}) is None


def test_the_sharded_words_are_msgpack_where_there_are_bytes() -> None:
    outgoing = SHARDED.broadcast(["foo", b"\x01"], Target(), Flags())
    assert outgoing.payload == (
        b"\x84\xa4type\x03\xa4data\x82\xa6packet\x82\xa4type\x02\xa4data\x92\xa3foo\xc4\x01\x01"
        b"\xa4opts\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80\xa3uid\xb0401dd7c38b48e588\xa3nsp\xa1/"
    )
    assert Sharded("/", THEIRS).read(*outgoing, {}) == messages.Broadcast(["foo", b"\x01"], Target(), Flags())


TO_US = b"socket.io#/#401dd7c38b48e588#"
SHARDED_ANSWERS: list[tuple[Outgoing, str, Question, Message]] = [
    (
        Sharded("/", THEIRS).client_count(Asked("5349adc6355cf16c", SHARDED.uid), 1),
        '{"type":11,"data":{"requestId":"5349adc6355cf16c","clientCount":1},"uid":"66d20fbc7c2ea237","nsp":"/"}',
        Question.ACKS,
        messages.ClientCount("5349adc6355cf16c", THEIRS, 1),
    ),
    (
        Sharded("/", THEIRS).acknowledged(Asked("5349adc6355cf16c", SHARDED.uid), ["r"]),
        '{"type":12,"data":{"requestId":"5349adc6355cf16c","packet":"r"},"uid":"66d20fbc7c2ea237","nsp":"/"}',
        Question.ACKS,
        messages.Acknowledged("5349adc6355cf16c", "r"),
    ),
    (
        Sharded("/", THEIRS).told(Asked("f3eb04aca6407d22", SHARDED.uid), "pong"),
        '{"type":10,"data":{"requestId":"f3eb04aca6407d22","packet":"pong"},"uid":"66d20fbc7c2ea237","nsp":"/"}',
        Question.SERVER_SIDE,
        messages.Told("f3eb04aca6407d22", THEIRS, "pong"),
    ),
    (
        Sharded("/", THEIRS).found(Asked("f3eb04aca6407d22", SHARDED.uid), [DETAILS]),
        (
            '{"type":8,"data":{"requestId":"f3eb04aca6407d22","sockets":[{"id":"a","handshake":{"secure":false},'
            '"rooms":["a","x"],"data":{"n":1}}]},"uid":"66d20fbc7c2ea237","nsp":"/"}'
        ),
        Question.SOCKETS,
        messages.Found("f3eb04aca6407d22", THEIRS, [FOUND]),
    ),
]


@pytest.mark.parametrize(("outgoing", "golden", "question", "message"), SHARDED_ANSWERS)
def test_sharded_answers_go_to_who_has_asked(outgoing: Outgoing, golden: str, question: Question, message: Any) -> None:
    assert outgoing == (TO_US, golden.encode())
    assert SHARDED.read(*outgoing, {message.request: question}) == message
    assert SHARDED.read(*outgoing, {}) is None
    other = Question.ROOMS
    with pytest.raises(ProtocolError):
        SHARDED.read(*outgoing, {message.request: other})


@pytest.mark.parametrize("kind", [1, 2, 13])
def test_heartbeats_of_relatives_are_passed_over(kind: int) -> None:
    assert SHARDED.read(b"socket.io#/#", json.dumps({"type": kind, "uid": THEIRS, "nsp": "/"}).encode(), {}) is None
