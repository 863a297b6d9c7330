"""Whole conversations with the client protocols of ``websockets`` and ``wsproto``, from the handshake to the close."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Request,
    TextMessage,
)
from wsproto.events import Ping as PeerPing
from wsproto.events import Pong as PeerPong
from wsproto.extensions import PerMessageDeflate

from rtserver.protocol.websocket.deflate import Inflater, deflate, negotiate
from rtserver.protocol.websocket.frames import binary_frame, close_frame, pong_frame, text_frame
from rtserver.protocol.websocket.handshake import check_upgrade, upgrade_response
from rtserver.protocol.websocket.receiver import Close, Item, Ping, Receiver

LIMIT = 1_000_000


class Peer(ABC):
    """A client by somebody else; what it has to say to us is in ``outgoing``."""

    def __init__(self) -> None:
        self.outgoing = b""

    @abstractmethod
    def read(self, wire: bytes) -> list[object]:
        """Messages as ``str`` and ``bytes``, a pong as ``("pong", data)``, a close as its code."""

    @abstractmethod
    def say(self, message: str | bytes) -> None: ...

    @abstractmethod
    def ping(self, data: bytes) -> None: ...

    @abstractmethod
    def close(self, code: int, reason: str) -> None: ...

    def take_outgoing(self) -> bytes:
        outgoing, self.outgoing = self.outgoing, b""
        return outgoing


class ByWebsockets(Peer):
    def __init__(self, compressing: bool) -> None:
        super().__init__()
        extensions = [ClientPerMessageDeflateFactory(client_max_window_bits=True)] if compressing else []
        self._protocol = ClientProtocol(parse_uri("ws://localhost/"), extensions=extensions)
        self._protocol.send_request(self._protocol.connect())
        self._collect()

    def _collect(self) -> None:
        self.outgoing += b"".join(self._protocol.data_to_send())

    def read(self, wire: bytes) -> list[object]:
        self._protocol.receive_data(wire)
        self._collect()
        assert self._protocol.handshake_exc is None
        found: list[object] = []
        for event in self._protocol.events_received():
            match event:
                case Response():
                    pass
                case Frame(opcode=Opcode.TEXT):
                    found.append(bytes(event.data).decode())
                case Frame(opcode=Opcode.BINARY):
                    found.append(bytes(event.data))
                case Frame(opcode=Opcode.PONG):
                    found.append(("pong", bytes(event.data)))
                case Frame(opcode=Opcode.CLOSE):
                    found.append(int.from_bytes(event.data[:2], "big"))
        assert self._protocol.parser_exc is None
        return found

    def say(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._collect()

    def ping(self, data: bytes) -> None:
        self._protocol.send_ping(data)
        self._collect()

    def close(self, code: int, reason: str) -> None:
        self._protocol.send_close(code, reason)
        self._collect()


class ByWsproto(Peer):
    def __init__(self, compressing: bool) -> None:
        super().__init__()
        self._connection = WSConnection(ConnectionType.CLIENT)
        extensions = [PerMessageDeflate()] if compressing else []
        self.outgoing += self._connection.send(Request(host="localhost", target="/", extensions=extensions))

    def read(self, wire: bytes) -> list[object]:
        self._connection.receive_data(wire)
        found: list[object] = []
        parts: list[str | bytes] = []
        for event in self._connection.events():
            match event:
                case AcceptConnection():
                    pass
                case TextMessage() | BytesMessage():
                    parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
                    if event.message_finished:
                        found.append(type(parts[0])().join(parts))  # type: ignore[arg-type]
                        parts = []
                case PeerPong():
                    found.append(("pong", bytes(event.payload)))
                case CloseConnection():
                    found.append(event.code)
                case _:
                    raise AssertionError(event)
        return found

    def say(self, message: str | bytes) -> None:
        event: TextMessage | BytesMessage = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        self.outgoing += self._connection.send(event)

    def ping(self, data: bytes) -> None:
        self.outgoing += self._connection.send(PeerPing(data))

    def close(self, code: int, reason: str) -> None:
        self.outgoing += self._connection.send(CloseConnection(code, reason))


class Us:
    """The codec as a transport puts it together: echoes messages, answers pings and the close."""

    def __init__(self, request: bytes) -> None:
        _, *lines = request.removesuffix(b"\r\n\r\n").decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        key = check_upgrade(headers)
        self.agreement = negotiate(headers.get("sec-websocket-extensions", ""))
        inflater = Inflater(self.agreement, LIMIT) if self.agreement else None
        self.receiver = Receiver(LIMIT, inflater=inflater)
        extra = [("Sec-WebSocket-Extensions", self.agreement.response)] if self.agreement else []
        self.response = upgrade_response(key, extra)

    def answer(self, wire: bytes) -> bytes:
        return b"".join(self._answer_to(item) for item in self.receiver.feed(wire))

    def _answer_to(self, item: Item) -> bytes:
        match item:
            case str() | bytes():
                write = text_frame if isinstance(item, str) else binary_frame
                payload = item.encode() if isinstance(item, str) else item
                if self.agreement is None:
                    return write(payload)
                return write(deflate(payload, self.agreement.server_max_window_bits), rsv1=True)
            case Ping(data):
                return pong_frame(data)
            case Close(code, reason):
                return close_frame(code, reason)
            case _:
                raise AssertionError(item)


PEERS = [
    pytest.param(peer, compressing, id=f"{name}, {'compressed' if compressing else 'plain'}")
    for name, peer in (("websockets", ByWebsockets), ("wsproto", ByWsproto))
    for compressing in (False, True)
]


def shake_hands(peer: Peer) -> Us:
    us = Us(peer.take_outgoing())
    assert peer.read(us.response) == []
    return us


@pytest.mark.parametrize(("peer_type", "compressing"), PEERS)
@given(
    messages=st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.binary(max_size=400), max_size=5),
    times=st.sampled_from([1, 30, 700]),
)
def test_messages_come_back_as_they_were_sent(
    peer_type: type[ByWebsockets | ByWsproto],
    compressing: bool,
    messages: list[str | bytes],
    times: int,
) -> None:
    peer = peer_type(compressing)
    us = shake_hands(peer)
    assert (us.agreement is not None) == compressing
    sent = [message * times for message in messages]
    for message in sent:
        peer.say(message)
    assert peer.read(us.answer(peer.take_outgoing())) == sent


@pytest.mark.parametrize(("peer_type", "compressing"), PEERS)
def test_a_ping_is_answered_and_a_close_ends_it(peer_type: type[ByWebsockets | ByWsproto], compressing: bool) -> None:
    peer = peer_type(compressing)
    us = shake_hands(peer)
    peer.ping(b"are you there")
    assert peer.read(us.answer(peer.take_outgoing())) == [("pong", b"are you there")]
    peer.close(4_001, "bye")
    assert peer.read(us.answer(peer.take_outgoing())) == [4_001]
    assert us.receiver.feed(b"\x81") == []
