"""Who is let in by a token, through sockets of a server in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rtserver import ConfigurationError, Handshake, Server, Socket
from rtserver.client import ConnectError
from rtserver.middleware.auth import Auth, JWTAuth, KeySet, TokenAuth, User
from rtserver.middleware.auth.auth import REFUSAL
from rtserver.testing import open_server

SECRET = "a secret of more than thirty-two characters"
OTHER = "another secret, also of more than thirty-two"


def token(secret: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    full = {"sub": "ann", "exp": int(time.time()) + 60, **claims}
    return jwt.encode({k: v for k, v in full.items() if v is not None}, secret, algorithm, headers=headers)


def build(auth: Auth, **options: Any) -> Server:
    io = Server(middleware=[auth], **options)

    @io.on("who")
    def who(socket: Socket) -> dict[str, Any]:
        return {"id": socket.user.id, "scopes": sorted(socket.user.scopes)}

    @io.on("enter")
    async def enter(socket: Socket, room: str) -> None:
        await socket.enter(room)

    return io


async def test_a_good_token_names_the_user() -> None:
    io = build(JWTAuth(SECRET))
    async with open_server(io) as server, server.socket(auth={"token": token(scope="read write")}) as client:
        assert await client.call("who") == {"id": "ann", "scopes": ["read", "write"]}


def none_token() -> str:
    return jwt.encode({"sub": "ann", "exp": int(time.time()) + 60}, "", algorithm="none")


def confused_token() -> str:
    """Signed with HMAC, with the text of the server's public key as the secret."""
    head, body, _ = token(OTHER).split(".")
    return f"{head}.{body}.{'A' * 43}"


BAD: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "no text": lambda: 7,
    "empty": lambda: "",
    "garbage": lambda: "garbage",
    "huge": lambda: "x" * 100_000,
    "huge, and signed": lambda: token(more="x" * 10_000),
    "not ASCII": lambda: token() + "é",
    "another secret": lambda: token(OTHER),
    "no algorithm": none_token,
    "an algorithm that is not allowed": lambda: token(SECRET * 2, algorithm="HS512"),
    "a wrong signature": confused_token,
    "expired": lambda: token(exp=int(time.time()) - 60),
    "not yet good": lambda: token(nbf=int(time.time()) + 3600),
    "without an end": lambda: token(exp=None),
    "without a user": lambda: token(sub=None),
    "an empty user": lambda: token(sub=""),
    "a user of a thousand letters": lambda: token(sub="x" * 1000),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_every_bad_token_is_refused_in_the_same_words(bad: Callable[[], Any], log_output: list[Any]) -> None:
    io = build(JWTAuth(SECRET, refusal_delay=0.01))
    async with open_server(io) as server:
        with pytest.raises(ConnectError) as caught:
            async with server.socket(auth={"token": bad()}):
                pass
        assert str(caught.value) == REFUSAL
        assert io.sockets == {}
        assert io.adapter.local_rooms() == {}
    assert [line for line in log_output if line["log_level"] == "error"] == []


async def test_every_refusal_takes_the_same_time(autojump_clock: trio.testing.MockClock) -> None:
    async def slow(handshake: Any) -> User | None:
        await trio.sleep(handshake.auth["seconds"])
        return None

    async with open_server(build(Auth(slow, refusal_delay=0.5))) as server:
        for seconds in (0, 0.1, 0.4):
            started = trio.current_time()
            with pytest.raises(ConnectError):
                async with server.socket(auth={"seconds": seconds}):
                    pass
            assert trio.current_time() - started == pytest.approx(0.5)


@pytest.mark.parametrize("what", ["raises", "hangs", "gives nonsense"])
async def test_a_check_that_cannot_be_relied_on_lets_nobody_in(
    what: str, autojump_clock: trio.testing.MockClock
) -> None:
    async def check(handshake: Any) -> Any:
        if what == "raises":
            raise RuntimeError("the database is away: password=secret")
        if what == "hangs":
            await trio.sleep_forever()
        return {"id": "ann"}

    async with open_server(build(Auth(check, timeout=1))) as server:
        with pytest.raises(ConnectError) as caught:
            async with server.socket():
                pass
        assert str(caught.value) == REFUSAL


def key_pair(kind: str) -> tuple[Any, str]:
    made: Any = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    public = made.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return made, public.decode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_public_keys_verify_and_are_never_secrets(algorithm: str) -> None:
    private, public = key_pair(algorithm)
    auth = JWTAuth(public, algorithms=[algorithm], refusal_delay=0.01)
    async with open_server(build(auth)) as server:
        async with server.socket(auth={"token": token(private, algorithm)}) as client:
            assert (await client.call("who"))["id"] == "ann"
        with pytest.raises(ConnectError):
            async with server.socket(auth={"token": token(SECRET)}):
                pass


