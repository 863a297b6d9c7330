"""The log of connections and the counters of ``/metrics``: who came, who went and why, who was refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from rtserver import (
    ConfigurationError,
    ConnectContext,
    ConnectRefused,
    EventContext,
    EventRefused,
    Middleware,
    Proceed,
    RequestContext,
    RequestRefused,
    Server,
    Socket,
)
from rtserver.middleware.log import ConnectionLog
from rtserver.middleware.metrics import MAX_CODES, Metrics
from rtserver.testing import open_server
from tests.behaviour.support import Kind, Serve, Site


class Door(Middleware):
    """Refuses those who say so; at once, or after a while."""

    def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Any:
        wish = context.handshake.query.get("wish")
        if wish == "refused":
            raise RequestRefused("not you", status=403)
        return self._later(context, proceed) if wish == "refused later" else proceed(context)

    async def _later(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Any:
        await trio.lowlevel.checkpoint()
        raise RequestRefused("not you", status=429)

    async def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
        await trio.lowlevel.checkpoint()
        if context.auth.get("wish") == "refused":
            raise ConnectRefused("not here", {"code": "closed"})
        context.socket.user = type("User", (), {"id": "ann"})()
        return await proceed(context)


def build(*watching: Middleware) -> Server:
    io = Server(middleware=[*watching, Door()])

    @io.of("/chat").on("never")
    def never(socket: Socket) -> None: ...

    io.of(re.compile("^/room-"))

    @io.on("echo")
    def echo(socket: Socket, value: Any) -> Any:
        return value

    @io.on("later")
    async def later(socket: Socket, value: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return value

    @io.on("no")
    def no(socket: Socket, code: str) -> None:
        raise EventRefused(code, "no")

    @io.on("no later")
    async def no_later(socket: Socket, code: str) -> None:
        await trio.lowlevel.checkpoint()
        raise EventRefused(code, "no")

    return io


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


async def visit(site: Site, kind: Kind) -> None:
    """Everything that can be seen of a client, once."""
    for wish in ("refused", "refused+later"):
        assert (await site.get(f"EIO=4&transport=polling&wish={wish}")).status in (403, 429)
    peer = await site.open(kind)
    await peer.send('40{"wish":"refused"}')
    assert "not here" in str(await peer.receive())
    await peer.join()
    await peer.join("/room-1")
    for number, wire in enumerate(
        ['["echo",1]', '["later",2]', '["no","full"]', '["no later","full"]', '["unheard",3]']
    ):
        await peer.send(f"42{number}{wire}")
        assert str(await peer.receive()).startswith(f"43{number}")
    await peer.send("41/room-1,", "1")
    await until(lambda: not site.io.clients)


# The log.


async def test_connects_disconnects_and_refusals_are_one_line_each(
    serve: Serve, kind: Kind, log_output: list[Any]
) -> None:
    site = await serve(build(ConnectionLog()))
    await visit(site, kind)
    kinds = ("connected", "disconnected", "handshake_refused", "connect_refused", "event_refused")
    lines = [line for line in log_output if line["event"] in kinds]
    told = [(line["event"], line["log_level"], line.get("namespace"), line.get("reason")) for line in lines]
    assert told == [
        ("handshake_refused", "warning", None, "not you"),
        ("connect_refused", "warning", "/", "not here"),
        ("connected", "info", "/", None),
        ("connected", "info", "/room-1", None),
        ("event_refused", "warning", "/", None),
        ("disconnected", "info", "/room-1", "client namespace disconnect"),
        ("disconnected", "info", "/", "transport close"),
    ]
    assert (lines[4]["code"], lines[4]["name"], lines[4]["user"], lines[4]["address"]) == (
        "full",
        "no",
        "ann",
        "127.0.0.1",
    )
    assert lines[2]["transport"] == ("polling" if kind == "polling" else "websocket")


async def test_refusals_by_the_thousand_are_a_line_and_what_a_client_says_is_not_in_it(log_output: list[Any]) -> None:
    async with open_server(build(ConnectionLog())) as server, server.socket() as client:
        for _ in range(200):
            await client.call("made up\nby a client", "x")
    lines = [line for line in log_output if line["event"] == "event_refused"]
    assert len(lines) <= 3
    assert "made up" not in repr(lines)


# Metrics.


async def scrape(site: Site) -> dict[str, dict[tuple[str, ...], float]]:
    answer = await site.request("GET", "/metrics")
    assert answer.status == 200
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


@pytest.mark.parametrize("door", ["front"])
async def test_metrics_count_who_came_went_and_was_refused(serve: Serve, kind: Kind) -> None:
    site = await serve(build(Metrics(one_in=1)))
    await visit(site, kind)
    found = await scrape(site)
    assert found["rtserver_connects_total"] == {("/",): 1, ("(dynamic)",): 1}
    assert found["rtserver_disconnects_total"] == {
        ("/", "transport close"): 1,
        ("(dynamic)", "client namespace disconnect"): 1,
    }
    assert found["rtserver_handshakes_refused_total"] == {("403",): 1, ("429",): 1}
    assert found["rtserver_connects_refused_total"] == {("closed", "/"): 1}
    assert found["rtserver_refusals_total"] == {("full", "/"): 2, ("unknown_event", "/"): 1}
    counts = found["rtserver_event_seconds_count"]
    assert counts == {("echo", "/"): 1, ("later", "/"): 1}
    assert all(found["rtserver_event_seconds_sum"][key] > 0 for key in counts)
    assert found["rtserver_event_seconds_bucket"]["echo", "+Inf", "/"] == 1


async def test_only_some_events_are_timed() -> None:
    metrics = Metrics(one_in=10)
    async with open_server(build(metrics)) as server, server.socket() as client:
        for number in range(300):
            await client.call("echo", number)
    (seconds,) = [family for family in metrics.collect() if family.name == "rtserver_event_seconds"]
    (count,) = [sample.value for sample in seconds.samples if sample.name.endswith("_count")]
    # The gaps are from 1 to 19.
    assert 300 // 19 <= count <= 60


class Answering(Middleware):
    """Answers whatever nobody else does."""

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Any:
        return proceed(context) if context.known else "never heard of it"


async def test_clients_and_handlers_cannot_fill_a_metrics_store() -> None:
    metrics = Metrics(one_in=1)
    io = build(metrics)
    io.use(Answering())
    async with open_server(io) as server, server.socket() as client:
        for number in range(2 * MAX_CODES):
            await client.call("no", f"code {number}")
            await client.call(f"made up {number}")
    samples = {family.name: family.samples for family in metrics.collect()}
    assert len(samples["rtserver_refusals"]) == MAX_CODES + 1
    assert not any("made up" in repr(rows) for rows in samples.values())


@pytest.mark.parametrize("door", ["front"])
async def test_middleware_of_two_namespaces_is_one_family_each(serve: Serve) -> None:
    io = Server()
    for name in ("/a", "/b"):
        io.of(name).use(Metrics())
    site = await serve(io)
    for name in ("/a", "/b"):
        peer = await site.open("websocket")
        await peer.join(name)
    assert (await scrape(site))["rtserver_connects_total"] == {("/a",): 1, ("/b",): 1}


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: Metrics(one_in=0), "one_in"),
        (lambda: Metrics(one_in=True), "one_in"),
        (lambda: Metrics(bounds=()), "bounds"),
        (lambda: Metrics(bounds=(2, 1)), "bounds"),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Any], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        make()
