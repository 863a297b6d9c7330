"""The WebSocket transport: each message is a packet.

Rule: frames, masks, pings and the close handshake are trio-websocket's.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, cast

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from rtserver.client.errors import TransportLost, described, unwrapped
from rtserver.client.options import Options
from rtserver.client.polling import refusal
from rtserver.client.transport import Batch, Wire
from rtserver.protocol.engineio.packet import Packet

BATCH = Batch(64, 2**20)
RECEIVE_BYTES = 65536


class WebSocketTransport:
    """A session carried by one WebSocket.

    Args:
        connection: An open one; its owner closes it.
    """

    name: Literal["websocket"] = "websocket"
    batch = BATCH

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    def opened(self, sid: str, max_payload: int | None) -> None:
        pass

    async def receive(self) -> list[Packet]:
        try:
            return [Packet.decode(await self._connection.get_message())]
        except ConnectionClosed as exc:
            raise TransportLost("transport close", _description(exc)) from exc

    async def send(self, wires: Sequence[Wire]) -> None:
        try:
            for wire in wires:
                await self._connection.send_message(wire)
        except ConnectionClosed as exc:
            raise TransportLost("transport close", _description(exc)) from exc

    async def close(self) -> None:
        await self._connection.aclose()


class _WatchedStream(trio.abc.Stream):
    """A stream that tells when the peer has closed it.

    trio-websocket does not notice that before the handshake is answered.
    """

    def __init__(self, stream: trio.abc.Stream, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._on_end = on_end

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._on_end()
            raise
        if not data:
            self._on_end()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def open_websocket(options: Options, sid: str | None) -> AsyncIterator[WebSocketTransport]:
    """Open a WebSocket within ``connect_timeout``.

    Raises:
        TransportLost: The server is not there, or does not want it.
    """
    try:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                attempt = trio.CancelScope(deadline=trio.current_time() + options.connect_timeout)
                stream = None
                try:
                    connection = None
                    with attempt:
                        stream = _WatchedStream(await _open_stream(options), attempt.cancel)
                        connection = await _shake_hands(nursery, stream, options, sid)
                    if connection is None:
                        raise TransportLost("transport error", "the WebSocket was not answered")
                    yield WebSocketTransport(connection)
                finally:
                    # In this order: the nursery would take what is on its way out for its own cancellation.
                    if stream is not None:
                        await trio.aclose_forcefully(stream)
                    nursery.cancel_scope.cancel()
    except ConnectionRejected as exc:
        raise TransportLost("transport error", *refusal(exc.status_code, exc.body)) from exc
    except (HandshakeError, OSError) as exc:
        raise TransportLost("transport error", f"the WebSocket failed: {described(exc)}") from exc


async def _shake_hands(
    nursery: trio.Nursery, stream: _WatchedStream, options: Options, sid: str | None
) -> WebSocketConnection:
    return await wrap_client_stream(
        nursery,
        cast(trio.SocketStream, stream),
        options.authority,
        options.target("websocket", sid),
        extra_headers=[(name.encode(), value.encode()) for name, value in options.headers.items()],
        max_message_size=options.max_message_size,
        receive_buffer_size=RECEIVE_BYTES,
    )


async def _open_stream(options: Options) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    if options.uds is not None:
        return await trio.open_unix_socket(options.uds)
    if not options.secure:
        return await trio.open_tcp_stream(options.host, options.port)
    context = options.ssl_context or ssl.create_default_context()
    return await trio.open_ssl_over_tcp_stream(options.host, options.port, ssl_context=context, https_compatible=True)


def _description(exc: ConnectionClosed) -> str:
    return "the WebSocket was closed" if exc.reason is None else f"the WebSocket was closed: {exc.reason.name}"
