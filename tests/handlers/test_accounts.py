"""Accounts over HTTP: who may have which name, and who is let in."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import jwt
import pytest
import quart_trio
import trio
from argon2 import PasswordHasher
from sqlalchemy import update

from rtserver import ConfigurationError, EventRefused
from rtserver.client import ConnectError
from rtserver.handlers.accounts.accounts import Accounts
from rtserver.handlers.accounts.http import MAX_BODY, AccountRates
from rtserver.handlers.accounts.passwords import THREADS, Passwords
from rtserver.handlers.accounts.tokens import LIFETIME, SESSION, Tokens, load_secret
from rtserver.handlers.settings import ChatSettings
from rtserver.handlers.storage.database import Database
from rtserver.handlers.storage.tables import users
from rtserver.types import Secret
from tests.handlers.support import CHEAP, PATIENCE, SECRET, Chat, open_chat, settings_for, tokens

ANN = {"name": "Ann", "password": "correct horse"}


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with open_chat(database_url) as opened:
        yield opened


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'chat.db'}"


class CountingHasher(PasswordHasher):
    """Says how often it has worked."""

    verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.verified += 1
        return super().verify(hash, password)


async def test_who_registers_may_sign_in_and_join(chat: Chat) -> None:
    status, headers, session = await chat.http("register", ANN)
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert session["user"] == {"id": session["user"]["id"], "name": "Ann", "scopes": [], "guest": False}
    status, _, again = await chat.http("sign-in", {**ANN, "name": "aNN"})
    assert (status, again["user"]) == (200, session["user"])
    async with chat.server.socket("/chat", auth={"token": again["token"]}) as socket:
        state = await socket.call("chat:open")
        assert state["user"] == {"id": session["user"]["id"], "name": "Ann"}


async def test_wrong_names_and_wrong_passwords_are_told_the_same(chat: Chat) -> None:
    await chat.http("register", ANN)
    await chat.http("guest", {"name": "Guest"})
    answers = [
        await chat.http("sign-in", given)
        for given in (
            {**ANN, "password": "wrong horse"},
            {**ANN, "name": "Bob"},
            {**ANN, "name": "Guest"},
            {**ANN, "name": "x" * 100},
            {**ANN, "name": "a\0"},
            {**ANN, "password": "x" * 1000},
        )
    ]
    assert {status for status, _, _ in answers} == {401}
    assert len({str(body) for _, _, body in answers}) == 1


async def test_a_name_that_nobody_has_costs_as_much_work_as_one_that_somebody_has() -> None:
    hasher = CountingHasher(time_cost=1, memory_cost=8, parallelism=1)
    passwords = Passwords(hasher)
    known = await passwords.hash("correct horse")
    assert await passwords.check("correct horse", known) == (True, None)
    assert await passwords.check("correct horse", None) == (False, None)
    assert await passwords.check("a password that nobody has", None) == (False, None)
    assert hasher.verified == 3


async def test_hashes_are_made_in_few_threads_and_few_may_wait() -> None:
    passwords = Passwords(CHEAP, max_waiting=3)
    codes: list[str] = []

    async def sign_in() -> None:
        try:
            await passwords.hash("correct horse")
        except EventRefused as refused:
            codes.append(refused.code)

    async with trio.open_nursery() as nursery:
        for _ in range(THREADS + 3 + 2):
            nursery.start_soon(sign_in)
    assert codes == ["busy", "busy"]


async def test_a_hash_of_other_costs_is_made_anew() -> None:
    old = await Passwords(CHEAP).hash("correct horse")
    right, newer = await Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)).check(
        "correct horse", old
    )
    assert right
    assert newer is not None
    assert "t=2" in newer


@pytest.mark.parametrize("name", ["a", "x" * 33, "a\u200bb", "a\nb\x07", "  ", "\u202eabc"])
async def test_names_can_be_seen(file_url: str, name: str) -> None:
    async with open_chat(file_url) as chat:
        status, _, body = await chat.http("register", {**ANN, "name": name})
        assert (status, body["error"]["code"]) == (400, "invalid_name")


async def test_a_name_is_had_once(chat: Chat) -> None:
    await chat.http("register", ANN)
    for path, name in (
        ("register", "ann"),
        ("guest", "ANN"),
        ("guest", "Ａｎｎ"),
        ("register", " Ann "),
        ("guest", "Admin"),
    ):
        status, _, body = await chat.http(path, {**ANN, "name": name} if path == "register" else {"name": name})
        assert (status, body["error"]["code"]) == (409, "name_taken")


async def test_a_guest_without_a_name_is_given_one(chat: Chat) -> None:
    status, _, session = await chat.http("guest", {})
    assert status == 200
    assert session["user"]["guest"]
    assert session["user"]["name"].startswith("guest-")


@pytest.mark.parametrize("password", ["short", "x" * 257])
async def test_passwords_have_a_length(file_url: str, password: str) -> None:
    async with open_chat(file_url) as chat:
        status, _, body = await chat.http("register", {**ANN, "password": password})
        assert (status, body["error"]["code"]) == (400, "invalid_password")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_payload"),
        (b"\xff", {}, 400, "invalid_payload"),
        (b"[" * 3000, {}, 400, "invalid_payload"),
        (b'{"name":7,"password":"12345678"}', {}, 400, "invalid_payload"),
        (b'{"name":"Ann"}', {}, 400, "invalid_payload"),
        (b'{"name":"Ann","password":"12345678\\ud800"}', {}, 400, "invalid_payload"),
        (b" " * (MAX_BODY + 1), {}, 413, "too_large"),
        (b"name=Ann", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_type"),
        (b'{"name":"Ann","password":"12345678"}', {"Content-Type": "text/plain"}, 415, "unsupported_type"),
    ],
)
async def test_bodies_are_checked(file_url: str, body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    async with open_chat(file_url) as chat:
        for path in ("register", "sign-in"):
            answered, _, answer = await chat.http(path, body, more=headers)
            assert (answered, answer["error"]["code"]) == (status, code)


async def test_a_token_is_exchanged_for_a_newer_one_of_the_same_session(file_url: str) -> None:
    async with open_chat(file_url) as chat:
        _, _, session = await chat.http("guest", {"name": "Ann"})
        status, _, newer = await chat.http("refresh", {}, token=session["token"])
        assert (status, newer["user"]) == (200, session["user"])
        before, after = (
            jwt.decode(one["token"], SECRET, ["HS256"], audience="rtserver-chat") for one in (session, newer)
        )
        assert before["auth_time"] == after["auth_time"]
        assert newer["expires_at"] == after["exp"] == after["iat"] + LIFETIME


async def test_tokens_that_do_not_hold_are_not_exchanged(file_url: str) -> None:
    async with open_chat(file_url) as chat:
        stranger = Tokens("another secret, which is long enough too")
        gone = tokens().issue("nobody", "Nobody", "", guest=True)
        old = tokens().issue("nobody", "Nobody", "", guest=True, auth_time=0)
        expired = Tokens(SECRET, clock=lambda: 1_000).issue("nobody", "Nobody", "", guest=True)
        unsigned = jwt.encode({"sub": "admin"}, "", algorithm="none")
        forged = [one.token for one in (stranger.issue("a", "A", "", guest=False), gone, old, expired)]
        for token in (*forged, unsigned, "", "x" * 10_000, None):
            status, _, body = await chat.http("refresh", {}, token=token)
            assert (status, body["error"]["code"]) == (401, "invalid_token")


async def test_a_session_ends_some_day_however_often_it_is_renewed() -> None:
    now = 1_000_000.0
    issuing = Tokens(SECRET, lifetime=2 * SESSION, clock=lambda: now)
    token = issuing.issue("ann", "Ann", "", guest=False).token
    with pytest.raises(EventRefused) as refused:
        Tokens(SECRET, clock=lambda: now + SESSION + 1).read(token)
    assert refused.value.code == "invalid_token"


async def test_requests_are_counted_and_told_when_to_come_again(file_url: str) -> None:
    rates = AccountRates(new="2/min", attempts="3/min", names="1/min", refreshes="10000/min burst 1000")
    async with open_chat(file_url, settings=settings_for(file_url, rates=rates)) as chat:
        assert [(await chat.http("guest", {"name": ""}))[0] for _ in range(3)] == [200, 200, 429]
        assert await refused_until(chat, "register", ANN) > 0
        statuses = [(await chat.http("sign-in", {**ANN, "name": name}))[0] for name in ("a", "a", "b", "c")]
        assert statuses == [401, 429, 401, 429]
        with trio.fail_after(PATIENCE):
            while (await chat.http("refresh", {}, token="x"))[0] != 429:
                await trio.lowlevel.checkpoint()


async def refused_until(chat: Chat, path: str, body: Any) -> float:
    status, headers, answer = await chat.http(path, body)
    assert (status, answer["error"]["code"]) == (429, "rate_limited")
    assert int(headers["retry-after"]) >= answer["error"]["retry_after"]
    seconds: float = answer["error"]["retry_after"]
    return seconds


async def test_a_database_that_is_away_is_said_at_once_and_the_node_lives(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'no-folder' / 'chat.db'}"
    (tmp_path / "no-folder").write_text("a file where a folder should be")
    async with open_chat(url, wait=False) as chat:
        status, headers, body = await chat.http("guest", {"name": "Ann"})
        assert (status, headers["retry-after"], body["error"]["code"]) == (503, "1", "unavailable")
        issued = tokens().issue("ann", "Ann", "", guest=True).token
        async with chat.server.socket("/chat", auth={"token": issued}) as socket:
            answer = await socket.call("chat:post", {"room": "r", "id": "m", "text": "x"})
            assert answer["error"] == {
                "code": "unavailable",
                "message": "the server cannot reach its storage",
                "retry_after": 1.0,
            }


async def test_the_administrator_is_made_by_the_operator_alone(file_url: str) -> None:
    settings = settings_for(file_url, admin_password=Secret("the operator's"))
    async with open_chat(file_url, settings=settings) as chat:
        _, _, guest = await chat.http("guest", {})
        with pytest.raises(ConnectError, match="not allowed"):
            async with chat.server.socket("/admin", auth={"token": guest["token"]}):
                pass
        with trio.fail_after(PATIENCE):
            while (await chat.http("sign-in", {"name": "admin", "password": "the operator's"}))[0] != 200:
                await trio.lowlevel.checkpoint()
        _, _, admin = await chat.http("sign-in", {"name": "admin", "password": "the operator's"})
        assert admin["user"]["scopes"] == ["admin"]
        async with chat.server.socket("/admin", auth={"token": admin["token"]}):
            pass
    # Another password at the next start is the one that counts.
    settings = settings_for(file_url, admin_password=Secret("another one"))
    async with open_chat(file_url, settings=settings) as chat:
        with trio.fail_after(PATIENCE):
            while (await chat.http("sign-in", {"name": "admin", "password": "another one"}))[0] != 200:
                await trio.lowlevel.checkpoint()


def test_the_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    settings = ChatSettings.from_environment({"RTSERVER_CHAT_FOLDER": str(tmp_path / "data")})
    secret = settings.signing_secret()
    assert len(secret) >= 32
    assert settings.signing_secret() == secret
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret"]
    assert secret not in repr(ChatSettings.from_environment({"RTSERVER_CHAT_SECRET": secret}))


def test_a_secret_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short")
    with pytest.raises(ConfigurationError):
        load_secret(tmp_path / "secret")
    with pytest.raises(ConfigurationError, match="RTSERVER_CHAT_SECRET"):
        Tokens("short")


async def test_names_of_guests_who_left_nothing_are_free_again(database_url: str) -> None:
    async with open_chat(database_url) as chat:
        owner = await chat.person("Owner")
        for name in ("Young", "Gone"):
            await chat.http("guest", {"name": name})
        await chat.http("register", ANN)
        async with chat.socket(owner) as socket:
            await socket.call("chat:create", {"name": "hall"})
        database = Database(database_url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.run)
            await database.ready.wait()
            old = update(users).where(users.c.name != "Young").values(created_at=0)
            await database.write(lambda connection: connection.execute(old))
            assert await Accounts(database, tokens()).forget_guests() == 1
            nursery.cancel_scope.cancel()
        statuses = {name: (await chat.http("guest", {"name": name}))[0] for name in ("Owner", "Young", "Ann", "Gone")}
        assert statuses == {"Owner": 409, "Young": 409, "Ann": 409, "Gone": 200}


async def test_addresses_are_those_that_trusted_proxies_tell(file_url: str) -> None:
    rates = AccountRates(new="1/min", refreshes="1000/s")
    settings = settings_for(file_url, rates=rates)

    async def ask(chat: Chat, forwarded: str) -> int:
        app = chat.io.http_app
        assert isinstance(app, quart_trio.QuartTrio)
        answer = await app.test_client().post(
            "/api/accounts/guest",
            json={},
            headers={"X-Forwarded-For": forwarded},
            scope_base={"client": ("10.0.0.1", 1)},
        )
        status: int = answer.status_code
        return status

    async with open_chat(file_url, settings=settings, trusted_proxies=["10.0.0.0/8"]) as chat:
        assert await ask(chat, "203.0.113.1") == 200
        assert await ask(chat, "203.0.113.2") == 200
        # What a client wrote itself stands in front of what the proxy has seen.
        assert await ask(chat, "203.0.113.9, 203.0.113.2") == 429
    async with open_chat(file_url, settings=settings) as chat:
        assert await ask(chat, "203.0.113.1") == 200
        assert await ask(chat, "203.0.113.2") == 429
