"""permessage-deflate, in the one form that suits a server with broadcasts.

Rule: our side never keeps a context, so that a compressed frame serves every
recipient; inflating stops one byte past the limit. Source: RFC 7692.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from rtserver.errors import ProtocolError

_TAIL = b"\x00\x00\xff\xff"
_WINDOW = re.compile(r"(?:8|9|1[0-5])\Z")
_PARAMETERS = frozenset(
    ["server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"]
)
# zlib cannot deflate with a window of 256 bytes. Source: zlib's manual, deflateInit2.
_LEAST_WINDOW = 9


class TooBig(ProtocolError):
    """A message inflates to more than the limit."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides have agreed on.

    Args:
        server_max_window_bits: Our window, 9 to 15.
        client_max_window_bits: The client's window.
        client_no_context_takeover: Whether the client starts afresh with each message.
        response: The value of our ``Sec-WebSocket-Extensions``.
    """

    server_max_window_bits: int
    client_max_window_bits: int
    client_no_context_takeover: bool
    response: str


def negotiate(header: str) -> Agreement | None:
    """The first offer of a client that suits us; None if there is none or the header is malformed."""
    for offer in header.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() == "permessage-deflate":
            agreement = _accept(parameters)
            if agreement is not None:
                return agreement
    return None


def _accept(parameters: list[str]) -> Agreement | None:
    given: dict[str, str | None] = {}
    for parameter in parameters:
        name, sign, value = (part.strip() for part in parameter.partition("="))
        name = name.lower()
        if name in given or name not in _PARAMETERS:
            return None
        given[name] = value.strip('"') if sign else None
    for name, text in given.items():
        if name.endswith("takeover") and text is not None:
            return None
        if name.endswith("bits") and (text is None or not _WINDOW.match(text)):
            if name == "client_max_window_bits" and text is None:
                continue
            return None
    server = int(given.get("server_max_window_bits") or 15)
    if server < _LEAST_WINDOW:
        return None
    client = int(given.get("client_max_window_bits") or 15)
    response = ["permessage-deflate", "server_no_context_takeover"]
    if "client_no_context_takeover" in given:
        response.append("client_no_context_takeover")
    if "server_max_window_bits" in given:
        response.append(f"server_max_window_bits={server}")
    if given.get("client_max_window_bits") is not None:
        response.append(f"client_max_window_bits={client}")
    return Agreement(server, client, "client_no_context_takeover" in given, "; ".join(response))


class Inflater:
    """Inflates a client's messages.

    Args:
        agreement: Whether and how far the client looks back.
        max_size: Bytes that a message may inflate to.
    """

    __slots__ = ("_agreement", "_context", "_max_size")

    def __init__(self, agreement: Agreement, max_size: int) -> None:
        self._agreement = agreement
        self._max_size = max_size
        self._context = self._fresh()

    def _fresh(self) -> zlib._Decompress:
        return zlib.decompressobj(-max(_LEAST_WINDOW, self._agreement.client_max_window_bits))

    def inflate(self, payload: bytes) -> bytes:
        """The message that ``payload`` stands for.

        Raises:
            TooBig: It is larger than the limit.
            ProtocolError: It is not deflated data.
        """
        if self._agreement.client_no_context_takeover:
            self._context = self._fresh()
        try:
            message = self._context.decompress(payload + _TAIL, self._max_size + 1)
        except zlib.error as exc:
            raise ProtocolError("invalid compressed data") from exc
        if len(message) > self._max_size:
            raise TooBig("message inflates to too much")
        if self._context.eof:
            # A final block ends the stream: legal, and the next message starts a new one.
            self._context = self._fresh()
        return message


def deflate(payload: bytes, window_bits: int = 15) -> bytes:
    """``payload`` deflated by itself, as the payload of a frame with RSV1."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -window_bits)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
