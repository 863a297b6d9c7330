"""An HTTP/1 request head, read strictly, and the answer to it.

Rule: what ``parse_head`` accepts means the same to every HTTP implementation
behind it; whatever could be read in two ways is refused. ``httptools`` (llhttp)
parses; the checks here are those that it leaves to its user. Source: RFC 9112.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Iterable
from http import HTTPStatus

import httptools

from rtserver.errors import ProtocolError

_FOLDED = re.compile(rb"\r\n[ \t]")
_NO_TARGET = re.compile(rb"[^!\"$-~]")
_DIGITS = re.compile(r"[0-9]{1,18}\Z")
_SINGLE = frozenset(
    ["host", "content-length", "transfer-encoding", "origin", "expect", "upgrade", "sec-websocket-key", "content-type"]
)


class BadRequest(ProtocolError):
    """A request that is refused with ``status`` before anything else looks at it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Request:
    """One request head.

    Attributes:
        method: As sent.
        path: Up to the question mark, not decoded.
        query: After it, not decoded.
        headers: Lower-case names; repeated headers are joined with ``", "``.
        raw: The bytes of the head.
        peer: The address of the other end, or an empty string on a Unix socket.
        secure: Whether it came over TLS.
        keep_alive: Whether the connection may carry another request.
        length: The announced body length.
        chunked: Whether the body comes in chunks.
        wants_websocket: Whether it asks to become a WebSocket.
    """

    __slots__ = (
        "_headers",
        "chunked",
        "keep_alive",
        "length",
        "method",
        "path",
        "peer",
        "query",
        "raw",
        "secure",
        "wants_websocket",
    )

    def __init__(self, method: str, path: str, query: str, headers: dict[str, str], raw: bytes) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.raw = raw
        self.peer = ""
        self.secure = False
        self.keep_alive = True
        self.length = 0
        self.chunked = False
        self.wants_websocket = False
        self._headers: dict[str, str] | None = headers

    @property
    def headers(self) -> dict[str, str]:
        return read_headers(self.raw) if self._headers is None else self._headers

    def compact(self) -> None:
        """Drop the parsed headers; from now on they are read from ``raw`` whenever asked for.

        A session keeps its request for as long as it lives, and a dictionary of
        headers is several times the size of the head.
        """
        self._headers = None


def read_headers(raw: bytes) -> dict[str, str]:
    """The headers of a head that has been parsed before."""
    headers: dict[str, str] = {}
    for line in raw.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            _add(headers, name, value.strip(b" \t"))
    return headers


def _add(headers: dict[str, str], raw_name: bytes, raw_value: bytes) -> None:
    name = raw_name.decode("latin-1").lower()
    value = raw_value.decode("latin-1")
    if name in headers:
        headers[name] += ("; " if name == "cookie" else ", ") + value
    else:
        headers[name] = value


class _Collector:
    """Receives httptools' callbacks for one head."""

    __slots__ = ("count", "headers", "repeated", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.count = 0
        self.repeated: str | None = None

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.count += 1
        key = name.decode("latin-1").lower()
        # llhttp leaves the white space behind a value to its user.
        text = value.decode("latin-1").rstrip(" \t")
        if key in self.headers:
            if key in _SINGLE:
                self.repeated = key
            self.headers[key] += ("; " if key == "cookie" else ", ") + text
        else:
            self.headers[key] = text


def check_partial_head(head: bytes) -> None:
    """Refuse what can be refused before the head is complete.

    Raises:
        BadRequest: A line feed stands alone.
    """
    if head.count(b"\n") != head.count(b"\r\n"):
        raise BadRequest(400, "bare line feed")


def parse_head(head: bytes, *, max_headers: int = 100) -> Request:
    """Read a whole request head, its empty line included.

    Args:
        head: From the request line to the empty line.
        max_headers: More than this many are refused.

    Raises:
        BadRequest: With the status that the client shall get.

    Source: RFC 9112, sections 2 to 6.
    """
    check_partial_head(head)
    if _FOLDED.search(head):
        raise BadRequest(400, "folded header")
    if head.count(b"\r") != head.count(b"\n") or b"\0" in head:
        raise BadRequest(400, "control character in head")
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as exc:
        raise BadRequest(400, "malformed request") from exc
    if collector.count > max_headers:
        raise BadRequest(431, "too many headers")
    if collector.repeated is not None:
        raise BadRequest(400, f"repeated {collector.repeated}")
    return _checked(parser, collector, head)


def _checked(parser: httptools.HttpRequestParser, collector: _Collector, head: bytes) -> Request:
    method = parser.get_method().decode("ascii")
    version = parser.get_http_version()
    headers = collector.headers
    if version not in ("1.1", "1.0"):
        raise BadRequest(400, "unsupported version")
    if method in ("CONNECT", "TRACE"):
        raise BadRequest(405, "method not allowed")
    if "host" not in headers and version == "1.1":
        raise BadRequest(400, "missing host")
    target = collector.target
    if not target.startswith(b"/") and target != b"*":
        _, scheme, rest = target.partition(b"://")
        if not scheme:
            raise BadRequest(400, "malformed target")
        target = b"/" + rest.partition(b"/")[2]
    if _NO_TARGET.search(target):
        raise BadRequest(400, "malformed target")
    path, _, query = target.decode("ascii").partition("?")
    request = Request(method, path, query, headers, head)
    request.keep_alive = _keeps_alive(headers.get("connection"), version)
    # Source: RFC 9110, 7.8: an Upgrade in HTTP/1.0 is ignored.
    request.wants_websocket = version == "1.1" and headers.get("upgrade", "").lower() == "websocket"
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if length is not None or version == "1.0":
            raise BadRequest(400, "ambiguous body length")
        if coding.lower() != "chunked":
            raise BadRequest(400, "unsupported transfer coding")
        request.chunked = True
    elif length is not None:
        if not _DIGITS.match(length):
            raise BadRequest(400, "malformed content-length")
        request.length = int(length)
    return request


def _keeps_alive(connection: str | None, version: str) -> bool:
    if connection is None:
        return version == "1.1"
    tokens = {token.strip().lower() for token in connection.split(",")}
    return "close" not in tokens and (version == "1.1" or "keep-alive" in tokens)


class Response:
    """The answer to a request, whole.

    Args:
        status: The HTTP status.
        body: May be empty.
        headers: Name and value pairs, without length and connection headers.
        close: Whether the connection ends with it.
    """

    __slots__ = ("body", "close", "headers", "status")

    def __init__(
        self, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = (), *, close: bool = False
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.close = close

    def encode(self, *, keep_alive: bool, head_only: bool = False) -> bytes:
        """The bytes on the wire."""
        lines = [_STATUS_LINES.get(self.status) or f"HTTP/1.1 {self.status} Unknown"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status != 304:
            lines.append(f"Content-Length: {len(self.body)}")
        lines.append(f"Date: {_date()}")
        lines.append("Connection: keep-alive\r\n\r\n" if keep_alive and not self.close else "Connection: close\r\n\r\n")
        head = "\r\n".join(lines).encode("latin-1")
        return head if head_only else head + self.body


_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
_date_cache: tuple[int, str] = (0, "")


def _date() -> str:
    global _date_cache  # noqa: PLW0603 - formatting the date costs more than the rest of a head
    now = int(time.time())
    if _date_cache[0] != now:
        _date_cache = (now, email.utils.formatdate(now, usegmt=True))
    return _date_cache[1]