async def test_keys_are_chosen_by_their_id() -> None:
    auth = JWTAuth({"old": OTHER, "new": SECRET}, refusal_delay=0.01)
    async with open_server(build(auth)) as server:
        for secret, kid in ((OTHER, "old"), (SECRET, "new")):
            async with server.socket(auth={"token": token(secret, headers={"kid": kid})}):
                pass
        for headers in ({"kid": "old"}, {"kid": "unknown"}, {}):
            with pytest.raises(ConnectError):
                async with server.socket(auth={"token": token(SECRET, headers=headers)}):
                    pass


async def test_audience_and_issuer_must_fit() -> None:
    auth = JWTAuth(SECRET, audience="chat", issuer="https://id.example", refusal_delay=0.01)
    async with open_server(build(auth)) as server:
        async with server.socket(auth={"token": token(aud=["chat", "x"], iss="https://id.example")}):
            pass
        wrong: tuple[dict[str, Any], ...]
        wrong = ({"aud": "other", "iss": "https://id.example"}, {"aud": "chat"}, {"iss": "https://id.example"})
        for claims in wrong:
            with pytest.raises(ConnectError):
                async with server.socket(auth={"token": token(**claims)}):
                    pass


async def test_the_header_serves_where_there_is_no_auth() -> None:
    headers = {"Authorization": f"Bearer {token()}"}
    async with open_server(build(JWTAuth(SECRET))) as server, server.socket(headers=headers) as client:
        assert (await client.call("who"))["id"] == "ann"


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        (None, True),
        ("http://test", True),
        ("https://app.example", True),
        ("https://evil.example", False),
        ("null", False),
    ],
)
async def test_a_cookie_counts_only_for_pages_that_may_use_it(origin: str | None, good: bool) -> None:
    auth = JWTAuth(SECRET, sources=["cookie"], cookie_origins=["https://app.example"], refusal_delay=0.01)
    headers = {"Cookie": f"token={token()}", "Host": "test", **({} if origin is None else {"Origin": origin})}
    async with open_server(build(auth, cors="*")) as server:
        if good:
            async with server.socket(headers=headers) as client:
                assert (await client.call("who"))["id"] == "ann"
        else:
            with pytest.raises(ConnectError, match=REFUSAL):
                async with server.socket(headers=headers):
                    pass


@dataclass
class Asked:
    """A request, as a handshake sees it."""

    headers: dict[str, str]
    secure: bool
    path: str = "/socket.io/"
    query: str = ""
    peer: str = "192.0.2.1"


@pytest.mark.parametrize(
    ("origin", "secure", "same"),
    [
        (None, True, True),
        ("https://test", True, True),
        ("https://test", False, True),
        ("http://test", False, True),
        ("http://test", True, False),
        ("https://test:8443", True, False),
        ("https://test.evil", True, False),
        ("null", True, False),
    ],
)
def test_a_page_is_of_the_same_origin_if_it_came_as_safely(origin: str | None, secure: bool, same: bool) -> None:
    headers = {"host": "Test", **({} if origin is None else {"origin": origin})}
    assert Handshake(Asked(headers, secure), {}, 0).same_origin is same


async def test_a_socket_ends_with_its_token(autojump_clock: trio.testing.MockClock) -> None:
    now = time.time()
    auth = Auth(lambda handshake: User("ann", expires_at=now + 20))
    auth._expiry._now = lambda: now + trio.current_time() - started
    started = trio.current_time()
    async with open_server(build(auth)) as server, server.socket() as client:
        assert await client.wait_closed() == "io server disconnect"
        assert trio.current_time() - started == pytest.approx(20, abs=0.1)
        assert len(auth._expiry) == 0


async def test_a_newer_token_of_the_same_user_keeps_the_socket(autojump_clock: trio.testing.MockClock) -> None:
    seen: list[float | None] = []
    auth = JWTAuth(SECRET, refusal_delay=0.01)
    auth.on_refresh(lambda socket: seen.append(socket.user.expires_at))
    async with (
        open_server(build(auth)) as server,
        server.socket(auth={"token": token(exp=int(time.time()) + 10)}) as client,
    ):
        later = int(time.time()) + 500
        answer = await client.call("auth:refresh", {"token": token(exp=later, scope="admin")})
        assert answer == {"expires_at": later + 5.0}
        assert seen == [later + 5.0]
        assert (await client.call("who"))["scopes"] == ["admin"]
        for other in ({"token": token(sub="bob")}, {"token": "garbage"}, {}, None, "x"):
            assert "error" in await client.call("auth:refresh", other)
        assert (await client.call("who"))["scopes"] == ["admin"]


