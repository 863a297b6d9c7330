"""An upstream's answer: its head read strictly, its end known, and no tunnel without a valid 101.

Rule: an answer whose end could be found in two ways is an upstream's fault, and the client
sees 502 and not the answer. Source: RFC 9112, section 6.3; RFC 6455, section 4.2.2.
"""

from __future__ import annotations

import base64
import hashlib
import re
from enum import Enum, auto

from proxy.errors import BadGateway
from proxy.head import RequestHead

MAX_RESPONSE_HEAD = 65_536
MAX_RESPONSE_HEADERS = 256

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_HOP_BY_HOP = frozenset(
    [b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"]
)
_KEPT = frozenset([b"content-length", b"content-type", b"content-encoding", b"set-cookie", b"location"])
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Framing(Enum):
    """How the end of a body is found."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


class ResponseHead:
    """The head of an answer.

    Attributes:
        status: The HTTP status.
        framing: How its body ends.
        length: Of the body, when it is announced.
        keep_alive: Whether the upstream's connection may carry another request.
    """

    def __init__(self, status: int, reason: bytes, minor: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self._reason = reason
        self._fields = fields
        self.framing = Framing.NONE
        self.length = 0
        tokens = self._tokens(b"connection")
        self.keep_alive = b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens)

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self._fields if key.lower() == name]

    def _tokens(self, name: bytes) -> set[bytes]:
        return {token.strip().lower() for value in self.values(name) for token in value.split(b",")}

    def find_framing(self, request: RequestHead) -> None:
        """How the body ends, given what was asked.

        Raises:
            BadGateway: That could be read in two ways.
        """
        lengths, codings = self.values(b"content-length"), self.values(b"transfer-encoding")
        if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
            raise BadGateway(502, "bad gateway")
        if request.method == "HEAD" or self.status in (204, 304) or self.status < 200:
            self.framing = Framing.NONE
        elif codings:
            if codings[0].lower() != b"chunked":
                raise BadGateway(502, "bad gateway")
            self.framing = Framing.CHUNKED
        elif lengths:
            if not _DIGITS.fullmatch(lengths[0]):
                raise BadGateway(502, "bad gateway")
            self.framing, self.length = Framing.LENGTH, int(lengths[0])
        else:
            self.framing, self.keep_alive = Framing.CLOSE, False

    def check_switch(self, request: RequestHead) -> None:
        """Whether a 101 answers what was asked.

        Raises:
            BadGateway: It does not, so what follows is no WebSocket.
        """
        key = request.get(b"sec-websocket-key") or b""
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        if (
            not request.wants_websocket
            or self._tokens(b"upgrade") != {b"websocket"}
            or b"upgrade" not in self._tokens(b"connection")
            or self.values(b"sec-websocket-accept") != [accept]
        ):
            raise BadGateway(502, "bad gateway")

    def for_client(self, *, keep_alive: bool, cookie: str | None) -> bytes:
        """The head that the client gets."""
        named = self._tokens(b"connection") - _KEPT
        lines = [b"HTTP/1.1 %d %b" % (self.status, self._reason)]
        lines += [
            name + b": " + value
            for name, value in self._fields
            if name.lower() not in _HOP_BY_HOP and name.lower() not in named
        ]
        if cookie is not None:
            lines.append(b"Set-Cookie: " + cookie.encode("ascii"))
        if self.status == 101:
            lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
        else:
            if self.framing is Framing.CHUNKED:
                lines.append(b"Transfer-Encoding: chunked")
            lines.append(b"Connection: " + (b"keep-alive" if keep_alive else b"close"))
        return b"\r\n".join([*lines, b"", b""])


def parse_response(raw: bytes) -> ResponseHead:
    """Read a whole head, its empty line included.

    Raises:
        BadGateway: It is none.
    """
    first, *lines = raw[:-4].split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None or len(lines) > MAX_RESPONSE_HEADERS:
        raise BadGateway(502, "bad gateway")
    fields = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadGateway(502, "bad gateway")
        fields.append((field[1], field[2]))
    return ResponseHead(int(status[2]), status[3] or b"", int(status[1]), fields)
