"""Fetching keys from an identity provider that listens on a socket, and may be anything but nice."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import jwt
import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric import ec

from rtserver import ConfigurationError, Server, Socket
from rtserver.client import ConnectError
from rtserver.middleware.auth import JWTAuth, KeySet
from rtserver.middleware.auth.jwks import MAX_BYTES, RETRY_AFTER, KeysUnavailable, fetch_document
from rtserver.testing import open_server

PRIVATE = ec.generate_private_key(ec.SECP256R1())
PUBLIC = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(PRIVATE.public_key()))
DOCUMENT = json.dumps({"keys": [{**PUBLIC, "kid": "one", "alg": "ES256", "use": "sig"}]}).encode()

Answer = Callable[[trio.SocketStream], Awaitable[None]]


def answering(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    async def answer(stream: trio.SocketStream) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        await stream.send_all("\r\n".join(lines).encode() + body)

    return answer


@asynccontextmanager
async def provider(answer: Answer) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Its address, and the requests that it has got."""
    requests: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        requests.append(head)
        try:
            await answer(stream)
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/keys", requests
        nursery.cancel_scope.cancel()


def token(kid: str = "one", private: Any = PRIVATE) -> str:
    claims = {"sub": "ann", "exp": int(time.time()) + 300}
    return jwt.encode(claims, private, "ES256", headers={"kid": kid})


def build(keys: KeySet) -> Server:
    io = Server(middleware=[JWTAuth(keys, algorithms=["ES256"], refusal_delay=0)])

    @io.on("who")
    def who(socket: Socket) -> str:
        name: str = socket.user.id
        return name

    return io


async def test_tokens_are_verified_with_keys_that_are_fetched_once() -> None:
    async with provider(answering(DOCUMENT)) as (url, requests), open_server(build(KeySet(url))) as server:
        for _ in range(3):
            async with server.socket(auth={"token": token()}) as client:
                assert await client.call("who") == "ann"
        for bad in (token("two"), token(private=ec.generate_private_key(ec.SECP256R1()))):
            with pytest.raises(ConnectError, match="authentication failed"):
                async with server.socket(auth={"token": bad}):
                    pass
        assert len(requests) == 1


async def test_a_provider_that_is_away_counts_against_no_client(
    clock: trio.testing.MockClock, log_output: list[Any]
) -> None:
    documents: list[bytes] = []

    def fetch(url: str) -> bytes:
        if not documents:
            raise OSError("no route to host")
        return documents[0]

    io = build(KeySet("https://id.example/keys", fetch=fetch))
    async with open_server(io) as server:
        for _ in range(5):
            with pytest.raises(ConnectError, match="authentication failed"):
                async with server.socket(auth={"token": token()}):
                    pass
        (auth,) = io.registry.middleware
        assert isinstance(auth, JWTAuth)
        assert len(auth._backoff) == 0
        documents.append(DOCUMENT)
        clock.jump(RETRY_AFTER)
        async with server.socket(auth={"token": token()}) as client:
            assert await client.call("who") == "ann"
    assert len([line for line in log_output if line["event"] == "jwks_fetch_failed"]) == 1


async def test_everybody_waits_for_the_first_fetch_and_is_told_when_it_fails() -> None:
    asked = 0

    def fetch(url: str) -> bytes:
        nonlocal asked
        asked += 1
        raise OSError("no route to host")

    keys = KeySet("https://id.example/keys", fetch=fetch)
    refused = 0

    async def ask() -> None:
        nonlocal refused
        with pytest.raises(KeysUnavailable):
            await keys.key("one")
        refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert (asked, refused) == (1, 20)


async def fetch(url: str, *, within: float = 5.0) -> bytes:
    return await trio.to_thread.run_sync(lambda: fetch_document(url, timeout=within))


async def test_a_document_is_fetched_as_it_is() -> None:
    async with provider(answering(DOCUMENT)) as (url, requests):
        assert await fetch(url) == DOCUMENT
    assert requests[0].startswith(b"GET /keys HTTP/1.1\r\n")


async def test_a_redirection_leads_nowhere() -> None:
    async with (
        provider(answering(DOCUMENT)) as (elsewhere, asked),
        provider(answering(b"", "302 Found", f"Location: {elsewhere}")) as (url, _),
    ):
        with pytest.raises(OSError, match="302"):
            await fetch(url)
    assert asked == []


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error"])
async def test_another_status_is_no_document(status: str) -> None:
    async with provider(answering(DOCUMENT, status)) as (url, _):
        with pytest.raises(OSError, match=status[:3]):
            await fetch(url)


async def test_a_document_without_end_is_given_up() -> None:
    async def pour(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            await stream.send_all(b" " * 65_536)

    async with provider(pour) as (url, _):
        with pytest.raises(ValueError, match="too large"):
            await fetch(url)
    assert len(DOCUMENT) < MAX_BYTES


async def test_a_document_that_drips_is_given_up() -> None:
    async def drip(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            await stream.send_all(b" ")

    async with provider(drip) as (url, _):
        with pytest.raises(TimeoutError):
            await fetch(url, within=0.2)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "keys",
        "http://id.example/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://localhost@evil.example/keys",
        "http://localhostile.example/keys",
        "file:///etc/passwd",
        "https://",
        "http://[::1",
        "ftp://127.0.0.1/keys",
    ],
)
def test_an_address_that_others_can_answer_for_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="jwks url"):
        KeySet(url)


@pytest.mark.parametrize("url", ["https://id.example/keys", "http://[::1]:8080/keys", "http://localhost/keys"])
def test_an_address_with_tls_or_of_this_machine_is_taken(url: str) -> None:
    KeySet(url)
