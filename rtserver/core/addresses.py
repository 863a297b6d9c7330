"""Which addresses count as one client.

Rule: an IPv6 host has a network of 64 bits to itself, so whatever counts by address counts by that.
"""

from __future__ import annotations

import functools
import ipaddress

# Reading an IPv6 address costs more than everything else that is done for an event.
REMEMBERED = 16_384


@functools.lru_cache(REMEMBERED)
def group(address: str) -> str:
    """An IPv4 address as it is, or the 64 bits of an IPv6 network; what is neither stays what it is."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped is not None else f"{int(parsed) >> 64:x}::/64"
