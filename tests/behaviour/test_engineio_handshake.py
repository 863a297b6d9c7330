from __future__ import annotations

import re

import pytest
import trio

from rtserver import RequestRefused, Server
from rtserver.config import Cookie
from rtserver.core.handshake import Handshake
from tests.behaviour.support import ACCEPT, KEY, PATH, Serve, sid_of

UNKNOWN_TRANSPORT = (400, '{"code":0,"message":"Transport unknown"}')
UNKNOWN_SID = (400, '{"code":1,"message":"Session ID unknown"}')
BAD_HANDSHAKE_METHOD = (400, '{"code":2,"message":"Bad handshake method"}')
BAD_REQUEST = (400, '{"code":3,"message":"Bad request"}')
FORBIDDEN = (403, '{"code":4,"message":"Forbidden"}')
UNSUPPORTED_VERSION = (400, '{"code":5,"message":"Unsupported protocol version"}')

POLLING = "EIO=4&transport=polling"
WEBSOCKET = "EIO=4&transport=websocket"
AS_UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)


async def test_a_polling_handshake_is_answered_with_the_open_packet(serve: Serve) -> None:
    site = await serve(Server())
    answer = await site.get(POLLING)
    sid = sid_of(answer.text)
    assert answer.status == 200
    assert answer.headers == (("content-type", "text/plain; charset=UTF-8"), ("cache-control", "no-store"))
    assert answer.text == (
        f'0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}'
    )
    assert answer.header("content-length") == str(len(answer.body))


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_the_front_door_answers_a_handshake_with_exactly_these_bytes(serve: Serve) -> None:
    site = await serve(Server())
    answer = await site.get(POLLING)
    date = answer.header("date")
    assert date is not None
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date)
    assert answer.lines == (
        "HTTP/1.1 200 OK",
        "Content-Type: text/plain; charset=UTF-8",
        "cache-control: no-store",
        f"Content-Length: {len(answer.body)}",
        f"Date: {date}",
        "Connection: keep-alive",
    )


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_the_front_door_answers_an_upgrade_with_exactly_these_bytes(serve: Serve) -> None:
    site = await serve(Server())
    websocket = await site.upgrade(WEBSOCKET)
    assert websocket.answer.lines == (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {ACCEPT}",
    )


async def test_a_websocket_handshake_begins_with_an_open_packet_that_offers_no_upgrade(serve: Serve) -> None:
    site = await serve(Server())
    websocket = await site.upgrade(WEBSOCKET)
    assert websocket.answer.status == 101
    assert websocket.answer.header("sec-websocket-accept") == ACCEPT
    opened = await websocket.receive()
    assert isinstance(opened, str)
    assert opened == (
        f'0{{"sid":"{sid_of(opened)}","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}'
    )


async def test_settings_are_advertised_as_they_are_below_a_second_too(serve: Serve) -> None:
    site = await serve(
        Server(ping_interval=0.25, ping_timeout=0.5, max_http_buffer_size=100, allow_upgrades=False, cors="*")
    )
    answer = await site.get(POLLING)
    assert answer.text.partition(",")[2] == '"upgrades":[],"pingInterval":250,"pingTimeout":500,"maxPayload":100}'


async def test_no_upgrade_is_offered_without_the_websocket_transport(serve: Serve) -> None:
    site = await serve(Server(transports=("polling",)))
    answer = await site.get(POLLING)
    assert '"upgrades":[],' in answer.text
    assert (await site.upgrade(WEBSOCKET)).answer.facts == UNKNOWN_TRANSPORT


@pytest.mark.parametrize(
    ("method", "query", "facts"),
    [
        ("GET", "EIO=4", UNKNOWN_TRANSPORT),
        ("GET", "", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=abc", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=polling&transport=polling", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=polling&sid=unknown", UNKNOWN_SID),
        ("POST", "EIO=4&transport=polling&sid=unknown", UNKNOWN_SID),
        ("POST", POLLING, BAD_HANDSHAKE_METHOD),
        ("PUT", POLLING, BAD_HANDSHAKE_METHOD),
        ("OPTIONS", POLLING, BAD_HANDSHAKE_METHOD),
        ("DELETE", POLLING, BAD_HANDSHAKE_METHOD),
        ("GET", WEBSOCKET, BAD_REQUEST),
        ("GET", "transport=polling", UNSUPPORTED_VERSION),
        ("GET", "EIO=abc&transport=polling", UNSUPPORTED_VERSION),
        ("GET", "EIO=3&transport=polling", UNSUPPORTED_VERSION),
        ("GET", "EIO=5&transport=polling", UNSUPPORTED_VERSION),
    ],
)
async def test_a_request_that_cannot_be_served_is_refused_by_the_table(
    serve: Serve, method: str, query: str, facts: tuple[int, str]
) -> None:
    site = await serve(Server())
    answer = await site.request(method, f"{PATH}?{query}")
    assert answer.facts == facts
    assert answer.headers == (("content-type", "application/json"),)


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        ("EIO=4", UNKNOWN_TRANSPORT),
        ("EIO=4&transport=abc", UNKNOWN_TRANSPORT),
        (POLLING, BAD_REQUEST),
        ("EIO=4&transport=websocket&sid=unknown", UNKNOWN_SID),
        ("EIO=3&transport=websocket", UNSUPPORTED_VERSION),
        ("transport=websocket", UNSUPPORTED_VERSION),
    ],
)
async def test_an_upgrade_that_cannot_be_served_is_refused_by_the_table(
    serve: Serve, query: str, facts: tuple[int, str]
) -> None:
    site = await serve(Server())
    assert (await site.upgrade(query)).answer.facts == facts


