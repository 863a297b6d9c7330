"""The Quart-Trio application that a node serves beside Engine.IO: health, metrics and which events there are.

Rule: reads a server's ``statistics()`` and its contract and nothing else of it. Paths
that it does not know go to the user's own application, if one was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from quart import Response
from quart_trio import QuartTrio

from rtserver.adapters.base import relay_of
from rtserver.contracts.page import HEADERS as PAGE_HEADERS
from rtserver.contracts.published import Published
from rtserver.errors import ConfigurationError
from rtserver.logs import LimitedLog
from rtserver.server import Server, ServerStatistics
from rtserver.transports.asgi import ASGIApp

OWN_PATHS = ("/healthz", "/readyz", "/metrics")
API_PATHS = ("/asyncapi", "/asyncapi.json")


def create_app(server: Server, inner: ASGIApp | None = None) -> ASGIApp:
    """The application of a node.

    Args:
        server: Whose health it tells.
        inner: Serves every other path; a Quart-Trio application or any ASGI one.
    """
    app = QuartTrio("rtserver")
    registry = CollectorRegistry()
    registry.register(ServerCollector(server))

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> tuple[dict[str, str], int]:
        if not server.ready:
            return {"status": "draining"}, 503
        # Deaf to the others, a node still serves its own: nobody is helped by taking all of them away.
        relay = relay_of(server.adapter_factory)
        return {"status": "degraded" if relay is not None and relay.state == "degraded" else "ready"}, 200

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    if server.config.api_page:
        _serve_contract(app, Published(server))
    if inner is None:
        return app
    return _Split(app, inner, {*OWN_PATHS, *(API_PATHS if server.config.api_page else ())})


def _serve_contract(app: QuartTrio, published: Published) -> None:
    quiet = LimitedLog()

    @app.get("/asyncapi")
    async def asyncapi_page() -> Response:
        return answer(published.page, "text/html; charset=utf-8")

    @app.get("/asyncapi.json")
    async def asyncapi_document() -> Response:
        return answer(published.document, "application/json")

    def answer(make: Callable[[], bytes], content_type: str) -> Response:
        try:
            return Response(make(), content_type=content_type, headers=PAGE_HEADERS)
        except ConfigurationError as exc:
            quiet.warning("no_asyncapi_document", reason=str(exc))
            return Response("Internal Server Error\n", 500, content_type="text/plain", headers=PAGE_HEADERS)


class _Split:
    """Our paths to our application, everything else and the lifespan to the user's."""

    def __init__(self, own: ASGIApp, inner: ASGIApp, own_paths: set[str]) -> None:
        self._own = own
        self._inner = inner
        self._own_paths = own_paths

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = self._own if scope["type"] == "http" and scope["path"] in self._own_paths else self._inner
        await app(scope, receive, send)


