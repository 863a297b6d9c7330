"""What upstreams are told about the client, and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from proxy.forwarding import Client, Trust, address_key
from proxy.head import parse_head
from proxy.values import networks
from tests.proxy.support import Upstream, lines_of, proxied

FORWARDING = (
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Anything",
    "Forwarded",
    "X-Real-IP",
    "X_Forwarded_For",
    "x_forwarded-proto",
    "X_REAL_IP",
)


async def relayed(tmp_path: Path, *lines: str, trusted: str = "", version: str = "1.1") -> bytes:
    """The head that an upstream gets for a request with these lines."""
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        given = {"affinity": "cookie", "upstreams": upstream.address, "probe_path": "/probe", "trusted": trusted}
        async with proxied(tmp_path, **given) as through:
            await through.knows(1)
            text = "\r\n".join([f"GET /a?b=c HTTP/{version}", "Host: chat.example", *lines, "", ""])
            client = await through.http()
            await client.stream.send_all(text.encode())
            assert (await client.receive()).status == 200
        nursery.cancel_scope.cancel()
    return upstream.heads[0]


async def test_an_upstream_is_told_who_the_client_is(tmp_path: Path) -> None:
    head = await relayed(tmp_path)
    assert head.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: chat.example\r\n")
    assert lines_of(head, "x-forwarded-for") == ["127.0.0.1"]
    assert lines_of(head, "x-forwarded-proto") == ["http"]
    assert lines_of(head, "x-forwarded-host") == ["chat.example"]
    assert lines_of(head, "forwarded") == ['for=127.0.0.1;proto=http;host="chat.example"']


@pytest.mark.parametrize("name", FORWARDING)
async def test_what_a_client_says_of_itself_is_dropped(tmp_path: Path, name: str) -> None:
    head = await relayed(tmp_path, f"{name}: 6.6.6.6", "X-Kept: yes")
    assert b"6.6.6.6" not in head
    assert lines_of(head, "x-kept") == ["yes"]
    assert lines_of(head, "x-forwarded-for") == ["127.0.0.1"]


@pytest.mark.parametrize("named", ["X-Forwarded-For", "Forwarded, X-Forwarded-For, x-forwarded-proto", "close, Host"])
async def test_connection_strips_nothing_that_the_proxy_says(tmp_path: Path, named: str) -> None:
    head = await relayed(tmp_path, f"Connection: {named}")
    assert lines_of(head, "x-forwarded-for") == ["127.0.0.1"]
    assert lines_of(head, "x-forwarded-proto") == ["http"]
    assert len(lines_of(head, "forwarded")) == 1
    assert lines_of(head, "host") == ["chat.example"]
    assert lines_of(head, "connection") == ["keep-alive"]


async def test_what_is_between_neighbours_goes_no_further(tmp_path: Path) -> None:
    lines = ["Connection: keep-alive, X-Mine", "X-Mine: 1", "Keep-Alive: timeout=5", "TE: trailers", "Upgrade: h2c"]
    head = await relayed(tmp_path, *lines, "Proxy-Authorization: x", "Proxy-Connection: x", "X-Other: 2")
    for gone in ("x-mine", "keep-alive", "te", "upgrade", "proxy-authorization", "proxy-connection"):
        assert lines_of(head, gone) == []
    assert lines_of(head, "x-other") == ["2"]


async def test_a_trusted_peers_word_is_taken_and_added_to(tmp_path: Path) -> None:
    lines = ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: outside.example"]
    head = await relayed(tmp_path, *lines, "Forwarded: for=203.0.113.9", trusted="127.0.0.0/8")
    assert lines_of(head, "x-forwarded-for") == ["203.0.113.9, 127.0.0.1"]
    assert lines_of(head, "x-forwarded-proto") == ["https"]
    assert lines_of(head, "x-forwarded-host") == ["outside.example"]
    assert lines_of(head, "forwarded") == ['for=203.0.113.9, for=127.0.0.1;proto=https;host="outside.example"']


async def test_old_clients_need_no_host(tmp_path: Path) -> None:
    head = await relayed(tmp_path, version="1.0")
    assert head.startswith(b"GET /a?b=c HTTP/1.0\r\n")
    assert lines_of(head, "connection") == ["close"]


TRUST = Trust(networks("trusted", "10.0.0.0/8, 127.0.0.0/8, fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("203.0.113.1", ["X-Forwarded-For: 6.6.6.6"], "203.0.113.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1"], "203.0.113.9"),
        ("10.0.0.1", ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
        # Nobody trusted has said anything that can be read, so nothing before it counts either.
        ("10.0.0.1", ["X-Forwarded-For: 6.6.6.6, garbage"], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For: 6.6.6.6, "], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For: 10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For: ::ffff:203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["Forwarded: for=6.6.6.6, for=203.0.113.9;proto=http"], "203.0.113.9"),
        ("fd00::1", ['Forwarded: for="[2001:db8::7]:4711"'], "2001:db8::7"),
        ("fd00::1", ["Forwarded: for=_hidden"], "fd00::1"),
    ],
)
def test_the_client_is_the_last_one_that_is_not_trusted(peer: str, lines: list[str], client: str) -> None:
    head = parse_head("\r\n".join(["GET / HTTP/1.1", "Host: x", *lines, "", ""]).encode())
    assert TRUST.client(head, Client(peer, 1, False)).host == client


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", ""),
    ],
)
def test_connections_are_counted_by_what_one_customer_has(host: str, key: str) -> None:
    assert address_key(host) == key
