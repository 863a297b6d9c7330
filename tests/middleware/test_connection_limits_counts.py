"""Connections per address and per user: counted from beginning to end, and right whatever happens between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from rtserver import (
    ConfigurationError,
    ConnectContext,
    ConnectRefused,
    Middleware,
    Proceed,
    RequestContext,
    RequestRefused,
    Server,
    Socket,
)
from rtserver.client import ConnectError
from rtserver.core.addresses import group
from rtserver.middleware.connection_limits import ConnectionLimits
from rtserver.testing import open_server
from tests.behaviour.support import Kind, Serve, Site

HANDSHAKE = "EIO=4&transport=polling"


class Named(Middleware):
    """Everybody is who they say they are."""

    async def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
        await trio.lowlevel.checkpoint()
        context.socket.user = type("User", (), {"id": context.auth["user"]})()
        return await proceed(context)


class NamedAtOnce(Middleware):
    """The same, without waiting."""

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
        context.socket.user = type("User", (), {"id": context.auth["user"]})()
        return proceed(context)


def nothing_left(limits: ConnectionLimits) -> bool:
    return not (limits._addresses or limits._beyond or limits._clients or limits._users)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


async def join_as(site: Site, kind: Kind, user: str, namespace: str = "") -> tuple[Any, str]:
    peer = await site.open(kind)
    await peer.send(f'40{namespace}{{"user":"{user}"}}')
    return peer, str(await peer.receive())


async def test_an_address_has_so_many_sessions_at_once_and_gets_another_when_one_ends(serve: Serve, kind: Kind) -> None:
    limits = ConnectionLimits(per_address=2)
    site = await serve(Server(middleware=[limits]))
    first = await site.open(kind)
    second = await site.open(kind)
    answer = await site.get(HANDSHAKE)
    assert answer.facts == (429, '{"code":4,"message":"too many connections"}')
    assert limits.refused == 1
    await first.send("1")
    await until(lambda: len(site.io.clients) == 1)
    third = await site.open(kind)
    assert (await site.get(HANDSHAKE)).status == 429
    for peer in (second, third):
        await peer.send("1")
    await until(lambda: nothing_left(limits))


async def test_sessions_that_wait_to_be_let_in_together_do_not_slip_through(serve: Serve, kind: Kind) -> None:
    class Slow(Middleware):
        def __init__(self) -> None:
            self.waiting = 0
            self.go = trio.Event()

        async def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Any:
            self.waiting += 1
            if self.waiting == 3:
                self.go.set()
            await self.go.wait()
            return await proceed(context)

    limits = ConnectionLimits(per_address=1)
    site = await serve(Server(middleware=[limits, Slow()]))
    answers: list[str] = []

    async def come() -> None:
        peer = await site.open(kind)
        await peer.send("40")
        answers.append(str(await peer.receive())[:40])

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(come)
    refused = [answer for answer in answers if answer.startswith('44{"message":"too many connections"')]
    assert len(refused) == 2
    assert len(site.io.sockets) == 1


async def test_handshakes_that_others_refuse_are_not_counted(serve: Serve) -> None:
    class No(Middleware):
        async def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Any:
            raise RequestRefused("no")

    limits = ConnectionLimits(per_address=1)
    site = await serve(Server(middleware=[limits, No()]))
    for _ in range(3):
        assert (await site.get(HANDSHAKE)).status == 403
    assert nothing_left(limits)


def test_an_ipv6_network_counts_as_one_address() -> None:
    assert group("2001:db8::1") == group("2001:db8:0:0:ffff::2") != group("2001:db8:0:1::1")


async def test_a_user_has_so_many_sessions_whatever_the_transport_and_the_namespace(serve: Serve, kind: Kind) -> None:
    limits = ConnectionLimits(per_user=2)
    io = Server(middleware=[Named(), limits])
    for name in ("/chat", "/more"):
        io.of(name)
    site = await serve(io)
    one, answer = await join_as(site, kind, "ann")
    assert answer.startswith('40{"sid"')
    # A second namespace in the same session is no second connection.
    await one.send('40/chat,{"user":"ann"}')
    assert str(await one.receive()).startswith('40/chat,{"sid"')
    _, answer = await join_as(site, "websocket", "ann", "/chat,")
    assert answer.startswith('40/chat,{"sid"')
    await one.send('40/more,{"user":"ann"}')
    assert str(await one.receive()).startswith('40/more,{"sid"')
    _, answer = await join_as(site, kind, "ann")
    assert answer == '44{"message":"too many connections","data":{"code":"too_many_connections"}}'
    _, answer = await join_as(site, kind, "bob")
    assert answer.startswith('40{"sid"')
    await one.send("1")
    await until(lambda: len(limits._users["ann"]) == 1)
    _, answer = await join_as(site, kind, "ann")
    assert answer.startswith('40{"sid"')


async def test_the_oldest_session_may_make_room(serve: Serve, kind: Kind) -> None:
    limits = ConnectionLimits(per_user=1, oldest_goes=True)
    site = await serve(Server(middleware=[Named(), limits]))
    old, _ = await join_as(site, kind, "ann")
    _, answer = await join_as(site, kind, "ann")
    assert answer.startswith('40{"sid"')
    assert await old.rest() == ["41"]
    await until(lambda: len(site.io.clients) == 1)
    assert len(site.io.sockets) == 1
    assert list(limits._users) == ["ann"]


@pytest.mark.parametrize("refusal", [ConnectRefused("no"), RuntimeError("broken")])
@pytest.mark.parametrize("waits", [True, False])
async def test_a_join_that_others_refuse_is_given_back(refusal: Exception, waits: bool) -> None:
    class Later(Middleware):
        async def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
            await trio.lowlevel.checkpoint()
            raise refusal

    class AtOnce(Middleware):
        def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
            raise refusal

    limits = ConnectionLimits(per_user=1)
    io = Server(middleware=[Named(), limits, Later() if waits else AtOnce()])
    async with open_server(io) as server, server.client() as client:
        for _ in range(2):
            with pytest.raises(ConnectError):
                async with client.namespace("/", auth={"user": "ann"}):
                    pass
        assert not limits._users
        assert limits._clients == {next(iter(io.clients)): set()}


async def test_who_leaves_while_others_look_leaves_no_count_behind(serve: Serve, kind: Kind) -> None:
    class Waiting(Middleware):
        def __init__(self) -> None:
            self.entered = trio.Event()
            self.go = trio.Event()
            self.done = trio.Event()

        async def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
            self.entered.set()
            await self.go.wait()
            self.done.set()
            return await proceed(context)

    waiting = Waiting()
    limits = ConnectionLimits(per_address=1, per_user=1)
    site = await serve(Server(middleware=[Named(), limits, waiting]))
    peer = await site.open(kind)
    await peer.send('40{"user":"ann"}')
    await waiting.entered.wait()
    await peer.send("1")
    await until(lambda: not site.io.clients)
    assert nothing_left(limits)
    waiting.go.set()
    await waiting.done.wait()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert nothing_left(limits)


@pytest.mark.parametrize("wrong", ["before authentication", "before plain authentication", "on a namespace"])
async def test_a_limit_in_the_wrong_place_lets_nobody_in_and_says_why(wrong: str, log_output: list[Any]) -> None:
    limits = ConnectionLimits(per_user=1)
    if wrong == "on a namespace":
        io = Server(middleware=[Named()])
        io.of("/chat").use(limits)
    else:
        io = Server(middleware=[limits, Named() if wrong == "before authentication" else NamedAtOnce()])
        io.of("/chat")
    async with open_server(io) as server:
        with pytest.raises(ConnectError, match="internal error"):
            async with server.socket("/chat", auth={"user": "ann"}):
                pass
    failed = [line for line in log_output if line["event"] == "connect_middleware_failed"]
    assert isinstance(failed[0]["exc_info"], ConfigurationError)


async def test_those_without_a_user_are_counted_by_address_alone() -> None:
    limits = ConnectionLimits(per_user=1)
    io = Server(middleware=[limits])

    @io.on("echo")
    def echo(socket: Socket, text: str) -> str:
        return text

    async with open_server(io) as server, server.socket() as one, server.socket() as two:
        assert [await client.call("echo", "x") for client in (one, two)] == ["x", "x"]


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "5"])
def test_a_number_that_is_none_is_refused_by_name(number: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^per_user"):
        ConnectionLimits(per_user=number)