class ServerCollector(Collector):
    """Reads a server's counters when Prometheus asks; nothing is counted twice."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def collect(self) -> Iterable[Metric]:
        """The metrics of this moment."""
        statistics = self._server.statistics()
        yield _gauge("rtserver_clients", "Clients connected", statistics.clients)
        yield _counter("rtserver_slow_handlers", "Plain handlers that blocked the loop", statistics.slow_handlers)
        yield from _engine(statistics)
        yield from _namespaces(statistics)
        yield from _node(statistics)
        yield from _cluster(statistics)
        yield from _relay(statistics)
        yield from _recovery(statistics)
        yield from _of_middleware(self._server)


def _of_middleware(server: Server) -> Iterable[Metric]:
    """What middleware offers by ``collect()``."""
    owners = [*server.namespaces.values(), *server.parent_namespaces]
    members = {id(member): member for owner in owners for member in owner.registry.middleware}
    families: dict[str, Metric] = {}
    for member in members.values():
        collect: Callable[[], Iterable[Metric]] | None = getattr(member, "collect", None)
        for metric in collect() if collect is not None else ():
            known = families.setdefault(metric.name, metric)
            if known is not metric:
                known.samples.extend(metric.samples)
    return families.values()


def _engine(statistics: ServerStatistics) -> Iterable[Metric]:
    engine = statistics.engine
    sessions = GaugeMetricFamily("rtserver_sessions", "Engine.IO sessions", labels=["transport"])
    sessions.add_metric(["polling"], engine.polling)
    sessions.add_metric(["websocket"], engine.websocket)
    yield sessions
    yield _counter("rtserver_sessions_opened", "Sessions since the start", engine.opened)
    yield _counter("rtserver_packets_out", "Engine.IO packets sent", engine.packets_out)
    yield _counter("rtserver_slow_consumers", "Sessions closed because they did not keep up", engine.slow_consumers)
    yield _counter("rtserver_requests_refused", "Engine.IO requests refused", engine.refused)


def _namespaces(statistics: ServerStatistics) -> Iterable[Metric]:
    sockets = GaugeMetricFamily("rtserver_sockets", "Connected sockets", labels=["namespace"])
    rooms = GaugeMetricFamily("rtserver_rooms", "Rooms joined by name", labels=["namespace"])
    received = CounterMetricFamily("rtserver_events_received", "Events from clients", labels=["namespace"])
    refused = CounterMetricFamily("rtserver_events_refused", "Events refused", labels=["namespace"])
    families: list[Any] = [sockets, rooms, received, refused]
    dynamic = [0, 0, 0, 0]
    for namespace in statistics.namespaces:
        values = [namespace.sockets, namespace.rooms, namespace.events_received, namespace.events_refused]
        if namespace.dynamic:
            # Clients choose these names, and a label for each would let them fill a metrics store.
            dynamic = [total + value for total, value in zip(dynamic, values, strict=True)]
            continue
        for family, value in zip(families, values, strict=True):
            family.add_metric([namespace.name], value)
    for family, value in zip(families, dynamic, strict=True):
        family.add_metric(["(dynamic)"], value)
    return families


def _relay(statistics: ServerStatistics) -> Iterable[Metric]:
    relay = statistics.relay
    if relay is None:
        return
    yield _gauge("rtserver_relay_healthy", "Whether this node hears the others", relay.state == "healthy")
    yield _gauge("rtserver_relay_backlog", "Messages for other nodes that wait", relay.backlog)
    yield _counter("rtserver_relay_published", "Messages for other nodes", relay.published)
    yield _counter("rtserver_relay_received", "Messages from other nodes", relay.received)
    yield _counter("rtserver_relay_lost", "Messages given up while the relay was away", relay.lost)
    yield _counter("rtserver_relay_refused", "Messages of other nodes that were not what they should be", relay.refused)
    yield _counter("rtserver_relay_connects", "Connections to the relay", relay.connects)


def _recovery(statistics: ServerStatistics) -> Iterable[Metric]:
    recovery = statistics.recovery
    if recovery is None:
        return
    yield _counter("rtserver_recovered", "Sockets that went on where they had been", recovery.recovered)
    yield _counter("rtserver_recovery_failed", "Sockets that wanted to and had to begin anew", recovery.afresh)
    yield _gauge("rtserver_recovery_sessions", "Sockets remembered that were cut off", recovery.sessions)
    yield _gauge("rtserver_recovery_packets", "Events kept for those that may miss them", recovery.packets)
    yield _gauge("rtserver_recovery_bytes", "Their size", recovery.bytes)


def _node(statistics: ServerStatistics) -> Iterable[Metric]:
    node = statistics.node
    if node is None:
        return
    yield _gauge("rtserver_connections", "Connections on the loop", node.connections)
    yield _gauge("rtserver_handed_over", "Connections with the HTTP application", node.handed_over)
    yield _counter("rtserver_connections_accepted", "Connections accepted", node.accepted)
    yield _counter("rtserver_connections_adopted", "Connections that others had accepted", node.adopted)
    yield _counter("rtserver_connections_passed_on", "Connections given to another node", node.passed_on)
    yield _counter("rtserver_connections_turned_away", "Connections refused because full", node.turned_away)
    yield _counter("rtserver_bytes_in", "Bytes read", node.bytes_in)
    yield _counter("rtserver_bytes_out", "Bytes written", node.bytes_out)
    yield _gauge("rtserver_loop_delay_seconds", "How late the loop's last check was", node.loop_delay)
    yield _gauge("rtserver_loop_longest_turn_seconds", "The longest turn of the loop", node.longest_turn)


def _cluster(statistics: ServerStatistics) -> Iterable[Metric]:
    cluster = statistics.cluster
    if cluster is None:
        return
    yield _gauge("rtserver_slot", "The node's place in its cluster", cluster.slot)
    yield _gauge("rtserver_load", "Share of the last second that the node was busy", cluster.load)
    yield _gauge("rtserver_neighbours", "Other nodes of this machine", len(cluster.neighbours))
    yield _counter("rtserver_handoff_failures", "Passed connections that were dropped", cluster.handoff_failures)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


# Every server has health and metrics beside Engine.IO, wherever it was made.
Server.app_factory = create_app