async def test_a_path_that_is_not_the_engines_is_not_found(serve: Serve) -> None:
    site = await serve(Server())
    assert (await site.request("GET", "/socket.io")).status == 404
    assert (await site.request("GET", "/")).status == 404


async def test_the_path_is_a_setting(serve: Serve) -> None:
    site = await serve(Server(path="/live"))
    assert (await site.request("GET", f"/live/?{POLLING}")).status == 200
    assert (await site.get(POLLING)).status == 404


@pytest.mark.parametrize("query", [POLLING + "&t=abc", "transport=polling&EIO=4", "EIO=4&b64=1&transport=polling&j=0"])
async def test_other_parameters_change_nothing(serve: Serve, query: str) -> None:
    site = await serve(Server())
    assert (await site.get(query)).status == 200


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_another_websocket_version_is_told_ours(serve: Serve) -> None:
    site = await serve(Server())
    headers = [pair if pair[0] != "Sec-WebSocket-Version" else (pair[0], "8") for pair in AS_UPGRADE]
    answer = await site.request("GET", f"{PATH}?{WEBSOCKET}", headers=headers)
    assert answer.status == 426
    assert answer.header("sec-websocket-version") == "13"


# The cookie.


async def test_a_cookie_is_set_by_the_polling_handshake_only(serve: Serve) -> None:
    site = await serve(Server(cookie=True))
    answer = await site.get(POLLING)
    sid = sid_of(answer.text)
    assert answer.header("set-cookie") == f"io={sid}; Path=/; HttpOnly; SameSite=Lax"
    posted = await site.post(f"{POLLING}&sid={sid}", b"40")
    assert posted.header("set-cookie") is None
    polled = await site.get(f"{POLLING}&sid={sid}")
    assert polled.status == 200
    assert polled.header("set-cookie") is None
    assert (await site.upgrade(WEBSOCKET)).answer.header("set-cookie") is None


async def test_a_cookie_has_the_attributes_that_were_asked_for(serve: Serve) -> None:
    cookie = Cookie("lb", path="/live", http_only=False, same_site="none", secure=True, max_age=60)
    site = await serve(Server(cookie=cookie))
    answer = await site.get(POLLING)
    assert answer.header("set-cookie") == f"lb={sid_of(answer.text)}; Max-Age=60; Path=/live; Secure; SameSite=None"


async def test_no_cookie_is_set_unless_asked_for(serve: Serve) -> None:
    site = await serve(Server())
    assert (await site.get(POLLING)).header("set-cookie") is None


# allow_request.


def refuse(handshake: Handshake) -> bool:
    return handshake.query.get("deny") is None


async def refuse_later(handshake: Handshake) -> bool | None:
    await trio.lowlevel.checkpoint()
    return None if handshake.query.get("deny") is None else False


def refuse_with_words(handshake: Handshake) -> None:
    if "deny" in handshake.query:
        raise RequestRefused("not today", status=429, retry_after=7)


async def refuse_with_words_later(handshake: Handshake) -> None:
    await trio.lowlevel.checkpoint()
    refuse_with_words(handshake)


@pytest.mark.parametrize("check", [refuse, refuse_later])
async def test_allow_request_refuses_with_false(serve: Serve, check: object) -> None:
    site = await serve(Server(allow_request=check))  # type: ignore[arg-type]
    assert (await site.get(POLLING)).status == 200
    assert (await site.upgrade(WEBSOCKET)).answer.status == 101
    assert (await site.get(f"{POLLING}&deny=1")).facts == FORBIDDEN
    assert (await site.upgrade(f"{WEBSOCKET}&deny=1")).answer.facts == FORBIDDEN


@pytest.mark.parametrize("check", [refuse_with_words, refuse_with_words_later])
async def test_allow_request_refuses_with_a_message(serve: Serve, check: object) -> None:
    site = await serve(Server(allow_request=check))  # type: ignore[arg-type]
    assert (await site.get(POLLING)).status == 200
    for answer in (await site.get(f"{POLLING}&deny=1"), (await site.upgrade(f"{WEBSOCKET}&deny=1")).answer):
        assert answer.facts == (429, '{"code":4,"message":"not today"}')
        assert answer.header("retry-after") == "7"


async def test_a_check_that_fails_lets_nobody_in_and_says_nothing(serve: Serve) -> None:
    def broken(handshake: Handshake) -> bool:
        raise RuntimeError("secret")

    site = await serve(Server(allow_request=broken))
    assert (await site.get(POLLING)).facts == FORBIDDEN
    assert (await site.upgrade(WEBSOCKET)).answer.facts == FORBIDDEN


async def test_allow_request_is_asked_for_handshakes_only(serve: Serve) -> None:
    asked: list[str] = []

    def check(handshake: Handshake) -> None:
        asked.append(handshake.url)

    site = await serve(Server(allow_request=check))
    peer = await site.open_upgraded()
    await peer.join()
    assert asked == [f"{PATH}?{POLLING}"]


async def test_the_clients_own_headers_and_query_reach_allow_request(serve: Serve) -> None:
    seen: list[Handshake] = []

    def check(handshake: Handshake) -> None:
        seen.append(handshake)

    site = await serve(Server(allow_request=check))
    await site.get(f"{POLLING}&token=a%20b", headers=[("X-Team", "blue"), ("Cookie", "a=1; b=2")])
    (handshake,) = seen
    assert handshake.headers["x-team"] == "blue"
    assert handshake.query["token"] == "a b"
    assert handshake.cookies == {"a": "1", "b": "2"}
    assert handshake.address == "127.0.0.1"
    assert not handshake.secure