async def test_those_who_leave_are_not_kept_until_their_token_ends() -> None:
    auth = JWTAuth(SECRET)
    io = build(auth)
    async with open_server(io) as server:
        for _ in range(200):
            async with server.socket(auth={"token": token()}):
                pass
        while io.sockets:
            await trio.lowlevel.checkpoint()
        assert len(auth._expiry) == 0
        assert len(auth._expiry._heap) <= 65


async def test_a_user_is_disconnected_everywhere_and_alone() -> None:
    io = build(JWTAuth(SECRET))
    io.of("/chat")
    async with open_server(io) as server:
        auth = {"token": token()}
        async with (
            server.socket(auth=auth) as one,
            server.socket("/chat", auth=auth) as two,
            server.socket(auth={"token": token(sub="bob")}) as other,
        ):
            await io.disconnect_user("ann")
            assert await one.wait_closed() == "io server disconnect"
            assert await two.wait_closed() == "io server disconnect"
            assert (await other.call("who"))["id"] == "bob"


async def test_a_room_is_revoked_from_every_socket_of_a_user() -> None:
    io = build(JWTAuth(SECRET))
    async with (
        open_server(io) as server,
        server.socket(auth={"token": token()}) as one,
        server.socket(auth={"token": token(sub="bob")}) as other,
    ):
        await one.call("enter", "hall")
        await other.call("enter", "hall")
        io.revoke("ann", "hall")
        assert io.adapter.local_rooms()["hall"] == 1


async def test_nobody_enters_the_room_of_a_user() -> None:
    io = build(JWTAuth(SECRET))
    async with open_server(io) as server, server.socket(auth={"token": token(sub="eve")}) as client:
        for room in io.adapter.local_rooms():
            assert (await client.call("enter", room))["error"]["code"] == "room_refused"
        assert (await client.call("enter", "\0user:ann"))["error"]["code"] == "room_refused"


async def test_an_address_that_fails_again_and_again_has_to_wait(autojump_clock: trio.testing.MockClock) -> None:
    looked_at = 0

    def check(handshake: Any) -> User | None:
        nonlocal looked_at
        looked_at += 1
        return User("ann") if handshake.auth.get("good") else None

    async with open_server(build(Auth(check, free_failures=3))) as server:

        async def attempt(**auth: Any) -> bool:
            try:
                async with server.socket(auth=auth):
                    return True
            except ConnectError:
                return False

        for _ in range(4):
            assert not await attempt()
        assert looked_at == 4
        assert not await attempt(good=True)
        assert looked_at == 4, "a blocked address is not looked at"
        await trio.sleep(2)
        assert await attempt(good=True)
        assert await attempt(good=True)


async def test_opaque_tokens_name_services() -> None:
    auth = TokenAuth(
        {"0123456789abcdef": "billing", "fedcba9876543210": User("ops", frozenset(["admin"]))}, refusal_delay=0.01
    )
    async with open_server(build(auth)) as server:
        async with server.socket(auth={"token": "0123456789abcdef"}) as client:
            assert (await client.call("who"))["id"] == "billing"
        async with server.socket(auth={"token": "fedcba9876543210"}) as client:
            assert (await client.call("who"))["scopes"] == ["admin"]
        for bad in ("0123456789abcdee", "", None, "0123456789ABCDEF"):
            with pytest.raises(ConnectError, match=REFUSAL):
                async with server.socket(auth={"token": bad}):
                    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: JWTAuth("short"),
        lambda: JWTAuth(SECRET, algorithms=["none"]),
        lambda: JWTAuth(SECRET, algorithms=[]),
        lambda: JWTAuth(SECRET, algorithms=["HS256", "RS256"]),
        lambda: JWTAuth(SECRET, algorithms=["RS256"]),
        lambda: JWTAuth("-----BEGIN PUBLIC KEY-----" + "x" * 100),
        lambda: JWTAuth(SECRET, sources=["query"]),  # type: ignore[list-item]
        lambda: JWTAuth(KeySet("https://id.example/keys"), algorithms=["HS256"]),
        lambda: KeySet("http://id.example/keys"),
        lambda: TokenAuth({"short": "x"}),
    ],
)
def test_settings_that_are_not_safe_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert "short" not in str(caught.value)
    assert SECRET not in str(caught.value)
