"""The opening handshake of RFC 6455, section 4.2."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping

from rtserver.errors import ProtocolError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "13"


class UpgradeRefused(ProtocolError):
    """A request to upgrade that is refused with ``status``."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def accept_value(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def check_upgrade(headers: Mapping[str, str]) -> str:
    """The key of a request to upgrade.

    Args:
        headers: Lower-case names; repeated headers joined with ``", "``.

    Raises:
        UpgradeRefused: The request is no proper one.
    """
    if "upgrade" not in (token.strip().lower() for token in headers.get("connection", "").split(",")):
        raise UpgradeRefused(400, "connection is not upgrade")
    if headers.get("upgrade", "").strip().lower() != "websocket":
        raise UpgradeRefused(400, "upgrade is not websocket")
    if headers.get("content-length", "0").strip() != "0" or "transfer-encoding" in headers:
        raise UpgradeRefused(400, "upgrade with a body")
    if headers.get("sec-websocket-version") != VERSION:
        raise UpgradeRefused(426, "unsupported websocket version", (("Sec-WebSocket-Version", VERSION),))
    key = headers.get("sec-websocket-key", "")
    try:
        decoded = base64.b64decode(key.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise UpgradeRefused(400, "malformed websocket key") from exc
    if len(decoded) != 16:
        raise UpgradeRefused(400, "malformed websocket key")
    return key


def upgrade_response(key: str, extra: Iterable[tuple[str, str]] = ()) -> bytes:
    """The whole head of the 101 that accepts ``key``."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_value(key)}",
        *(f"{name}: {value}" for name, value in extra),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
