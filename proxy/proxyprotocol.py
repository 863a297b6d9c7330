"""The PROXY protocol, versions 1 and 2, as a receiver.

Rule: the header is read whole or not at all, and nothing after it is touched. Source: HAProxy,
"The PROXY protocol", versions 1 and 2.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import NamedTuple

from proxy.errors import BadRequest
from proxy.forwarding import Client, read_ip

# The longest header of version 1 is 107 bytes; one of version 2 says how long it is.
MAX_HEADER = 536
_V1_MAX = 107
_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1 = re.compile(rb"PROXY (?:UNKNOWN[^\r\n]*|(TCP4|TCP6) ([0-9A-Fa-f.:]+) [0-9A-Fa-f.:]+ ([0-9]{1,5}) [0-9]{1,5})\r\n")
_V2_HEAD = 16
_TYPE_SSL = 0x20


class Header(NamedTuple):
    """A header.

    Args:
        size: How many bytes it is.
        client: Who has connected to whoever sent it; None: the connection is the sender's own.
    """

    size: int
    client: Client | None


def read_header(data: bytes) -> Header | None:
    """Read the header at the start of a connection; None while more is needed.

    Raises:
        BadRequest: It is none.
    """
    if data.startswith(_V2_SIGNATURE):
        return _read_v2(data)
    if _V2_SIGNATURE.startswith(data):
        return None
    if data.startswith(b"PROXY ") or b"PROXY ".startswith(data):
        return _read_v1(data)
    raise BadRequest(400, "no PROXY protocol header")


def _read_v1(data: bytes) -> Header | None:
    end = data.find(b"\n", 0, _V1_MAX)
    if end < 0:
        if len(data) >= _V1_MAX:
            raise BadRequest(400, "PROXY protocol header too long")
        return None
    found = _V1.fullmatch(data[: end + 1])
    if found is None:
        raise BadRequest(400, "malformed PROXY protocol header")
    if found[1] is None:
        return Header(end + 1, None)
    host, port = found[2].decode("ascii"), int(found[3])
    address = read_ip(host)
    if address is None or port > 0xFFFF or (":" in host) != (found[1] == b"TCP6"):
        raise BadRequest(400, "malformed PROXY protocol header")
    return Header(end + 1, Client(str(address), port, False))


def _read_v2(data: bytes) -> Header | None:
    if len(data) < _V2_HEAD:
        return None
    command, family, length = struct.unpack_from("!BBH", data, 12)
    size = _V2_HEAD + length
    if command not in (0x20, 0x21) or size > MAX_HEADER:
        raise BadRequest(400, "malformed PROXY protocol header")
    if len(data) < size:
        return None
    body = data[_V2_HEAD:size]
    if command == 0x20:
        return Header(size, None)
    match family:
        case 0x11 if length >= 12:
            host, port, rest = str(ipaddress.IPv4Address(body[:4])), body[8:10], body[12:]
        case 0x21 if length >= 36:
            address = read_ip(str(ipaddress.IPv6Address(body[:16])))
            host, port, rest = str(address), body[32:34], body[36:]
        case 0x11 | 0x21:
            raise BadRequest(400, "malformed PROXY protocol header")
        case _:
            # A Unix socket, or something that is not TCP: the sender is all that can be named.
            return Header(size, None)
    return Header(size, Client(host, int.from_bytes(port, "big"), _is_secure(rest)))


def _is_secure(values: bytes) -> bool:
    """Whether the type-length-values say that the client came over TLS."""
    while len(values) >= 3:
        kind, length = struct.unpack_from("!BH", values)
        if kind == _TYPE_SSL and length >= 5 and len(values) >= 3 + length:
            return bool(values[3] & 0x01)
        values = values[3 + length :]
    return False
