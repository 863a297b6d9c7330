"""What is said on a node's Unix socket: connections passed on, states, orders to drain.

Rule: one datagram is one message, a kind of one byte and its payload; whatever is not
exactly that raises ``ProtocolError``. The socket of a passed connection travels beside
its datagram (``SCM_RIGHTS``) and is none of this module's business.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec

from rtserver.errors import ProtocolError

MAX_DATAGRAM = 65_536
# A connection that more nodes than this have passed on goes round in circles.
MAX_HOPS = 3

DRAIN = b"D"

State = Literal["starting", "ready", "draining", "full"]

_CONNECTION, _STATE = b"C", b"S"
_LENGTH_BYTES = 2
_MAX_METADATA = 1_024

U16 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Address = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"\A[\x21-\x7e]+\Z")]
_Peer = Annotated[str, msgspec.Meta(max_length=128)]

_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:\[\]]+)):([0-9]{1,5})", re.ASCII)


_SOCKET_NAME = re.compile(r"node-([0-9]{1,5})\.sock", re.ASCII)


def socket_name(slot: int) -> str:
    """What the socket of a slot's node is called, in the directory where nodes and proxies meet."""
    return f"node-{slot}.sock"


def slot_of(name: str) -> int | None:
    """The slot that a socket's name tells; None if it is no node's."""
    match = _SOCKET_NAME.fullmatch(name)
    return int(match[1]) if match is not None and int(match[1]) <= 0xFFFF else None


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """What whoever passes a connection on knows about it.

    Args:
        peer: Where the client is, ``host:port`` with an IPv6 host in brackets; None: the socket says it.
        secure: Whether the client's side was encrypted.
        hops: How many nodes have passed it on already.
    """

    hops: Annotated[int, msgspec.Meta(ge=0, le=MAX_HOPS)]
    secure: bool
    peer: _Peer | None = None


class PassedConnection(msgspec.Struct, frozen=True):
    """A connection that somebody else has begun to read.

    Args:
        metadata: What is known of it.
        received: Every byte that was read of it and not answered.
    """

    metadata: Metadata
    received: bytes


class NodeState(msgspec.Struct, frozen=True):
    """How a node is.

    Args:
        slot: Its place in the cluster.
        incarnation: Its life in that place.
        state: Only ``ready`` ones want clients that have no session yet.
        sessions: How many it holds.
        load: The share of its loop's time that is busy, 0 to 1.
        address: Where it listens, ``host:port``; None when only its Unix socket is to be used.
        pid: Its process.
    """

    slot: U16
    incarnation: U16
    state: State
    sessions: Count
    load: Annotated[float, msgspec.Meta(ge=0, le=1)]
    address: Address | None
    pid: Count


class LeasedState(NodeState, frozen=True, kw_only=True):
    """What a node keeps under its key in Redis.

    Args:
        token: Proves that the lease is its own.
        host: Which machine it is on.
    """

    token: Address
    host: Address


class DrainOrder(msgspec.Struct, frozen=True):
    """Take nobody new, let the sessions go, and end."""


Message: TypeAlias = PassedConnection | NodeState | DrainOrder

S = TypeVar("S", Metadata, NodeState, LeasedState)

_MALFORMED = (msgspec.MsgspecError, UnicodeError, RecursionError)
_encode = msgspec.json.Encoder().encode
_decoders = {kind: msgspec.json.Decoder(kind) for kind in (Metadata, NodeState, LeasedState)}


def encode_connection(metadata: Metadata, received: bytes) -> bytes:
    """The datagram that goes with a passed socket.

    Raises:
        ProtocolError: It is too large to be passed on.
    """
    text = _encode(metadata)
    datagram = b"".join((_CONNECTION, len(text).to_bytes(_LENGTH_BYTES, "big"), text, received))
    if len(datagram) > MAX_DATAGRAM:
        raise ProtocolError(f"a connection of {len(datagram)} bytes does not fit into a datagram")
    return datagram


def encode_state(state: NodeState) -> bytes:
    """The datagram that announces ``state``."""
    return _STATE + _encode(state)


def encode_lease(state: LeasedState) -> bytes:
    """The value of a node's key in Redis."""
    return _encode(state)


def decode_lease(value: str | bytes) -> LeasedState:
    """Read it.

    Raises:
        ProtocolError: It is something else.
    """
    return _decoded(LeasedState, value)


def decode(datagram: bytes) -> Message:
    """Read a datagram.

    Raises:
        ProtocolError: It is no message.
    """
    if len(datagram) > MAX_DATAGRAM:
        raise ProtocolError(f"a datagram of {len(datagram)} bytes")
    match datagram[:1]:
        case b"C":
            return _decode_connection(datagram)
        case b"S":
            return _decoded(NodeState, datagram[1:])
        case b"D" if len(datagram) == 1:
            return DrainOrder()
        case kind:
            raise ProtocolError(f"unknown kind of message {kind!r}")


def _decode_connection(datagram: bytes) -> PassedConnection:
    start = 1 + _LENGTH_BYTES
    end = start + int.from_bytes(datagram[1:start], "big")
    if len(datagram) < max(start, end) or end > start + _MAX_METADATA:
        raise ProtocolError("a passed connection's metadata is cut short or too long")
    metadata = _decoded(Metadata, datagram[start:end])
    if metadata.peer is not None:
        read_peer(metadata.peer)
    return PassedConnection(metadata, datagram[end:])


def read_peer(peer: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 host is in brackets.

    Raises:
        ProtocolError: It is no such thing.
    """
    found = _HOST_PORT.fullmatch(peer)
    if found is None or int(found[3]) > 0xFFFF:
        raise ProtocolError(f"invalid peer {peer!r}")
    return found[1] or found[2], int(found[3])


def write_peer(host: str, port: int) -> str:
    """The text that ``read_peer`` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _decoded(kind: type[S], text: str | bytes) -> S:
    try:
        found = _decoders[kind].decode(text)
    except _MALFORMED as exc:
        raise ProtocolError(f"malformed {kind.__name__}") from exc
    assert isinstance(found, kind)
    return found
