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
# A final block may end the data; the empty block of the tail then stands behind it. Source: RFC 7692, 7.2.3.4.
_AFTER_FINAL = frozenset([_TAIL, b"\x00" + _TAIL])
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PARAMETER = rf'[ \t]*+;[ \t]*+({_TOKEN})(?:[ \t]*+=[ \t]*+({_TOKEN}|"{_TOKEN}"))?+'
_OFFER = re.compile(rf"[ \t,]*+({_TOKEN})((?:{_PARAMETER})*+)[ \t]*+(?:,|\Z)")
_EACH_PARAMETER = re.compile(_PARAMETER)
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
    """The first offer of a client that suits us; None if there is none or the header is malformed.

    Source: RFC 6455, 9.1, for the grammar; RFC 7692, 7.1, for the parameters.
    """
    header = header.rstrip(" \t,")
    agreement, at = None, 0
    while at < len(header):
        offer = _OFFER.match(header, at)
        if offer is None:
            return None
        if agreement is None and offer[1].lower() == "permessage-deflate":
            agreement = _accept(_EACH_PARAMETER.findall(offer[2]))
        at = offer.end()
    return agreement


def _accept(parameters: list[tuple[str, str]]) -> Agreement | None:
    """The agreement on an offer with these names and values; a value is empty where none was given."""
    given: dict[str, str] = {}
    for name, value in parameters:
        name, value = name.lower(), value.strip('"')
        if name in given or name not in _PARAMETERS:
            return None
        if name.endswith("takeover"):
            if value:
                return None
        elif not _WINDOW.match(value) and (value or name == "server_max_window_bits"):
            return None
        given[name] = value
    server = int(given.get("server_max_window_bits", 15))
    if server < _LEAST_WINDOW:
        return None
    client = int(given.get("client_max_window_bits") or 15)
    response = ["permessage-deflate", "server_no_context_takeover"]
    if "client_no_context_takeover" in given:
        response.append("client_no_context_takeover")
    if "server_max_window_bits" in given:
        response.append(f"server_max_window_bits={server}")
    if given.get("client_max_window_bits"):
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
            # The RFC lets more blocks follow it in the same message. That is refused, rather than lost unseen:
            # a context for each of a million tiny blocks is time that a client must not be able to take.
            if self._context.unused_data not in _AFTER_FINAL:
                raise ProtocolError("data after the final block")
            self._context = self._fresh()
        return message


def deflate(payload: bytes, window_bits: int = 15) -> bytes:
    """``payload`` deflated by itself, as the payload of a frame with RSV1."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -window_bits)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
