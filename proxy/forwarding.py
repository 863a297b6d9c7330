"""Who the client is, and how a relayed request tells an upstream.

Rule: only a trusted peer's word is taken, and nothing that a client sends can add to, alter
or strip what the proxy says. Source: RFC 7239; RFC 9110, section 7.6.1.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from proxy.head import RequestHead, is_forwarding
from proxy.settings import Network
from proxy.values import Address

# What is between two neighbours, and never goes further.
_HOP_BY_HOP = frozenset(
    [
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"content-length",
    ]
)
# What ``Connection`` cannot take away: without them the request would mean something else.
_KEPT = frozenset([b"host", b"origin", b"cookie", b"authorization", b"content-type", b"content-encoding"])
_FOR = re.compile(r'for="?(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]+)?"?', re.IGNORECASE)
_PLAIN_HOST = re.compile(rb"[A-Za-z0-9.:\[\]-]{1,255}")


class Client(NamedTuple):
    """Whose request it is.

    Args:
        host: The address.
        port: Its port; 0 when only a forwarding header has told the address.
        secure: Whether the client's side is encrypted.
    """

    host: str
    port: int
    secure: bool


class Trust:
    """Peers whose word on the client is taken.

    Args:
        networks: Where they are.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        # One of the few hosts in front of us connects again and again.
        self._known = lru_cache(1_024)(self._look_up)

    def __contains__(self, host: str) -> bool:
        return bool(self._networks) and self._known(host)

    def _look_up(self, host: str) -> bool:
        address = read_ip(host)
        return address is not None and any(address in network for network in self._networks)

    def client(self, head: RequestHead, peer: Client) -> Client:
        """Whose request it is: of what trusted peers say, the last address that is not one of theirs."""
        if peer.host not in self:
            return peer
        proto = (head.get(b"x-forwarded-proto") or b"").lower()
        secure = proto == b"https" if proto in (b"http", b"https") else peer.secure
        for host in reversed(_chain(head)):
            if host not in self:
                return Client(host, 0, secure)
        return Client(peer.host, peer.port, secure)


def read_ip(text: str) -> IPv4Address | IPv6Address | None:
    """An address, IPv4 if it is one in IPv6's clothes; None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _chain(head: RequestHead) -> list[str]:
    """The addresses that the request has come by, the client's first; as far as they can be read from the end."""
    forwarded_for = head.get(b"x-forwarded-for")
    if forwarded_for is not None:
        hosts = [part.strip().strip("[]") for part in forwarded_for.decode("latin-1").split(",")]
    else:
        parts = (head.get(b"forwarded") or b"").decode("latin-1").split(",")
        matches = [_FOR.search(part) for part in parts]
        hosts = ["" if match is None else match[1] or match[2] for match in matches]
    readable = []
    for host in reversed(hosts):
        address = read_ip(host)
        if address is None:
            break
        readable.append(str(address))
    return readable[::-1]


def address_key(host: str) -> str:
    """What stands for an address where connections are counted: IPv6 by the /64 that one customer has."""
    if ":" not in host:
        return host
    address = read_ip(host.partition("%")[0])
    if not isinstance(address, IPv6Address):
        return host if address is None else str(address)
    return str(IPv6Address(int(address) >> 64 << 64))


def without_forwarding(head: RequestHead) -> bytes:
    """The head as it came, without what a client says about who it is."""
    lines = head.raw.split(b"\r\n")
    return b"\r\n".join(
        [lines[0], *(line for line in lines[1:] if not is_forwarding(line.partition(b":")[0].strip().lower()))]
    )


def request_for_upstream(
    head: RequestHead, peer: Client, client: Client, *, trusted: bool, host: Address | None, length: int
) -> bytes:
    """The head that an upstream gets.

    Args:
        head: What the client sent.
        peer: Who sent it.
        client: Whose request it is.
        trusted: Whether ``peer`` may say so.
        host: Stands in for a missing ``Host``.
        length: Of the body, which is whole and no more in chunks.
    """
    target = head.path + ("?" + head.query if head.query else "")
    lines = [f"{head.method} {target} HTTP/{head.version}".encode()]
    named = {token.strip().lower() for token in (head.get(b"connection") or b"").split(b",")} - _KEPT
    for name, value in head.fields:
        key = name.lower()
        if key in _HOP_BY_HOP or key in named or is_forwarding(key):
            continue
        lines.append(name + b": " + value.strip(b" \t"))
    if head.get(b"host") is None and host is not None:
        lines.append(f"Host: {host}".encode())
    lines += _forwarding_lines(head, peer, client, trusted)
    if head.wants_websocket:
        lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
    else:
        lines.append(b"Connection: " + (b"keep-alive" if head.version == "1.1" else b"close"))
        if length or head.chunked or head.get(b"content-length") is not None:
            lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join([*lines, b"", b""])


def _forwarding_lines(head: RequestHead, peer: Client, client: Client, trusted: bool) -> list[bytes]:
    told = head.get if trusted else _nothing
    proto = b"https" if client.secure else b"http"
    chain = told(b"x-forwarded-for")
    own = peer.host.encode("latin-1")
    host = told(b"x-forwarded-host") or head.get(b"host") or b""
    element = b'for="[%b]"' % own if ":" in peer.host else b"for=" + own
    element += b";proto=" + proto
    if _PLAIN_HOST.fullmatch(host):
        element += b';host="%b"' % host
    earlier = told(b"forwarded")
    lines = [
        b"X-Forwarded-For: " + (chain + b", " + own if chain else own),
        b"X-Forwarded-Proto: " + proto,
        b"Forwarded: " + (earlier + b", " + element if earlier else element),
    ]
    return [*lines, b"X-Forwarded-Host: " + host] if host else lines


def _nothing(name: bytes) -> None:
    """What a client says that is not trusted."""
