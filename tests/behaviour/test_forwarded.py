"""The client's address behind proxies that relay, and that nobody else can claim one."""

from __future__ import annotations

import pytest

from rtserver import Server, Socket
from rtserver.errors import ConfigurationError
from tests.behaviour.support import PATH, Headers, Record, Serve, sid_of

POLLING = "EIO=4&transport=polling"


async def address_of(serve: Serve, headers: Headers, trusted: str) -> tuple[str, bool]:
    record = Record()
    io = Server(trusted_proxies=trusted)

    @io.on_connect
    def seen(socket: Socket) -> None:
        record.add((socket.handshake.address, socket.handshake.secure))

    site = await serve(io)
    sid = sid_of((await site.get(POLLING, headers)).text)
    await site.request("POST", f"{PATH}?{POLLING}&sid={sid}", b"40")
    found: tuple[str, bool] = await record.next()
    return found


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 127.0.0.9, 127.0.0.8", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, nonsense", "127.0.0.1"),
        ("198.51.100.1, <script>, 127.0.0.8", "127.0.0.8"),
        ("", "127.0.0.1"),
        ("127.0.0.9", "127.0.0.9"),
    ],
)
async def test_the_last_address_that_is_no_proxys_is_the_clients(serve: Serve, chain: str, expected: str) -> None:
    address, _ = await address_of(serve, (("X-Forwarded-For", chain),), "127.0.0.0/8")
    assert address == expected


@pytest.mark.parametrize(
    ("scheme", "secure"),
    [("https", True), ("HTTPS", True), ("http, https", True), ("https, http", False), ("x", False)],
)
async def test_a_trusted_proxy_says_whether_the_client_came_over_tls(serve: Serve, scheme: str, secure: bool) -> None:
    headers = (("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", scheme))
    assert await address_of(serve, headers, "127.0.0.1, 10.0.0.0/8") == ("203.0.113.7", secure)


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8,::1"])
async def test_a_client_that_is_no_trusted_proxy_is_not_believed(serve: Serve, trusted: str) -> None:
    headers = (("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"))
    assert await address_of(serve, headers, trusted) == ("127.0.0.1", False)


@pytest.mark.parametrize("value", ["everybody", "10.0.0.1/8", 7])
def test_what_is_no_network_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        Server(trusted_proxies=value)
