from __future__ import annotations

import pytest

from rtserver import Server
from rtserver.config import Cors
from tests.behaviour.support import PATH, Serve, sid_of

POLLING = "EIO=4&transport=polling"
WEBSOCKET = "EIO=4&transport=websocket"
FORBIDDEN = (403, '{"code":4,"message":"Forbidden"}')
FRIEND = ("Origin", "http://a.example")
STRANGER = ("Origin", "http://evil.example")
OWN = ("Origin", "http://localhost")
PLAIN = (("content-type", "text/plain; charset=UTF-8"), ("cache-control", "no-store"))


def friendly() -> Server:
    return Server(cors=Cors(("http://a.example",), credentials=True))


async def test_an_allowed_origin_is_named_with_credentials(serve: Serve) -> None:
    site = await serve(friendly())
    answer = await site.get(POLLING, headers=[FRIEND])
    cors = (
        ("access-control-allow-origin", "http://a.example"),
        ("vary", "Origin"),
        ("access-control-allow-credentials", "true"),
    )
    assert answer.headers == PLAIN + cors
    posted = await site.post(f"{POLLING}&sid={sid_of(answer.text)}", b"40", headers=[FRIEND])
    assert posted.headers == (("content-type", "text/html"), ("cache-control", "no-store"), *cors)


async def test_a_refusal_carries_the_same_headers(serve: Serve) -> None:
    site = await serve(friendly())
    answer = await site.get("EIO=4&transport=abc", headers=[FRIEND])
    assert answer.status == 400
    assert answer.header("access-control-allow-origin") == "http://a.example"


@pytest.mark.parametrize("query", [POLLING, f"{POLLING}&sid=unknown", "EIO=4&transport=abc"])
async def test_a_foreign_origin_is_refused_on_polling(serve: Serve, query: str) -> None:
    site = await serve(friendly())
    answer = await site.get(query, headers=[STRANGER])
    assert answer.facts == FORBIDDEN
    assert answer.header("access-control-allow-origin") is None
    assert answer.header("vary") == "Origin"


async def test_a_foreign_origin_is_refused_in_a_session_too(serve: Serve) -> None:
    site = await serve(friendly())
    peer = await site.open_polling()
    assert (await peer.post(b"40", headers=[STRANGER])).facts == FORBIDDEN
    assert (await peer.get(headers=[STRANGER])).facts == FORBIDDEN
    await peer.join()


async def test_a_foreign_origin_is_refused_on_the_upgrade(serve: Serve) -> None:
    site = await serve(friendly())
    peer = await site.open_polling()
    assert (await site.upgrade(WEBSOCKET, headers=[STRANGER])).answer.facts == FORBIDDEN
    assert (await site.upgrade(f"{WEBSOCKET}&sid={peer.sid}", headers=[STRANGER])).answer.facts == FORBIDDEN
    assert (await site.upgrade(WEBSOCKET, headers=[FRIEND])).answer.status == 101


@pytest.mark.parametrize(
    "origin", ["null", "http://localhost.evil.example", "http://a.example.evil.example", "http://["]
)
async def test_what_only_looks_like_an_allowed_origin_is_foreign(serve: Serve, origin: str) -> None:
    site = await serve(friendly())
    assert (await site.get(POLLING, headers=[("Origin", origin)])).facts == FORBIDDEN


async def test_no_origin_is_allowed_and_no_origin_is_named(serve: Serve) -> None:
    site = await serve(friendly())
    answer = await site.get(POLLING)
    assert answer.status == 200
    assert answer.headers == (*PLAIN, ("vary", "Origin"))
    assert (await site.upgrade(WEBSOCKET)).answer.status == 101


async def test_without_cors_only_pages_of_the_own_host_are_let_in(serve: Serve) -> None:
    site = await serve(Server())
    assert (await site.get(POLLING, headers=[OWN])).headers == PLAIN
    assert (await site.upgrade(WEBSOCKET, headers=[OWN])).answer.status == 101
    assert (await site.get(POLLING, headers=[STRANGER])).facts == FORBIDDEN
    assert (await site.upgrade(WEBSOCKET, headers=[STRANGER])).answer.facts == FORBIDDEN


async def test_every_origin_is_a_star_without_credentials(serve: Serve) -> None:
    site = await serve(Server(cors=Cors("*", credentials=True)))
    for headers in ([], [STRANGER]):
        answer = await site.get(POLLING, headers=headers)
        assert answer.headers == (*PLAIN, ("access-control-allow-origin", "*"))
    assert (await site.upgrade(WEBSOCKET, headers=[STRANGER])).answer.status == 101


# Preflights.

ASK = (FRIEND, ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "x-foo"))


@pytest.mark.parametrize("query", [f"?{POLLING}", f"?{POLLING}&sid=unknown", ""])
async def test_a_preflight_is_granted_what_it_asks_for(serve: Serve, query: str) -> None:
    site = await serve(friendly())
    answer = await site.request("OPTIONS", PATH + query, headers=ASK)
    assert answer.facts == (204, "")
    assert answer.headers == (
        ("access-control-allow-origin", "http://a.example"),
        ("vary", "Origin, Access-Control-Request-Headers"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET,HEAD,PUT,PATCH,POST,DELETE"),
        ("access-control-allow-headers", "x-foo"),
    )


async def test_a_preflight_from_a_foreign_origin_is_granted_nothing(serve: Serve) -> None:
    site = await serve(friendly())
    answer = await site.request("OPTIONS", f"{PATH}?{POLLING}", headers=[STRANGER, *ASK[1:]])
    assert answer.status == 204
    assert answer.headers == (("vary", "Origin, Access-Control-Request-Headers"),)


async def test_a_preflight_is_answered_as_configured(serve: Serve) -> None:
    cors = Cors(
        "*", methods=("GET", "POST"), allowed_headers=("x-bar",), exposed_headers=("x-baz", "x-qux"), max_age=600
    )
    site = await serve(Server(cors=cors))
    answer = await site.request("OPTIONS", f"{PATH}?{POLLING}", headers=ASK)
    assert answer.headers == (
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "x-baz,x-qux"),
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "x-bar"),
        ("access-control-max-age", "600"),
    )


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_the_front_door_answers_a_preflight_with_no_body_and_stays_open(serve: Serve) -> None:
    site = await serve(friendly())
    client = await site.http()
    answer = await client.request("OPTIONS", f"{PATH}?{POLLING}", headers=ASK)
    assert answer.lines[0] == "HTTP/1.1 204 No Content"
    assert answer.header("content-length") == "0"
    assert (await client.request("GET", f"{PATH}?{POLLING}", headers=[FRIEND])).status == 200
