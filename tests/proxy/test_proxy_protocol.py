"""The PROXY protocol, from whoever is in front of the proxy."""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.forwarding import Client
from proxy.proxyprotocol import Header, read_header
from tests.behaviour.support import sid_of
from tests.cluster.support import request, start_node
from tests.proxy.support import HANDSHAKE, proxied

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(family: int, body: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def addresses(family: int, source: str, destination: str) -> bytes:
    kind = socket.AF_INET6 if family == 0x21 else socket.AF_INET
    return socket.inet_pton(kind, source) + socket.inet_pton(kind, destination) + struct.pack("!HH", 4711, 80)


TLS = b"\x20\x00\x05\x01\x00\x00\x00\x00"
V4 = addresses(0x11, "203.0.113.9", "10.0.0.1")
V6 = addresses(0x21, "2001:db8::7", "2001:db8::1")

ROWS = [
    (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n", Client("203.0.113.9", 4711, False)),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n", Client("2001:db8::7", 4711, False)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f::f ffff:f::f 65535 65535\r\n", None),
    (v2(0x11, V4), Client("203.0.113.9", 4711, False)),
    (v2(0x11, V4 + TLS), Client("203.0.113.9", 4711, True)),
    (v2(0x11, V4 + b"\x04\x00\x01x" + TLS), Client("203.0.113.9", 4711, True)),
    (v2(0x21, V6), Client("2001:db8::7", 4711, False)),
    (v2(0x31, b"x" * 216), None),
    (v2(0x00, b"", command=0x20), None),
]


@pytest.mark.parametrize(("wire", "client"), ROWS)
def test_a_header_is_read_whole_and_no_further(wire: bytes, client: Client | None) -> None:
    assert read_header(wire + b"GET / HTTP/1.1") == Header(len(wire), client)
    for end in range(len(wire)):
        assert read_header(wire[:end]) is None


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        b"PROXY TCP4 1.1.1.999 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 99999 2\r\n",
        b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY " + b"x" * 110,
        v2(0x11, V4, command=0x22),
        v2(0x11, V4, command=0x11),
        v2(0x11, V4[:11]),
        v2(0x21, V4),
        v2(0x11, V4 + b"x" * 600),
    ],
)
def test_what_is_no_header_is_refused(wire: bytes) -> None:
    with pytest.raises(BadRequest):
        read_header(wire)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda rest: SIGNATURE + rest))
def test_garbage_is_a_header_or_refused(wire: bytes) -> None:
    with contextlib.suppress(BadRequest):
        read_header(wire)


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("wire", [ROWS[0][0], ROWS[5][0]], ids=["v1", "v2"])
async def test_a_node_is_told_whom_the_header_names(tmp_path: Path, wire: bytes, pieces: int) -> None:
    seen: list[str] = []
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        site.io.on_connect(lambda socket: seen.append(socket.handshake.address))
        async with proxied(tmp_path / "run", proxy_protocol=True, trusted="127.0.0.1/32") as through:
            await through.knows(1)
            client = await through.http()
            sent = wire + request(HANDSHAKE)
            size = -(-len(sent) // pieces)
            for start in range(0, len(sent), size):
                await client.stream.send_all(sent[start : start + size])
                await trio.testing.wait_all_tasks_blocked(0.01)
            query = f"{HANDSHAKE}&sid={sid_of((await client.receive()).text)}"
            assert (await client.request("POST", query, b"40")).status == 200
            assert (await client.request("GET", query)).status == 200
            assert seen == ["203.0.113.9"]
            assert through.counters.handed == 1
        await site.end()


async def test_who_is_not_trusted_cannot_name_anybody(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run", proxy_protocol=True, trusted="10.0.0.0/8") as through:
        assert await through.raw(ROWS[0][0] + request(HANDSHAKE)) == b""
        assert through.counters.requests == 0


async def test_a_connection_without_the_header_is_closed(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run", proxy_protocol=True, trusted="127.0.0.0/8", head_timeout=0.3) as through:
        assert await through.raw(request(HANDSHAKE)) == b""
        assert await through.raw(b"PROXY TCP4") == b""
        assert through.counters.requests == 0


async def test_without_the_setting_the_header_is_no_request(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run") as through:
        assert (await through.raw(ROWS[0][0] + request(HANDSHAKE))).startswith(b"HTTP/1.1 400 ")
