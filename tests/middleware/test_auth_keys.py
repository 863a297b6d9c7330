"""Keys that an identity provider publishes, and addresses that fail."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric import rsa

from rtserver.middleware.auth.backoff import FORGET_AFTER, LONGEST_WAIT, MAX_ADDRESSES, Backoff
from rtserver.middleware.auth.jwks import MIN_INTERVAL, KeySet, read_keys

URL = "https://id.example/keys"
PRIVATE = rsa.generate_private_key(65537, 2048)


def document(*kids: str) -> bytes:
    entry = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(PRIVATE.public_key()))
    return json.dumps({"keys": [{**entry, "kid": kid, "use": "sig", "alg": "RS256"} for kid in kids]}).encode()


class Provider:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.document: bytes | None = document("one")

    def fetch(self, url: str) -> bytes:
        self.asked += 1
        if self.document is None:
            raise OSError("no route to host")
        return self.document


async def test_keys_are_fetched_once_and_again_when_old(autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider()
    keys = KeySet(URL, lifetime=100, fetch=provider.fetch)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(keys.key, "one")
    assert provider.asked == 1
    await trio.sleep(101)
    assert await keys.key("one") is not None
    assert provider.asked == 2


async def test_unknown_ids_do_not_make_it_ask_again_and_again(autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider()
    keys = KeySet(URL, fetch=provider.fetch)
    for number in range(100):
        assert await keys.key(f"made up {number}") is None
    assert provider.asked == 1
    provider.document = document("one", "two")
    await trio.sleep(MIN_INTERVAL)
    assert await keys.key("two") is not None
    assert provider.asked == 2


async def test_known_keys_serve_on_while_the_provider_is_away(autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider()
    keys = KeySet(URL, lifetime=100, fetch=provider.fetch)
    assert await keys.key("one") is not None
    for broken in (None, b"garbage", b"[]", b"{}"):
        provider.document = broken
        await trio.sleep(101)
        assert await keys.key("one") is not None


@pytest.mark.parametrize("wire", [b"", b"[]", b"{}", b'{"keys":{}}'])
def test_what_is_no_key_set_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"key set|Expecting"):
        read_keys(wire)


def test_only_keys_that_are_understood_are_kept() -> None:
    good = json.loads(document("one"))["keys"][0]
    odd: list[Any] = [
        None,
        7,
        {},
        {"kid": "x"},
        {"kid": "x", "kty": "oct", "k": "c2VjcmV0"},
        {"kid": "x", "kty": "RSA"},
    ]
    encryption = {**good, "kid": "enc", "use": "enc"}
    assert list(read_keys(json.dumps({"keys": [*odd, encryption, good]}).encode())) == ["one"]
    many = json.dumps({"keys": [{**good, "kid": str(number)} for number in range(150)]}).encode()
    assert len(read_keys(many)) == 100


def test_waits_double_up_to_a_bound() -> None:
    backoff = Backoff(free=2)
    now = 0.0
    waits = []
    for _ in range(14):
        backoff.failed("192.0.2.1", now)
        start = now
        while backoff.blocked("192.0.2.1", now):
            now += 0.5
        waits.append(now - start)
    assert waits[:6] == [0, 0, 1, 2, 4, 8]
    assert max(waits) == LONGEST_WAIT
    assert not backoff.blocked("192.0.2.2", now)


def test_a_success_makes_up_for_one_failure_so_an_account_buys_no_guesses() -> None:
    backoff = Backoff(free=2)
    for _ in range(2):
        backoff.failed("192.0.2.1", 0)
    backoff.succeeded("192.0.2.1")
    backoff.failed("192.0.2.1", 0)
    assert not backoff.blocked("192.0.2.1", 0)
    backoff.failed("192.0.2.1", 0)
    assert backoff.blocked("192.0.2.1", 0)
    for _ in range(3):
        backoff.succeeded("192.0.2.1")
    assert len(backoff) == 0


def test_failures_are_forgotten_in_time() -> None:
    backoff = Backoff(free=1)
    backoff.failed("192.0.2.1", 0)
    backoff.failed("192.0.2.1", FORGET_AFTER + 1)
    assert not backoff.blocked("192.0.2.1", FORGET_AFTER + 1)


def test_the_table_is_bounded() -> None:
    backoff = Backoff(free=0)
    for number in range(MAX_ADDRESSES + 100):
        backoff.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0)
    assert len(backoff) == MAX_ADDRESSES
