"""Long-polling: the queue of one session, the GET that waits for it, and POSTs.

Rule: at most one GET waits; packets leave in the order in which they were sent;
answers are made at the end of a round of the loop, so that what one turn emits
shares one answer. Source: Engine.IO protocol v4, "HTTP long-polling".
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import Protocol

from rtserver.config import Config
from rtserver.errors import ProtocolError
from rtserver.protocol.engineio.packet import Packet, PacketType
from rtserver.protocol.engineio.payload import decode_payload, encode_payload
from rtserver.transports.counters import Counters
from rtserver.transports.exchange import Exchange
from rtserver.transports.request import Response
from rtserver.transports.session import EngineSession
from rtserver.transports.transport import Ending, Sendable
from rtserver.types import TransportName

_TEXT = ("Content-Type", "text/plain; charset=UTF-8")
_NO_STORE = ("cache-control", "no-store")
_CONTENT_TYPES = ("text/", "application/x-www-form-urlencoded")

NOOP = b"6"
CLOSE = b"1"


class PollingHost(Protocol):
    """What polling needs of the engine."""

    config: Config
    counters: Counters

    def soon(self, session: PollingTransport) -> None:
        """Call ``flush`` when this round is over."""

    def headers_for(self, exchange: Exchange) -> list[tuple[str, str]]:
        """The CORS headers of an answer."""

    def bad_request(self, exchange: Exchange) -> None:
        """Answer 400."""


class PollingTransport:
    """The polling side of a session."""

    __slots__ = (
        "_closing",
        "_first_headers",
        "_flushing",
        "_get",
        "_held",
        "_host",
        "_post",
        "_queue",
        "_queued",
        "_retired",
        "_session",
    )

    def __init__(
        self, host: PollingHost, session: EngineSession, first_headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._host = host
        self._session = session
        self._queue: list[Sendable] = []
        self._queued = 0
        self._first_headers = first_headers
        self._get: Exchange | None = None
        self._post: Exchange | None = None
        self._held: deque[Packet] | None = None
        self._flushing = False
        self._closing = False
        self._retired = False

    @property
    def name(self) -> TransportName:
        return "polling"

    @property
    def writable(self) -> bool:
        return self._get is not None

    # Out.

    def send(self, message: Sendable, volatile: bool = False) -> bool:
        if self._closing or (volatile and (self._get is None or self._queue)):
            return False
        if self._is_full():
            self._session.overflow()
            return False
        self._queue.append(message)
        self._queued += len(message.frames)
        self._host.counters.packets_out += message.count
        if self._get is not None:
            self._flush_soon()
        return True

    def _is_full(self) -> bool:
        config = self._host.config
        if self._queued >= config.max_queue_bytes:
            return True
        # A burst is no sign of a slow client while its poll waits for the end of this
        # round, nor while it has stopped polling because it is about to upgrade.
        waiting = self._get is None and not self._session.machine.upgrading
        return waiting and len(self._queue) >= config.max_queue_packets

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._host.soon(self)

    def flush(self) -> None:
        """Answer the waiting GET with what is queued, if there are both."""
        self._flushing = False
        exchange = self._get
        if exchange is None or not (self._queue or self._closing):
            return
        self._get = None
        if not self._queue:
            self._answer(exchange, CLOSE)
            self._session.told()
            return
        # A close never travels with what was sent before it: clients look at a close
        # at once and at messages a little later, and would miss a goodbye in them.
        parts = [part for message in self._queue for part in message.parts()]
        self._queue = []
        self._queued = 0
        self._answer(exchange, encode_payload(parts))

    def _answer(self, exchange: Exchange, body: bytes) -> None:
        headers = [_TEXT, _NO_STORE, *self._first_headers, *self._host.headers_for(exchange)]
        self._first_headers = ()
        config = self._host.config
        if config.http_compression and len(body) >= config.http_compression_threshold and _takes_gzip(exchange):
            body = _gzip(body)
            headers.append(("Content-Encoding", "gzip"))
        exchange.respond(Response(200, body, headers))

    def on_get(self, exchange: Exchange) -> None:
        """The client polls."""
        if self._retired:
            self._answer(exchange, NOOP)
            return
        if self._get is not None:
            self._host.bad_request(exchange)
            self._session.fail("transport error")
            return
        self._get = exchange
        exchange.on_abort = self._aborted
        if self._queue or self._closing:
            self.flush()
        elif self._session.machine.upgrading:
            self._release_get()

    def _aborted(self) -> None:
        self._get = None
        self._session.fail("transport error")

    def _release_get(self) -> None:
        if self._get is not None:
            exchange, self._get = self._get, None
            self._answer(exchange, NOOP)

    # In.

    def on_post(self, exchange: Exchange, body: bytes) -> None:
        """The client sends packets."""
        content_type = exchange.request.headers.get("content-type", "text/plain").lower()
        if self._post is not None or not content_type.startswith(_CONTENT_TYPES):
            self._host.bad_request(exchange)
            self._session.fail("transport error")
            return
        try:
            packets = decode_payload(body.decode("utf-8"), max_packets=self._host.config.max_packets_per_payload)
        except (ProtocolError, UnicodeDecodeError):
            self._host.bad_request(exchange)
            self._session.fail("parse error")
            return
        self._post = exchange
        exchange.on_abort = self._post_aborted
        self._take(deque(packets))

    def _post_aborted(self) -> None:
        self._post = None

    def _take(self, packets: deque[Packet]) -> None:
        session = self._session
        while packets and not session.closed:
            if session.paused:
                self._held = packets
                return
            packet = packets.popleft()
            try:
                self._take_one(packet)
            except Exception:
                # A bug, reported by whoever called. What followed in this payload is lost, so the session is too.
                session.fail("transport error")
                raise
        self._held = None
        exchange, self._post = self._post, None
        if exchange is not None:
            headers = [("Content-Type", "text/html"), _NO_STORE, *self._host.headers_for(exchange)]
            exchange.respond(Response(200, b"ok", headers))

    def _take_one(self, packet: Packet) -> None:
        if packet.type is not PacketType.MESSAGE:
            text = packet.encode()
            assert isinstance(text, str)
            self._session.take_text(text)
        elif isinstance(packet.data, str):
            self._session.handler.on_text(packet.data)
        else:
            self._session.handler.on_binary(packet.data)

    def pause(self) -> None:
        """Nothing to do: ``_take`` asks before each packet, and the POST stays open meanwhile."""

    def resume(self) -> None:
        """Go on with a held POST."""
        if self._held is not None:
            self._take(self._held)

    def release_poll(self) -> None:
        """An upgrade is under way: the client waits for its GET to come back."""
        self.flush()
        self._release_get()

    # The end.

    def end(self, ending: Ending) -> None:
        if ending is Ending.FLUSH:
            self._closing = True
            self._flush_soon()
            return
        self._queue = []
        self._queued = 0
        self._closing = True
        self._refuse_post()
        if self._get is not None:
            exchange, self._get = self._get, None
            self._answer(exchange, NOOP if ending is Ending.LEFT else CLOSE)

    def _refuse_post(self) -> None:
        if self._held is not None and self._post is not None:
            exchange, self._post = self._post, None
            self._held = None
            self._host.bad_request(exchange)

    def retire(self) -> list[Sendable]:
        """The session has moved to WebSocket: let go of the GET, give back the queue."""
        self._retired = True
        self._refuse_post()
        self._release_get()
        queue, self._queue = self._queue, []
        return queue


def _takes_gzip(exchange: Exchange) -> bool:
    accepted = exchange.request.headers.get("accept-encoding", "")
    for offer in accepted.lower().split(","):
        coding, _, quality = offer.partition(";")
        if coding.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _gzip(body: bytes) -> bytes:
    # Level 1: this runs on the loop, and higher levels cost three times as much
    # for a tenth fewer bytes on JSON.
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
