"""The messages on a node's Unix socket."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver.errors import ProtocolError
from rtserver.protocol.handoff import (
    DRAIN,
    MAX_DATAGRAM,
    DrainOrder,
    LeasedState,
    Message,
    Metadata,
    NodeState,
    PassedConnection,
    decode,
    decode_lease,
    encode_connection,
    encode_lease,
    encode_state,
    read_peer,
    slot_of,
    socket_name,
    write_peer,
)

READY = NodeState(3, 7, "ready", 250, 0.25, "127.0.0.1:8001", 4711)
STARTING = NodeState(0, 0, "starting", 0, 0.0, None, 1)

ROWS: list[tuple[bytes, Message]] = [
    (
        b'C\x00\x19{"hops":0,"secure":false}GET / HTTP/1.1\r\n',
        PassedConnection(Metadata(0, False), b"GET / HTTP/1.1\r\n"),
    ),
    (
        b'C\x004{"hops":3,"secure":true,"peer":"[2001:db8::7]:5123"}',
        PassedConnection(Metadata(3, True, "[2001:db8::7]:5123"), b""),
    ),
    (
        b'S{"slot":3,"incarnation":7,"state":"ready","sessions":250,"load":0.25,"address":"127.0.0.1:8001","pid":4711}',
        READY,
    ),
    (b'S{"slot":0,"incarnation":0,"state":"starting","sessions":0,"load":0.0,"address":null,"pid":1}', STARTING),
    (b"D", DrainOrder()),
]


def encode(message: Message) -> bytes:
    match message:
        case PassedConnection(metadata, received):
            return encode_connection(metadata, received)
        case NodeState():
            return encode_state(message)
        case DrainOrder():
            return DRAIN


def connection_with(metadata: bytes) -> bytes:
    return b"C" + len(metadata).to_bytes(2, "big") + metadata


@pytest.mark.parametrize(("wire", "message"), ROWS)
def test_a_message_is_written_and_read(wire: bytes, message: Message) -> None:
    assert encode(message) == wire
    assert decode(wire) == message


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"X",
        b"c",
        b"DD",
        b"C",
        b"C\x00",
        b"C\x00\x00",
        b"C\x00\x02{",
        b'C\x00\x1a{"hops":0,"secure":false}',
        connection_with(b'{"hops":4,"secure":false}'),
        connection_with(b'{"hops":-1,"secure":false}'),
        connection_with(b'{"hops":true,"secure":true}'),
        connection_with(b'{"hops":0,"secure":1}'),
        connection_with(b'{"hops":0   }'),
        connection_with(b'{"hops":0,"secure":false,"peer":"nowhere"}'),
        b"C\x04\x01" + b" " * 1_025,
        b"C\xff\xff" + b"x" * 100,
        b"S",
        b"S[]",
        b"S{}",
        b"S" + b"[" * 10_000,
        b"S\xff",
        b'S{"slot":65536,"incarnation":7,"state":"ready","sessions":0,"load":0,"address":null,"pid":1}',
        b'S{"slot":1,"incarnation":7,"state":"asleep","sessions":0,"load":0,"address":null,"pid":1}',
        b'S{"slot":1,"incarnation":7,"state":"ready","sessions":-1,"load":0,"address":null,"pid":1}',
        b'S{"slot":1,"incarnation":7,"state":"ready","sessions":0,"load":1.5,"address":null,"pid":1}',
        b'S{"slot":1,"incarnation":7,"state":"ready","sessions":0,"load":0,"address":"a b","pid":1}',
        b"C" * (MAX_DATAGRAM + 1),
    ],
)
def test_what_is_no_message_is_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(wire)


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert decode(encode_state(READY)[:-1] + b',"zone":"b"}') == READY


def test_what_is_read_ahead_of_a_connection_is_bounded_by_the_datagram() -> None:
    metadata = Metadata(0, False)
    room = MAX_DATAGRAM - len(encode_connection(metadata, b""))
    assert len(encode_connection(metadata, bytes(room))) == MAX_DATAGRAM
    with pytest.raises(ProtocolError):
        encode_connection(metadata, bytes(room + 1))


def test_a_lease_is_the_state_with_a_token_and_a_host() -> None:
    lease = LeasedState(3, 7, "ready", 250, 0.25, "10.0.0.2:8001", 4711, token="t0ken", host="b")
    wire = encode_lease(lease)
    assert wire == (
        b'{"slot":3,"incarnation":7,"state":"ready","sessions":250,"load":0.25,"address":"10.0.0.2:8001","pid":4711,'
        b'"token":"t0ken","host":"b"}'
    )
    assert decode_lease(wire) == decode_lease(wire.decode()) == lease


@pytest.mark.parametrize("value", [b"", b"{}", encode_state(READY)[1:], "{}", "\ud800"])
def test_what_is_no_lease_is_refused(value: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_lease(value)


@pytest.mark.parametrize(
    ("peer", "pair"),
    [
        ("203.0.113.7:5123", ("203.0.113.7", 5123)),
        ("[2001:db8::7]:0", ("2001:db8::7", 0)),
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
    ],
)
def test_a_peer_is_written_and_read(peer: str, pair: tuple[str, int]) -> None:
    assert read_peer(peer) == pair
    assert write_peer(*pair) == peer


@pytest.mark.parametrize(
    "peer", ["", "host", "host:", ":1", "host:65536", "2001:db8::7:1", "[::1]", "a b:1", "host:１", "host:1\n"]
)
def test_a_peer_that_is_none_is_refused(peer: str) -> None:
    with pytest.raises(ProtocolError):
        read_peer(peer)


@given(st.binary(max_size=200) | st.builds(bytes.__add__, st.sampled_from([b"C\x00\x19", b"S{", b"D"]), st.binary()))
def test_garbage_is_parsed_or_refused(wire: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode(wire)


@pytest.mark.parametrize("slot", [0, 7, 0xFFFF])
def test_a_socket_is_found_by_the_name_that_its_node_gives_it(slot: int) -> None:
    assert slot_of(socket_name(slot)) == slot


@pytest.mark.parametrize(
    "name",
    [
        "",
        "node-.sock",
        "node-65536.sock",
        "node-1.sock.new",
        "xnode-1.sock",
        "node-٣.sock",
        "proxy.sock",
        "slot-1.lock",
    ],
)
def test_other_names_are_no_nodes(name: str) -> None:
    assert slot_of(name) is None
