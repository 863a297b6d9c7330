"""What somebody can do who has got hold of the session id of a user: nothing."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest

from rtserver import Server, Socket
from rtserver.middleware.auth import Auth, JWTAuth, TokenAuth, User
from tests.behaviour.support import Serve, Site, sid_of

SECRET = "a secret of more than thirty-two characters"
UNKNOWN = (400, '{"code":1,"message":"Session ID unknown"}')
REFUSED = '44/other,{"message":"authentication failed"}'

Header = tuple[str, str]


def token(user: str, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time()) + 300, **claims}, SECRET, "HS256")


def shown(source: str, value: str) -> Header:
    return ("Authorization", f"Bearer {value}") if source == "header" else ("Cookie", f"token={value}")


def build(auth: Auth) -> Server:
    io = Server(middleware=[auth])
    io.of("/other").use(auth)

    @io.on("who")
    def who(socket: Socket) -> str:
        user: User = socket.user
        return user.id

    return io


async def signed_in(site: Site, header: Header) -> str:
    """The query of a polling session that a user is on."""
    opened = await site.get("EIO=4&transport=polling", [header])
    query = f"EIO=4&transport=polling&sid={sid_of(opened.text)}"
    assert (await site.post(query, b"40", [header])).facts == (200, "ok")
    assert (await site.get(query, [header])).text.startswith('40{"sid"')
    return query


sources = pytest.mark.parametrize("source", ["header", "cookie"])


@sources
async def test_every_request_must_show_a_token_of_the_user(serve: Serve, source: Any, log_output: list[Any]) -> None:
    site = await serve(build(JWTAuth(SECRET, sources=[source])))
    ann = shown(source, token("ann"))
    query = await signed_in(site, ann)
    for strange in ([], [shown(source, token("eve"))], [shown(source, "garbage")]):
        assert (await site.post(query, b'421["who"]', strange)).facts == UNKNOWN
        assert (await site.get(query, strange)).facts == UNKNOWN
    # It has cost the user nothing.
    assert (await site.post(query, b'421["who"]', [ann])).facts == (200, "ok")
    assert (await site.get(query, [ann])).text == '431["ann"]'
    assert "session_of_another_user" in [line["event"] for line in log_output]


@sources
async def test_a_newer_token_of_the_same_user_will_do(serve: Serve, source: Any) -> None:
    site = await serve(build(JWTAuth(SECRET, sources=[source])))
    query = await signed_in(site, shown(source, token("ann")))
    newer = shown(source, token("ann", jti="2"))
    for number in (1, 2):
        assert (await site.post(query, f'42{number}["who"]'.encode(), [newer])).facts == (200, "ok")
        assert (await site.get(query, [newer])).text == f'43{number}["ann"]'


@pytest.mark.parametrize("strange", [None, token("eve")], ids=["nobody", "another user"])
async def test_a_websocket_is_opened_with_the_cookie_of_the_user(serve: Serve, strange: str | None) -> None:
    site = await serve(build(JWTAuth(SECRET, sources=["cookie"])))
    ann = shown("cookie", token("ann"))
    query = (await signed_in(site, ann)).replace("polling", "websocket")
    stolen = await site.upgrade(query, [] if strange is None else [shown("cookie", strange)])
    assert stolen.answer.status == 400
    own = await site.upgrade(query, [ann])
    assert own.answer.status == 101


async def test_a_browser_cannot_send_a_header_with_a_websocket_and_needs_not(serve: Serve) -> None:
    site = await serve(build(JWTAuth(SECRET, sources=["header"])))
    query = (await signed_in(site, shown("header", token("ann")))).replace("polling", "websocket")
    assert (await site.upgrade(query, [shown("header", token("eve"))])).answer.status == 400
    assert (await site.upgrade(query)).answer.status == 101


async def test_opaque_tokens_bind_too(serve: Serve) -> None:
    site = await serve(build(TokenAuth({"a" * 16: "ann", "e" * 16: "eve"})))
    ann = shown("header", "a" * 16)
    query = await signed_in(site, ann)
    assert (await site.get(query, [shown("header", "e" * 16)])).facts == UNKNOWN
    assert (await site.post(query, b'421["who"]', [ann])).facts == (200, "ok")


@pytest.mark.parametrize("kind", ["polling", "websocket"])
async def test_a_session_is_of_one_user_in_every_namespace(serve: Serve, kind: Any) -> None:
    site = await serve(build(JWTAuth(SECRET, refusal_delay=0)))
    peer = await site.open(kind)
    await peer.join(auth=json.dumps({"token": token("ann")}))
    await peer.send("40/other," + json.dumps({"token": token("eve")}))
    assert await peer.receive() == REFUSED
    await peer.join("/other", json.dumps({"token": token("ann", jti="2")}))
    # Whose it is was settled for good: leaving does not free it.
    await peer.send("41/other,", "41")
    await peer.send("40/other," + json.dumps({"token": token("eve")}))
    assert await peer.receive() == REFUSED
