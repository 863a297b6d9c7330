"""One Engine.IO session, from the client's side: handshake, heartbeat, upgrade, end.

Rule: one task reads, one writes, a third one probes while there is an upgrade.
Reading stops while a message is being handled, and the heartbeat's clock with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import assert_never

import msgspec
import trio

from rtserver.client.errors import ClientDisconnectReason, ConnectError, TransportLost, unwrapped
from rtserver.client.options import Options
from rtserver.client.outgoing import Outgoing
from rtserver.client.transport import Dial, Transport, Wire
from rtserver.errors import ProtocolError
from rtserver.protocol.engineio.packet import Packet, PacketType


class Handshake(msgspec.Struct, frozen=True, rename="camel"):
    """What the server says in its OPEN packet. Times are in milliseconds."""

    sid: str
    ping_interval: float
    ping_timeout: float
    upgrades: tuple[str, ...] = ()
    max_payload: int | None = None


class Engine:
    """A session that ``run`` opens and serves until it ends.

    Args:
        options: The client's settings.
        dial: Opens transports.
        receive: Called with each message, in order; nothing is read until it is done.
    """

    def __init__(self, options: Options, dial: Dial, receive: Callable[[str | bytes], Awaitable[None]]) -> None:
        self._options = options
        self._dial = dial
        self._receive = receive
        self._outgoing = Outgoing(options.max_queue_packets, options.max_queue_bytes)
        self._sending = trio.Lock()
        self._probed: Transport | None = None
        self._deadline = 0.0
        self._patience = 0.0
        self._scope = trio.CancelScope()
        self.transport: Transport | None = None
        self.sid: str | None = None
        self.on_websocket = trio.Event()
        self.reason: ClientDisconnectReason | None = None

    async def run(self, opened: Callable[[], None]) -> ClientDisconnectReason:
        """Open the session, then serve it.

        Args:
            opened: Called when the handshake is done, before any message.

        Returns:
            Why it ended.

        Raises:
            ConnectError: It could not be opened.
        """
        try:
            with unwrapped():
                async with self._dial(self._options.transports[0], None) as transport:
                    handshake, packets = await self._shake_hands(transport)
                    self.transport = transport
                    await self._serve(handshake, packets, opened)
        except TransportLost as exc:
            # Once served, whatever happens to a transport has been made a reason already.
            if self.reason is None:
                raise ConnectError(exc.message, exc.data) from exc
        return self.reason or "transport close"

    def send(self, wires: Sequence[Wire]) -> None:
        """Queue the packets of one message.

        Raises:
            LimitExceeded: Too much is queued already.
        """
        self._outgoing.put(wires)

    def send_control(self, wires: Sequence[Wire]) -> None:
        """Queue packets without which the session makes no sense, full or not."""
        for wire in wires:
            self._outgoing.put_control(wire)

    async def flush(self) -> None:
        """Wait until everything that was queued is sent, or the session has ended."""
        if self.reason is None:
            await self._outgoing.drained()

    async def close(self) -> None:
        """Send what is queued, within ``close_timeout``, and end the session."""
        if self.reason is not None:
            return
        with trio.move_on_after(self._options.close_timeout):
            await self.flush()
            if self.reason is None and self.transport is not None:
                self.reason = "io client disconnect"
                with suppress(TransportLost):
                    await self.transport.close()
        self._end("io client disconnect")

    def _end(self, reason: ClientDisconnectReason) -> None:
        self.reason = self.reason or reason
        self._outgoing.abandon()
        self.on_websocket.set()
        self._scope.cancel()

    def _lost(self, reason: ClientDisconnectReason) -> None:
        # While ``close`` says goodbye it needs the tasks of the transport; it ends them itself.
        if self.reason is None:
            self._end(reason)

    async def _shake_hands(self, transport: Transport) -> tuple[Handshake, list[Packet]]:
        try:
            with trio.fail_after(self._options.connect_timeout):
                first, *rest = await transport.receive()
            if first.type is not PacketType.OPEN:
                raise ConnectError(f"expected the handshake, got a {first.type.name} packet")
            handshake = msgspec.json.decode(first.data, type=Handshake)
        except trio.TooSlowError as exc:
            raise ConnectError("the server did not answer in time") from exc
        except (ProtocolError, msgspec.MsgspecError) as exc:
            raise ConnectError(f"invalid handshake: {exc}") from exc
        transport.opened(handshake.sid, handshake.max_payload)
        return handshake, rest

    async def _serve(self, handshake: Handshake, packets: list[Packet], opened: Callable[[], None]) -> None:
        self.sid = handshake.sid
        self._patience = (handshake.ping_interval + handshake.ping_timeout) / 1000
        self._deadline = trio.current_time() + self._patience
        if self._current.name == "websocket":
            self.on_websocket.set()
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                if self._current.name == "polling" and "websocket" in handshake.upgrades and self._options.may_upgrade:
                    nursery.start_soon(self._upgrade, handshake.sid)
                opened()
                await self._read(packets)

    @property
    def _current(self) -> Transport:
        assert self.transport is not None
        return self.transport

    # Reading.

    async def _read(self, packets: list[Packet]) -> None:
        try:
            while self.reason is None:
                handling_since = trio.current_time()
                for packet in packets:
                    await self._take(packet)
                if self._probed is not None and self._probed is not self.transport:
                    await self._switch(self._probed)
                # While nothing was read no ping could be seen.
                self._deadline += trio.current_time() - handling_since
                with trio.move_on_at(self._deadline) as waiting:
                    packets = await self._current.receive()
                if waiting.cancelled_caught:
                    self._end("ping timeout")
        except TransportLost as exc:
            self._lost(exc.reason)
        except ProtocolError:
            self._lost("parse error")

    async def _take(self, packet: Packet) -> None:
        match packet.type:
            case PacketType.MESSAGE:
                await self._receive(packet.data)
            case PacketType.PING:
                self._deadline = trio.current_time() + self._patience
                self._outgoing.put_control("3")
            case PacketType.CLOSE:
                raise TransportLost("transport close", "the server closed the session")
            case PacketType.NOOP:
                pass
            case PacketType.OPEN | PacketType.PONG | PacketType.UPGRADE:
                raise ProtocolError(f"unexpected {packet.type.name} packet")
            case _:
                assert_never(packet.type)

    # Writing.

    async def _write(self) -> None:
        try:
            while True:
                await self._outgoing.wait()
                async with self._sending:
                    transport = self._current
                    await transport.send(self._outgoing.take(transport.batch))
                    self._outgoing.sent()
        except TransportLost as exc:
            self._lost(exc.reason)

    # The upgrade: probe, let the pending poll come back, send nothing meanwhile, switch.

    async def _upgrade(self, sid: str) -> None:
        try:
            async with self._dial("websocket", sid) as transport:
                with trio.fail_after(self._options.upgrade_timeout):
                    await transport.send(["2probe"])
                    answers = await transport.receive()
                if answers == [Packet(PacketType.PONG, "probe")]:
                    self._probed = transport
                    # Leaving the context would close the transport that is in use now.
                    await trio.sleep_forever()
        except (TransportLost, ProtocolError, trio.TooSlowError):
            # Polling lives on.
            return

    async def _switch(self, transport: Transport) -> None:
        async with self._sending:
            await transport.send(["5"])
            self.transport = transport
            self.on_websocket.set()
