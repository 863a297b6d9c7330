"""Spans of joins and of some events."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from rtserver import ConfigurationError, ConnectRefused, EventRefused, Server, Socket
from rtserver.client import ClientSocket, ConnectError
from rtserver.middleware.tracing import Tracing
from rtserver.testing import open_server
from tests.behaviour.support import Kind, Serve

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


def build(provider: TracerProvider, one_in: int = 1) -> Server:
    io = Server(middleware=[Tracing(one_in=one_in, provider=provider)])
    tracer = provider.get_tracer("application")

    @io.use
    async def door(socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        if socket.auth.get("wish") == "refused":
            raise ConnectRefused("no", {"code": "closed"})

    @io.on("plain")
    def plain(socket: Socket) -> str:
        with tracer.start_as_current_span("inner"):
            return "done"

    @io.on("later")
    async def later(socket: Socket, number: int) -> int:
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, number)
        return number

    async def work(number: int) -> None:
        with tracer.start_as_current_span(f"inner {number}"):
            await trio.lowlevel.checkpoint()

    @io.on("no")
    async def no(socket: Socket) -> None:
        raise EventRefused("full", "no")

    @io.on("broken")
    async def broken(socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a bug")

    return io


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_a_join_is_a_span_that_is_linked_to_the_clients_trace(
    serve: Serve, kind: Kind, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    site = await serve(build(provider))
    answer = await site.get("EIO=4&transport=polling", headers=[("traceparent", TRACEPARENT)])
    assert answer.status == 200
    peer = await site.open(kind)
    await peer.join()
    span = by_name(exporter)["connect /"]
    assert span.attributes is not None
    assert span.attributes["network.peer.address"] == "127.0.0.1"
    assert span.attributes["rtserver.socket"] in site.io.sockets
    assert not span.links


async def test_a_trace_of_a_client_is_linked_to_and_decides_nothing(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    async with (
        open_server(build(provider)) as server,
        server.client(headers={"traceparent": TRACEPARENT}) as client,
        client.namespace("/"),
    ):
        pass
    span = by_name(exporter)["connect /"]
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]
    assert span.parent is None
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" != TRACE


async def test_what_a_handler_does_belongs_to_its_span_in_whatever_task(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    async with open_server(build(provider)) as server, server.socket() as one, server.socket() as two:

        async def ask(client: ClientSocket, number: int) -> None:
            assert await client.call("later", number) == number

        async with trio.open_nursery() as nursery:
            for number, client in enumerate((one, two)):
                nursery.start_soon(ask, client, number)
        assert await one.call("plain") == "done"
    spans = exporter.get_finished_spans()
    owners = {span.context.span_id: span for span in spans if span.context is not None}
    inner = [span for span in spans if span.name.startswith("inner")]
    parents = [owners[span.parent.span_id].name for span in inner if span.parent is not None]
    assert sorted(parents) == ["event later", "event later", "event plain"]
    assert len({span.parent.span_id for span in inner if span.parent is not None}) == 3
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_refusal_is_an_outcome_and_a_bug_an_error(
    provider: TracerProvider, exporter: InMemorySpanExporter, log_output: list[Any]
) -> None:
    async with open_server(build(provider)) as server, server.client() as client:
        with pytest.raises(ConnectError):
            async with client.namespace("/", auth={"wish": "refused"}):
                pass
        async with client.namespace("/") as socket:
            await socket.call("no")
            await socket.call("broken")
            await socket.call("made up")
    spans = {span.name: span for span in reversed(exporter.get_finished_spans())}
    refusals = {name: (span.attributes or {}).get("rtserver.refused") for name, span in spans.items()}
    assert refusals == {
        "connect /": "closed",
        "event no": "full",
        "event broken": None,
        "event (unknown)": "unknown_event",
    }
    assert [name for name, span in spans.items() if span.status.status_code is StatusCode.ERROR] == ["event broken"]
    assert [event.name for event in spans["event broken"].events] == ["exception"]
    assert not spans["event no"].events


async def test_only_some_events_have_spans(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    async with open_server(build(provider, one_in=10)) as server, server.socket() as client:
        for _ in range(200):
            assert await client.call("plain") == "done"
    chosen = [span for span in exporter.get_finished_spans() if span.name == "event plain"]
    assert 200 // 19 <= len(chosen) <= 40


@pytest.mark.parametrize("one_in", [0, -1, True, 1.5])
def test_a_number_that_is_none_is_refused_by_name(one_in: Any) -> None:
    with pytest.raises(ConfigurationError, match="one_in"):
        Tracing(one_in=one_in)
