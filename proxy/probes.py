"""Probes: listed upstreams are asked now and then whether they want clients.

Rule: a probe is a request of its own on a connection of its own, and must be answered with
a status below 400 in time. Nodes that say by themselves how they are are not probed.
"""

from __future__ import annotations

import structlog
import trio

from proxy.errors import BadGateway
from proxy.pool import Pool
from proxy.response import MAX_RESPONSE_HEAD, parse_response
from proxy.settings import Settings
from proxy.upstreams import Upstream
from proxy.values import Address

log = structlog.get_logger("proxy")


async def run_probes(pool: Pool, settings: Settings) -> None:
    """Probe the listed upstreams, all at a time, every ``probe_interval``, for ever."""
    while True:
        async with trio.open_nursery() as nursery:
            for upstream in pool.listed:
                nursery.start_soon(_probe, pool, upstream, settings)
        await trio.sleep(settings.probe_interval)


async def _probe(pool: Pool, upstream: Upstream, settings: Settings) -> None:
    assert upstream.address is not None
    healthy = False
    with trio.move_on_after(settings.probe_timeout):
        healthy = await answers(upstream.address, settings.probe_path)
    if upstream.probed(trio.current_time(), healthy):
        log.info("upstream", upstream=upstream.name, state="ready" if healthy else "down")


async def answers(address: Address, path: str) -> bool:
    """Whether a server says that it is well."""
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    received = b""
    try:
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(request.encode())
            while b"\r\n\r\n" not in received:
                data = await stream.receive_some()
                if not data or len(received) > MAX_RESPONSE_HEAD:
                    return False
                received += data
            return parse_response(received.partition(b"\r\n\r\n")[0] + b"\r\n\r\n").status < 400
    except (OSError, trio.BrokenResourceError, BadGateway):
        return False
