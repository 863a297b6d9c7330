"""What every parser can do.

Rule: a parser keeps no state of its own; a packet that waits for attachments is an
``Incomplete`` in the hands of whoever reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rtserver.protocol.engineio.outbound import Outbound
from rtserver.protocol.socketio.packet import Packet


class Incomplete(Protocol):
    """A packet whose attachments are still to come."""

    @property
    def missing(self) -> int:
        """How many."""

    def add(self, attachment: bytes) -> Packet | None:
        """One more has come; the packet if that was the last one.

        Raises:
            ProtocolError: The placeholders do not fit.
        """


class Parser(Protocol):
    """Writes and reads packets. Server and clients must use the same one."""

    def encode_event(self, nsp: str, args: Sequence[Any], id: int | None = None, *, compress: bool = True) -> Outbound:
        """An event: its name and arguments.

        Raises:
            EncodeError: They have no form in this encoding.
        """

    def encode_ack(self, nsp: str, args: Sequence[Any], id: int) -> Outbound:
        """An acknowledgement.

        Raises:
            EncodeError: It has no form in this encoding.
        """

    def encode(self, packet: Packet) -> Outbound:
        """Any packet.

        Raises:
            EncodeError: Its data has no form in this encoding.
        """

    def decode_text(self, wire: str) -> Packet | Incomplete:
        """Read a text message.

        Raises:
            ProtocolError: It is no packet.
        """

    def decode_binary(self, wire: bytes) -> Packet:
        """Read a binary message that is no attachment.

        Raises:
            ProtocolError: It is no packet.
        """
