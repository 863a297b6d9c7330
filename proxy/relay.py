"""Relays: connections whose requests go on to an upstream by another connection.

Rule: each request is read strictly, routed by itself, and written anew; an upstream sees
nothing that was not understood here. What an upstream says is believed as little. A
connection of a client has its own ones to upstreams, so nobody's bytes reach another.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Protocol

import trio

from proxy.answers import refusal
from proxy.bodies import Gone, read_body
from proxy.dialing import UpstreamWire, dial
from proxy.edge import Edge
from proxy.errors import BadGateway, BadRequest, UnknownSession
from proxy.forwarding import Client, request_for_upstream
from proxy.head import RequestHead, parse_head, split_head
from proxy.links import Link
from proxy.response import MAX_RESPONSE_HEAD, Framing, ResponseHead, parse_response
from proxy.routing import Route, UnknownOwner
from proxy.streams import Chunks, MalformedChunk, SocketStream, Wire
from proxy.tunnel import tunnel
from proxy.upstreams import Upstream
from rtserver.protocol.handoff import MAX_DATAGRAM

MAX_TRIES = 3
# What a client may say while it is being answered.
MAX_PIPELINED = 65_536
# What is handed over with a connection, beside a little that is said about it.
MAX_HANDED = MAX_DATAGRAM - 2_048
# What may be asked again when nobody can say whether it was heard. Source: RFC 9110, section 9.2.2.
_REPEATABLE = ("GET", "HEAD", "OPTIONS")
# Connections to different upstreams that one client's connection keeps.
MAX_KEPT = 4


class Discovery(Protocol):
    """Looks for nodes of other machines."""

    async def look(self) -> None:
        """Look now, if nobody has just done so."""


class _Stale(Exception):
    """A connection that was used before has ended without a word, and the request may be repeated."""


@dataclass(slots=True)
class _Exchange:
    """A request, and how far it is."""

    head: RequestHead
    client: Client
    body: bytes
    began: float
    answered: bool = False


class Relay:
    """One connection of a client.

    Args:
        edge: Whose it was, and whose settings and counters are used.
        discovery: Asked for nodes that are not known yet; None when there is nobody to ask.
        wire: The client's side.
        peer: Who is at its other end.
    """

    def __init__(self, edge: Edge, discovery: Discovery | None, wire: Wire, peer: Client) -> None:
        self._edge = edge
        self._discovery = discovery
        self._wire = wire
        self._peer = peer
        self._kept: dict[str, UpstreamWire] = {}
        self._fresh = True

    async def run(self, head: RequestHead | None, route: Route | None) -> bool:
        """Serve one request after another.

        Args:
            head: The first one, if it has been read.
            route: Where that goes, if it is known.

        Returns:
            Whether the connection was handed over, and must not be touched.
        """
        try:
            while True:
                if head is None:
                    head = await self._next_head()
                if head is None:
                    return False
                if route is None:
                    route = await self._route(head)
                    if self._hand_over(head, route):
                        return True
                self._fresh = False
                if not await self._serve(head, route):
                    return False
                head = route = None
        except (BadRequest, BadGateway, UnknownSession) as exc:
            await self._refuse(exc, head)
        except (Gone, trio.BrokenResourceError):
            pass
        finally:
            with trio.CancelScope(shield=True):
                for kept in self._kept.values():
                    await kept.close()
        return False

    async def _next_head(self) -> RequestHead | None:
        """The next request; None when the client has no more."""
        settings = self._edge.settings
        # Whoever has only just come is no keeper of a connection yet.
        seconds, self._fresh = settings.head_timeout if self._fresh else settings.keep_alive_timeout, False
        with trio.move_on_after(seconds) as idle:
            self._edge.idle.add(idle)
            try:
                if not self._wire.buffer and not await self._wire.more():
                    return None
            finally:
                self._edge.idle.discard(idle)
        if not self._wire.buffer:
            return None
        with trio.move_on_after(settings.head_timeout):
            while True:
                found = split_head(self._wire.buffer, max_size=settings.max_head_size)
                if found is not None:
                    self._wire.buffer = found[1]
                    self._edge.counters.requests += 1
                    return parse_head(found[0], max_headers=settings.max_headers)
                if not await self._wire.more():
                    return None
        raise BadRequest(408, "request timeout")

    def _hand_over(self, head: RequestHead, route: Route) -> bool:
        """Give the whole connection to a node of this machine, if this request is for one."""
        stream = self._wire.stream
        if not isinstance(stream, SocketStream) or not isinstance(route.upstream, Link):
            return False
        if not self._edge.may_hand_over(self._peer, head):
            return False
        if len(head.raw) + len(self._wire.buffer) > MAX_HANDED:
            # It does not fit into a datagram, and is relayed to the same node.
            return False
        self._edge.hand_over(stream.sock, self._peer, head, self._wire.take(), route, real=False)
        return True

    async def _route(self, head: RequestHead) -> Route:
        now = trio.current_time()
        try:
            return self._edge.router.route(head, self._peer.host, now)
        except UnknownOwner:
            if self._discovery is None:
                raise
        await self._discovery.look()
        return self._edge.router.route(head, self._peer.host, now)

    # One request.

    async def _serve(self, head: RequestHead, route: Route) -> bool:
        """Answer a request; whether the connection may carry another."""
        edge = self._edge
        began = trio.current_time()
        client = edge.trust.client(head, self._peer)
        with edge.bodies.share() as share:
            body = await read_body(self._wire, head, edge.settings, share)
            edge.counters.bytes_in += len(head.raw) + len(body)
            edge.counters.relayed += 1
            return await self._forward(_Exchange(head, client, body, began), route)

    async def _forward(self, exchange: _Exchange, route: Route) -> bool:
        """Ask one upstream, and others while none can have seen the request."""
        edge = self._edge
        tried: list[Upstream] = []
        while route.upstream is not None:
            try:
                return await self._try(exchange, route)
            except BadGateway as exc:
                if exc.ours:
                    raise
                if exc.untouched or not isinstance(route.upstream, Link):
                    # Whether a node of this machine lives is known for certain; no request can make it look dead.
                    edge.pool.failed(route.upstream, certain=exc.untouched)
                edge.quiet.warning("upstream_failed", upstream=route.upstream.name, status=exc.status)
                tried.append(route.upstream)
                if exchange.answered:
                    raise Gone from exc
                if not exc.untouched or route.pinned or len(tried) >= MAX_TRIES:
                    raise
                failure = exc
            edge.counters.retried += 1
            other = edge.pool.pick(trio.current_time(), tried)
            if other is None:
                raise failure
            route = Route(other, sets_cookie=route.sets_cookie)
        raise BadGateway(503, "no upstream is ready")

    async def _try(self, exchange: _Exchange, route: Route) -> bool:
        upstream = route.upstream
        assert upstream is not None
        while True:
            wire = await self._connect(upstream, exchange)
            try:
                return await self._ask(exchange, wire, route)
            except _Stale:
                continue
            finally:
                if self._kept.get(upstream.name) is not wire:
                    with trio.CancelScope(shield=True):
                        await wire.close()

    async def _connect(self, upstream: Upstream, exchange: _Exchange) -> UpstreamWire:
        client = exchange.client
        kept = self._kept.pop(upstream.name, None)
        if kept is not None:
            # A WebSocket begins on a connection of its own, as with browsers: nothing came before it.
            fit = kept.idle and not exchange.head.wants_websocket
            if fit and kept.upstream is upstream and kept.client in (None, client):
                return kept
            await kept.close()
        upstream.total += 0 if isinstance(upstream, Link) else 1
        return await dial(upstream, client, self._edge.settings.connect_timeout)

    async def _ask(self, exchange: _Exchange, wire: UpstreamWire, route: Route) -> bool:
        """Send the request to an upstream and its answer to the client."""
        head, edge = exchange.head, self._edge
        request = request_for_upstream(
            head,
            self._peer,
            exchange.client,
            trusted=self._peer.host in edge.trust,
            host=wire.upstream.address,
            length=len(exchange.body),
        )
        try:
            with trio.fail_after(edge.settings.response_timeout):
                with contextlib.suppress(trio.BrokenResourceError):
                    # It may have answered without reading all of it.
                    await wire.send(request + exchange.body)
                response = await self._response(wire, head)
        except trio.TooSlowError as exc:
            raise BadGateway(504, "gateway timeout") from exc
        except trio.BrokenResourceError as exc:
            if wire.used and head.method in _REPEATABLE:
                raise _Stale from exc
            raise BadGateway(502, "bad gateway") from exc
        edge.pool.succeeded(wire.upstream)
        cookie = self._cookie(route) if route.sets_cookie else None
        wire.used = True
        if response.status == 101:
            response.check_switch(head)
            await self._switch(exchange, wire, response, cookie)
            return False
        once = head.wants_websocket or response.framing is Framing.CLOSE or edge.draining
        keep = head.keep_alive and not once
        exchange.answered = True
        await self._send(response.for_client(keep_alive=keep, cookie=cookie))
        sent = await self._carry_body(wire, response)
        edge.counters.bytes_out += sent
        self._note(exchange, wire, response.status, sent)
        if keep and response.keep_alive and not wire.buffer and len(self._kept) < MAX_KEPT:
            self._kept[wire.upstream.name] = wire
        return keep

    def _cookie(self, route: Route) -> str:
        assert route.upstream is not None
        secure = "; Secure; SameSite=None" if self._peer.secure else "; SameSite=Lax"
        name, value = self._edge.settings.cookie_name, self._edge.router.cookie_of(route.upstream)
        return f"{name}={value}; Path=/; HttpOnly{secure}"

    async def _response(self, wire: UpstreamWire, head: RequestHead) -> ResponseHead:
        """The head of the final answer, while the client still waits for it."""
        response: ResponseHead | None = None
        failure: BadGateway | trio.BrokenResourceError | None = None
        async with trio.open_nursery() as nursery:
            watch = trio.CancelScope()
            nursery.start_soon(self._watch, watch, nursery.cancel_scope)
            try:
                while response is None or (response.status < 200 and response.status != 101):
                    response = await _read_response(wire)
            except (BadGateway, trio.BrokenResourceError) as exc:
                failure = exc
            watch.cancel()
        if failure is not None:
            raise failure
        if response is None:
            raise Gone
        response.find_framing(head)
        return response

    async def _watch(self, watch: trio.CancelScope, everything: trio.CancelScope) -> None:
        """A client that leaves ends its request; one that says more is read up to a bound."""
        with watch:
            while len(self._wire.buffer) < MAX_PIPELINED:
                if not await self._wire.more():
                    everything.cancel()
                    return

    async def _carry_body(self, wire: UpstreamWire, response: ResponseHead) -> int:
        """The body, as it is; how long it was."""
        sent = 0
        missing, chunks = response.length, Chunks()
        if response.framing is Framing.NONE or (response.framing is Framing.LENGTH and not missing):
            return 0
        while True:
            data = wire.take()
            if response.framing is Framing.LENGTH:
                data, wire.buffer = data[:missing], data[missing:]
                missing -= len(data)
                complete = not missing
            elif response.framing is Framing.CHUNKED:
                try:
                    _, rest = chunks.feed(data)
                except MalformedChunk as exc:
                    raise BadGateway(502, "bad gateway") from exc
                data, wire.buffer = data[: len(data) - len(rest)], rest
                complete = chunks.complete
            else:
                complete = False
            if data:
                await self._send(data)
                sent += len(data)
            if complete:
                return sent
            with trio.move_on_after(self._edge.settings.response_timeout) as scope:
                if not await wire.more():
                    if response.framing is Framing.CLOSE:
                        return sent
                    raise BadGateway(502, "bad gateway")
            if scope.cancelled_caught:
                raise BadGateway(504, "gateway timeout")

    async def _switch(
        self, exchange: _Exchange, wire: UpstreamWire, response: ResponseHead, cookie: str | None
    ) -> None:
        counters = self._edge.counters
        counters.tunnels += 1
        exchange.answered = True
        self._note(exchange, wire, 101, 0)
        await self._send(response.for_client(keep_alive=False, cookie=cookie))
        came, went = self._wire.carried, wire.carried
        try:
            await tunnel(self._wire, wire, self._edge.settings.tunnel_timeout)
        finally:
            counters.bytes_in += self._wire.carried - came
            counters.bytes_out += wire.carried - went

    async def _send(self, data: bytes) -> None:
        """To the client, who must take it in time."""
        with trio.move_on_after(self._edge.settings.response_timeout) as scope:
            await self._wire.send(data)
        if scope.cancelled_caught:
            raise Gone

    def _note(self, exchange: _Exchange, wire: UpstreamWire, status: int, sent: int) -> None:
        took = round((trio.current_time() - exchange.began) * 1_000, 1)
        self._edge.note(
            exchange.client, exchange.head, to=wire.upstream.name, how="relayed", status=status, bytes=sent, ms=took
        )

    async def _refuse(self, exc: BadRequest | BadGateway | UnknownSession, head: RequestHead | None) -> None:
        self._edge.counters.refuse(exc)
        if head is not None:
            self._edge.note(self._peer, head, status=400 if isinstance(exc, UnknownSession) else exc.status)
        try:
            await self._send(refusal(exc, head, self._edge.settings))
            stream = self._wire.stream
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
                # Closing now would take the answer away from a client that is still sending.
                with trio.move_on_after(1.0):
                    while await self._wire.more():
                        self._wire.take()
        except (Gone, trio.BrokenResourceError):
            pass


async def _read_response(wire: UpstreamWire) -> ResponseHead:
    while (end := wire.buffer.find(b"\r\n\r\n", 0, MAX_RESPONSE_HEAD)) < 0:
        if len(wire.buffer) >= MAX_RESPONSE_HEAD:
            raise BadGateway(502, "bad gateway")
        if not await wire.more():
            if wire.used and not wire.buffer:
                raise trio.BrokenResourceError
            raise BadGateway(502, "bad gateway")
    raw, wire.buffer = wire.buffer[: end + 4], wire.buffer[end + 4 :]
    return parse_response(raw)
