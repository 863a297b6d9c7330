"""The head of a request, read strictly.

Rule: whatever could be read in two ways is refused, so that the proxy and the node behind
it see the same requests. ``httptools`` (llhttp) parses; the checks here are those that it
leaves to its user. Source: RFC 9112, sections 2 to 6.
"""

from __future__ import annotations

import re

import httptools

from proxy.errors import BadRequest

MAX_HEAD_SIZE = 16_384
MAX_HEADERS = 100

_FOLDED = re.compile(rb"\r\n[ \t]")
_NO_TARGET = re.compile(rb"[^!\"$-~]")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_SINGLE = frozenset(
    [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"origin",
        b"expect",
        b"upgrade",
        b"sec-websocket-key",
        b"content-type",
    ]
)
_FORWARDING = frozenset([b"forwarded", b"x-real-ip"])


def is_forwarding(name: bytes) -> bool:
    """Whether a header (its name in lower case) says who the client is, underscores for dashes included."""
    plain = name.replace(b"_", b"-")
    return plain in _FORWARDING or plain.startswith(b"x-forwarded")


class RequestHead:
    """One request head.

    Attributes:
        raw: Its bytes, the empty line included.
        method: As sent.
        path: Up to the question mark, not decoded.
        query: After it, not decoded.
        version: ``1.0`` or ``1.1``.
        fields: Names and values in their order, as sent.
        keep_alive: Whether the connection may carry another request.
        length: The announced length of the body.
        chunked: Whether the body comes in chunks.
        wants_websocket: Whether it asks, in a way that an upstream may grant, to become a WebSocket.
    """

    __slots__ = (
        "_values",
        "chunked",
        "fields",
        "keep_alive",
        "length",
        "method",
        "path",
        "query",
        "raw",
        "repeated",
        "target",
        "version",
        "wants_websocket",
    )

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self._values: dict[bytes, bytes] = {}
        self.repeated = False
        self.method = self.path = self.query = self.version = ""
        self.keep_alive = True
        self.length = 0
        self.chunked = False
        self.wants_websocket = False

    # What httptools calls.

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))
        key = name.lower()
        if key in self._values:
            self.repeated = self.repeated or key in _SINGLE
            self._values[key] += (b"; " if key == b"cookie" else b", ") + value
        else:
            self._values[key] = value

    def get(self, name: bytes) -> bytes | None:
        """A header's value by its name in lower case; repeated ones joined."""
        value = self._values.get(name)
        return None if value is None else value.strip(b" \t")

    @property
    def forwards(self) -> bool:
        """Whether it bears headers that say who the client is."""
        return any(map(is_forwarding, self._values))

    @property
    def has_body(self) -> bool:
        return self.chunked or self.length > 0


def check_partial_head(head: bytes) -> None:
    """Refuse what can be refused before the head is complete.

    Raises:
        BadRequest: A line feed stands alone.
    """
    if head.count(b"\n") != head.count(b"\r\n"):
        raise BadRequest(400, "bare line feed")


def split_head(data: bytes, *, max_size: int = MAX_HEAD_SIZE) -> tuple[bytes, bytes] | None:
    """A whole head and what follows it; None while the head is not complete.

    Raises:
        BadRequest: It is too large, or what there is of it is wrong already.
    """
    end = data.find(b"\r\n\r\n", 0, max_size)
    if end >= 0:
        return data[: end + 4], data[end + 4 :]
    if len(data) >= max_size:
        raise BadRequest(431 if b"\r\n" in data[:max_size] else 414, "request head too large")
    check_partial_head(data.removesuffix(b"\r"))
    return None


def parse_head(raw: bytes, *, max_headers: int = MAX_HEADERS) -> RequestHead:
    """Read a whole request head, its empty line included.

    Raises:
        BadRequest: With the status that the client shall get.
    """
    feeds = raw.count(b"\n")
    if feeds != raw.count(b"\r\n") or feeds != raw.count(b"\r") or b"\0" in raw or _FOLDED.search(raw):
        raise BadRequest(400, "control character or folding in head")
    head = RequestHead(raw)
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as exc:
        raise BadRequest(400, "malformed request") from exc
    if len(head.fields) > max_headers:
        raise BadRequest(431, "too many headers")
    if head.repeated:
        raise BadRequest(400, "repeated header")
    head.method = parser.get_method().decode("ascii")
    head.version = parser.get_http_version()
    _check(head)
    return head


def _check(head: RequestHead) -> None:
    if head.version not in ("1.1", "1.0"):
        raise BadRequest(400, "unsupported version")
    if head.method in ("CONNECT", "TRACE"):
        raise BadRequest(405, "method not allowed")
    if head.version == "1.1" and head.get(b"host") is None:
        raise BadRequest(400, "missing host")
    target = head.target
    if not target.startswith(b"/") and target != b"*":
        target = _origin_form(head)
    if _NO_TARGET.search(target):
        raise BadRequest(400, "malformed target")
    path, _, query = target.partition(b"?")
    head.path, head.query = path.decode("ascii"), query.decode("ascii")
    head.wants_websocket = _asks_for_websocket(head)
    head.keep_alive = _keeps_alive(head.get(b"connection"), head.version)
    _check_length(head)


def _origin_form(head: RequestHead) -> bytes:
    scheme, _, rest = head.target.partition(b"://")
    authority, slash, path = rest.partition(b"/")
    if scheme.lower() not in (b"http", b"https") or not rest:
        raise BadRequest(400, "malformed target")
    if authority.partition(b"?")[0].lower() != (head.get(b"host") or authority).lower():
        raise BadRequest(400, "two hosts")
    return b"/" + path if slash else b"/"


def _check_length(head: RequestHead) -> None:
    length, coding = head.get(b"content-length"), head.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or head.version == "1.0":
            raise BadRequest(400, "ambiguous body length")
        if coding.lower() != b"chunked":
            raise BadRequest(400, "unsupported transfer coding")
        head.chunked = True
    elif length is not None:
        if not _DIGITS.fullmatch(length):
            raise BadRequest(400, "malformed content-length")
        head.length = int(length)
    if head.has_body and (head.get(b"upgrade") or b"").lower() == b"websocket":
        raise BadRequest(400, "an upgrade with a body")


def _asks_for_websocket(head: RequestHead) -> bool:
    """Source: RFC 9110, section 7.8: not in HTTP/1.0, and never without the word in ``Connection``."""
    if head.version != "1.1" or (head.get(b"upgrade") or b"").lower() != b"websocket":
        return False
    return b"upgrade" in {token.strip().lower() for token in (head.get(b"connection") or b"").split(b",")}


def _keeps_alive(connection: bytes | None, version: str) -> bool:
    if connection is None:
        return version == "1.1"
    tokens = {token.strip().lower() for token in connection.split(b",")}
    return b"close" not in tokens and (version == "1.1" or b"keep-alive" in tokens)
