"""Authentication through real sockets on both transports and both doors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import trio
import trio.testing

from rtserver import ConnectContext, Disconnected, Middleware, Proceed, Server, Socket
from rtserver.core.endings import Endings
from rtserver.core.handshake import Handshake
from rtserver.middleware.auth import Auth, JWTAuth, User
from rtserver.testing import open_server
from tests.behaviour.support import Kind, Peer, Record, Serve, Site

SECRET = "a secret of more than thirty-two characters"
REFUSED = '44{"message":"authentication failed"}'

both_transports = pytest.mark.parametrize("kind", ["polling", "websocket"])


def token(secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode({"sub": "ann", "exp": int(time.time()) + 300, **claims}, secret, "HS256")


def auth(value: str | None = None, **claims: Any) -> str:
    return json.dumps({"token": token(**claims) if value is None else value})


def build(*middleware: Middleware, **options: Any) -> Server:
    io = Server(middleware=middleware, **options)

    @io.on("who")
    def who(socket: Socket) -> str:
        user: User = socket.user
        return user.id

    return io


async def who(peer: Peer) -> str:
    await peer.send('421["who"]')
    answer = json.loads(str(await peer.receive()).removeprefix("431"))
    name: str = answer[0]
    return name


BAD: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "empty": lambda: "{}",
    "another type": lambda: '{"token":7}',
    "garbage": lambda: auth("garbage"),
    "another secret": lambda: auth(secret=SECRET[::-1]),
    "expired": lambda: auth(exp=int(time.time()) - 60),
    "no algorithm": lambda: auth(jwt.encode({"sub": "ann"}, "", "none")),
    "a user that is a number": lambda: auth(sub=7),
    "half a surrogate": lambda: '{"token":"\\ud800"}',
}


@both_transports
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_refused_client_learns_nothing_leaves_nothing_and_disturbs_nobody(
    serve: Serve, kind: Kind, bad: Callable[[], str], log_output: list[Any]
) -> None:
    io = build(JWTAuth(SECRET, refusal_delay=0))
    site = await serve(io)
    others = [await site.open("websocket"), await site.open("polling")]
    for other in others:
        await other.join(auth=auth(sub="other"))
    rooms, tasks = dict(io.adapter.local_rooms()), len(io.clients)
    peer = await site.open(kind)
    await peer.send(f"40{bad()}")
    packet = await peer.packet()
    # What is no packet at all is refused by the protocol before anybody looks at it.
    assert packet in (REFUSED, None)
    assert (packet is None) == ("\\ud800" in bad())
    if packet is not None:
        # The session is still there, without a namespace: a good token is let in.
        await peer.join(auth=auth())
        assert await who(peer) == "ann"
        await peer.send("41")
    while len(io.sockets) != 2:
        await trio.lowlevel.checkpoint()
    assert dict(io.adapter.local_rooms()) == rooms
    assert len(io.clients) <= tasks + 1
    for other in others:
        assert await who(other) == "other"
    assert [line for line in log_output if line["log_level"] == "error"] == []
    reasons = [line["reason"] for line in log_output if line["event"] == "authentication_refused"]
    assert len(reasons) == (packet is not None)


@both_transports
@pytest.mark.parametrize("what", ["raises", "hangs"])
async def test_a_check_that_fails_lets_nobody_in(
    serve: Serve, kind: Kind, what: str, clock: trio.testing.MockClock
) -> None:
    asked = trio.Event()

    async def check(handshake: Any) -> User:
        asked.set()
        if what == "hangs":
            await trio.sleep_forever()
        raise RuntimeError("password=secret")

    io = build(Auth(check, timeout=5, refusal_delay=0))
    site = await serve(io)
    peer = await site.open(kind)
    await peer.send("40")
    await asked.wait()
    if what == "hangs":
        clock.jump(6)
    assert await peer.receive() == REFUSED
    assert io.sockets == {}


async def test_a_server_that_stops_while_it_is_asked_lets_nobody_in(serve: Serve) -> None:
    asked, ended = trio.Event(), Record()

    async def check(handshake: Any) -> User:
        asked.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.add("cancelled")

    joined: list[Socket] = []
    io = build(Auth(check, timeout=600), connect_timeout=600.0, shutdown_timeout=0.05)
    io.on_connect(joined.append)
    site = await serve(io)
    peer = await site.open("websocket")
    await peer.send("40")
    await asked.wait()
    site.stop()
    assert await peer.rest() == []
    assert await ended.next() == "cancelled"
    assert joined == []


# Tokens that run out. Tokens count seconds since the epoch, so that clock is put forward too.


def with_clock(check: Auth) -> Auth:
    started = time.time() - trio.current_time()
    check._expiry._now = lambda: started + trio.current_time()
    return check


@both_transports
async def test_a_client_goes_with_its_token(serve: Serve, kind: Kind, clock: trio.testing.MockClock) -> None:
    check = with_clock(JWTAuth(SECRET, leeway=0))
    site = await serve(build(check))
    short, long = await site.open(kind), await site.open(kind)
    await short.join(auth=auth(exp=int(time.time()) + 10))
    await long.join(auth=auth(sub="bob"))
    clock.jump(11)
    assert await short.receive() == "41"
    assert await who(long) == "bob"
    assert len(check._expiry) == 1


@both_transports
@pytest.mark.parametrize("newer", ["same user", "another user", "garbage", "expired"])
async def test_a_newer_token_of_the_same_user_alone_keeps_a_client(
    serve: Serve, kind: Kind, newer: str, clock: trio.testing.MockClock
) -> None:
    site = await serve(build(with_clock(JWTAuth(SECRET, leeway=0, refusal_delay=0))))
    peer = await site.open(kind)
    now = int(time.time())
    await peer.join(auth=auth(exp=now + 10))
    shown = {
        "same user": auth(),
        "another user": auth(sub="bob"),
        "garbage": auth("garbage"),
        "expired": auth(exp=now - 10),
    }
    await peer.send(f'427["auth:refresh",{shown[newer]}]')
    answer = str(await peer.receive())
    clock.jump(11)
    if newer == "same user":
        assert answer.startswith('437[{"expires_at":')
        assert await who(peer) == "ann"
    else:
        assert answer == '437[{"error":{"code":"unauthenticated","message":"authentication failed"}}]'
        assert await peer.receive() == "41"


@pytest.mark.parametrize("source", ["header", "cookie"])
async def test_a_newer_token_comes_with_the_event_wherever_the_first_came_from(serve: Serve, source: Any) -> None:
    site = await serve(build(JWTAuth(SECRET, sources=[source], refusal_delay=0)))
    first = token()
    header = ("Authorization", f"Bearer {first}") if source == "header" else ("Cookie", f"token={first}")
    websocket = await site.upgrade("EIO=4&transport=websocket", headers=[header])
    await websocket.receive()
    await websocket.send("40")
    await websocket.receive()
    later = int(time.time()) + 5_000
    await websocket.send(f'421["auth:refresh",{auth(exp=later)}]')
    assert await websocket.receive() == f'431[{{"expires_at":{later + 5}.0}}]'
    # The header of the handshake says nothing about now.
    for nothing in ("{}", auth("garbage")):
        await websocket.send(f'422["auth:refresh",{nothing}]')
        assert '"unauthenticated"' in str(await websocket.receive())


class Slow(Middleware):
    """Thinks about every client until it is told not to."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.answer = trio.Event()

    async def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
        self.asked.set()
        await self.answer.wait()
        return await proceed(context)


