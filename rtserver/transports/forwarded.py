"""Who a client is, when proxies that relay stand between it and the node.

Rule: a header is believed only from an address that the operator has named, and in a chain
only as far as such addresses go; whatever a client has written before that is its own word.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from rtserver.transports.request import Request

Network: TypeAlias = IPv4Network | IPv6Network


def believe(request: Request, trusted: Sequence[Network]) -> None:
    """Put the client's address and scheme into ``request``, as trusted proxies tell them.

    Args:
        request: Its ``peer`` is the other end of the connection.
        trusted: The networks of the proxies.

    Source: the X-Forwarded-For and X-Forwarded-Proto of nginx, HAProxy and our own proxy: each
    proxy appends the address that it was called from.
    """
    if not _is_in(_read(request.peer), trusted):
        return
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    if scheme in ("http", "https"):
        request.secure = scheme == "https"
    for text in reversed(headers.get("x-forwarded-for", "").split(",")):
        address = _read(text)
        if address is None:
            return
        request.peer = str(address)
        if not _is_in(address, trusted):
            return


def _read(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(address: IPv4Address | IPv6Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks)
