"""Pages that may use the server, through real sockets of both doors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rtserver import ConfigurationError, Handshake, Server
from rtserver.middleware import AllowedOrigins
from rtserver.middleware.auth import Auth, User
from tests.behaviour.support import Serve

POLLING = "EIO=4&transport=polling"
WEBSOCKET = "EIO=4&transport=websocket"
FORBIDDEN = (403, '{"code":4,"message":"origin not allowed"}')


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://app.example", True),
        ("HTTPS://APP.EXAMPLE", True),
        ("http://localhost", True),
        ("https://a.b.wild.example", True),
        ("capacitor://localhost", True),
        ("http://app.example", False),
        ("https://app.example:8443", False),
        ("https://app.example.evil.example", False),
        ("https://evilapp.example", False),
        ("https://wild.example", False),
        ("https://evilwild.example", False),
        ("https://evil.example/.wild.example", False),
        ("https://evil.example#.wild.example", False),
        ("https://user@.wild.example", False),
        ("http://localhost:81", False),
        ("null", False),
        ("", False),
        ("*", False),
    ],
)
async def test_only_pages_on_the_list_open_sessions(serve: Serve, origin: str | None, allowed: bool) -> None:
    listed = ["https://app.example", "https://*.wild.example", "capacitor://localhost"]
    site = await serve(Server(cors="*", middleware=[AllowedOrigins(listed)]))
    headers = [] if origin is None else [("Origin", origin)]
    polling = await site.get(POLLING, headers=headers)
    websocket = (await site.upgrade(WEBSOCKET, headers=headers)).answer
    if allowed:
        assert (polling.status, websocket.status) == (200, 101)
    else:
        assert (polling.facts, websocket.facts) == (FORBIDDEN, FORBIDDEN)
        assert site.io.engine.sessions == {}


async def test_a_list_may_leave_out_the_own_host_and_those_who_name_none(serve: Serve) -> None:
    site = await serve(Server(middleware=[AllowedOrigins(["https://app.example"], own_host=False, required=True)]))
    assert (await site.get(POLLING)).facts == FORBIDDEN
    assert (await site.get(POLLING, headers=[("Origin", "http://localhost")])).facts == FORBIDDEN


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_namespace_may_have_a_list_of_its_own(serve: Serve, transport: str) -> None:
    io = Server(cors="*")
    guard = AllowedOrigins(["https://staff.example"])
    io.of("/staff").use(guard)
    site = await serve(io)
    foreign = [("Origin", "https://app.example")]
    if transport == "websocket":
        websocket = await site.upgrade(WEBSOCKET, headers=foreign)
        await websocket.receive()
        await websocket.send("40/staff,")
        answer: Any = await websocket.receive()
    else:
        sid = json.loads((await site.get(POLLING, headers=foreign)).text[1:])["sid"]
        await site.post(f"{POLLING}&sid={sid}", b"40/staff,", headers=foreign)
        answer = (await site.get(f"{POLLING}&sid={sid}", headers=foreign)).text
    assert answer == '44/staff,{"message":"origin not allowed"}'
    assert io.of("/staff").sockets == {}
    assert guard.refused == 1


async def test_foreign_pages_never_get_as_far_as_authentication(serve: Serve, log_output: list[Any]) -> None:
    asked: list[Handshake] = []

    def check(handshake: Handshake) -> User:
        asked.append(handshake)
        return User("ann")

    site = await serve(Server(cors="*", middleware=[AllowedOrigins(["https://app.example"]), Auth(check)]))
    evil = [("Origin", "https://evil.example"), ("Cookie", "token=stolen")]
    assert (await site.upgrade(WEBSOCKET, headers=evil)).answer.facts == FORBIDDEN
    assert asked == []
    (line,) = [line for line in log_output if line["event"] == "origin_refused"]
    assert line["origin"] == "https://evil.example"
    assert "stolen" not in str(log_output)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "",
        "app.example",
        "https://",
        "https://app.example/path",
        "https://app.example:443",
        "http://app.example:80",
        "https://app.example:port",
        "https://user@app.example",
        "https://app.*.example",
        "https://*.",
        "https://[::1",
        "https://bücher.example",
    ],
)
def test_what_no_browser_writes_is_not_listed(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="origins"):
        AllowedOrigins([origin])


def test_one_origin_is_not_a_list() -> None:
    with pytest.raises(ConfigurationError, match="origins"):
        AllowedOrigins("https://app.example")