@both_transports
async def test_a_token_that_runs_out_while_the_next_one_thinks_is_over_too(
    serve: Serve, kind: Kind, clock: trio.testing.MockClock
) -> None:
    slow = Slow()
    check = with_clock(JWTAuth(SECRET, leeway=0))
    site = await serve(build(check, slow))
    peer = await site.open(kind)
    await peer.send(f"40{auth(exp=int(time.time()) + 10)}")
    await slow.asked.wait()
    clock.jump(11)
    await trio.testing.wait_all_tasks_blocked(0.01)
    slow.answer.set()
    assert str(await peer.receive()).startswith('40{"sid":')
    assert await peer.receive() == "41"
    assert len(check._expiry) == 0


async def test_who_is_refused_or_gone_before_it_is_in_is_not_kept() -> None:
    slow = Slow()
    check = JWTAuth(SECRET)
    io = build(check, slow)
    async with open_server(io) as server, trio.open_nursery() as nursery:

        async def attempt() -> None:
            with pytest.raises(Disconnected):
                async with server.socket(auth={"token": token()}):
                    pass

        nursery.start_soon(attempt)
        await slow.asked.wait()
        server.drop_connections()
        slow.answer.set()
    assert len(check._expiry) == 0
    assert io.adapter.local_rooms() == {}


async def test_async_connect_handlers_do_not_keep_a_token_alive(autojump_clock: trio.testing.MockClock) -> None:
    check = with_clock(JWTAuth(SECRET, leeway=0))
    io = build(check)

    @io.on_connect
    async def welcome(socket: Socket) -> None:
        await trio.sleep_forever()

    async with open_server(io) as server, server.socket(auth={"token": token(exp=int(time.time()) + 10)}) as client:
        assert await client.wait_closed() == "io server disconnect"


# Ending a user.


@both_transports
async def test_a_user_is_ended_on_every_transport_and_alone(serve: Serve, kind: Kind) -> None:
    io = build(JWTAuth(SECRET))
    site = await serve(io)
    ann = [await site.open("polling"), await site.open("websocket")]
    bob = await site.open(kind)
    for peer in ann:
        await peer.join(auth=auth())
    await bob.join(auth=auth(sub="bob"))
    await io.disconnect_user("ann")
    for peer in ann:
        assert (await peer.rest())[:1] in ([], ["41"])
    assert await who(bob) == "bob"
    assert len(io.clients) == 1


@both_transports
async def test_a_user_that_is_just_being_let_in_is_ended_too(serve: Serve, kind: Kind) -> None:
    slow = Slow()
    io = build(JWTAuth(SECRET), slow)
    site = await serve(io)
    peer = await site.open(kind)
    await peer.send(f"40{auth()}")
    await slow.asked.wait()
    await io.disconnect_user("ann")
    slow.answer.set()
    assert await peer.rest() == []
    assert io.sockets == {}
    assert io.adapter.local_rooms() == {}


@both_transports
async def test_a_user_whose_check_is_still_asking_is_ended_too_and_may_come_again(serve: Serve, kind: Kind) -> None:
    asked, answer = trio.Event(), trio.Event()

    async def check(handshake: Handshake) -> User:
        # What it has read may have changed before it says so.
        asked.set()
        await answer.wait()
        return User(str(handshake.auth["name"]))

    io = build(Auth(check))
    site = await serve(io)
    ann, bob = await site.open(kind), await site.open(kind)
    await ann.send('40{"name":"ann"}')
    await bob.send('40{"name":"bob"}')
    await asked.wait()
    await io.disconnect_user("ann")
    answer.set()
    assert await ann.rest() == []
    assert str(await bob.receive()).startswith('40{"sid":')
    assert [socket.user.id for socket in io.sockets.values()] == ["bob"]
    again = await site.open(kind)
    await again.join(auth='{"name":"ann"}')
    assert await who(again) == "ann"


async def test_endings_are_forgotten_when_nobody_can_be_coming_in_since_before(clock: trio.testing.MockClock) -> None:
    endings = Endings()
    mark = endings.mark()
    for number in range(100):
        endings.note(str(number), 45)
    endings.note("0", 45)
    assert endings.since("0", mark)
    assert not endings.since("0", endings.mark())
    assert not endings.since("nobody", mark)
    assert not endings.since(None, mark)
    clock.jump(46)
    endings.note("last", 45)
    assert len(endings) == 1


# One address that guesses.


@both_transports
async def test_an_address_that_guesses_waits_and_disturbs_no_session(
    serve: Serve, kind: Kind, clock: trio.testing.MockClock
) -> None:
    io = build(JWTAuth(SECRET, refusal_delay=0, free_failures=3))
    site = await serve(io)
    inside = await site.open(kind)
    await inside.join(auth=auth())

    async def attempt(given: str) -> str:
        peer = await site.open(kind)
        await peer.send(f"40{given}")
        answer = str(await peer.receive())
        await peer.vanish()
        return answer

    for _ in range(4):
        assert await attempt(auth("guess")) == REFUSED
    # In the same words, so that it does not learn which was right.
    assert await attempt(auth()) == REFUSED
    assert await who(inside) == "ann"
    clock.jump(2)
    assert (await attempt(auth())).startswith('40{"sid":')


async def test_clients_of_no_known_address_do_not_wait_for_one_another(tmp_path: Any) -> None:
    io = build(JWTAuth(SECRET, refusal_delay=0, free_failures=0))
    path = str(tmp_path / "node.sock")
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: io.serve(f"unix:{path}", task_status=task_status))
        site = Site("front", io, lambda: _open_unix(path), io.stop)
        for given, expected in ((auth("guess"), REFUSED), (auth("guess"), REFUSED), (auth(), '40{"sid":')):
            peer = await site.open("websocket")
            await peer.send(f"40{given}")
            assert str(await peer.receive()).startswith(expected)
        await site.end()


async def _open_unix(path: str) -> Any:
    return await trio.open_unix_socket(path)
