"""Connections to upstreams: over TCP, or a socket pair of which a node of this machine gets one end.

Rule: addresses come from the settings and from leases, never from a request.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket

import trio

from proxy.errors import BadGateway
from proxy.forwarding import Client
from proxy.handing import metadata_of
from proxy.links import Link
from proxy.streams import SocketStream, Wire
from proxy.upstreams import Upstream
from rtserver.protocol.handoff import encode_connection

# What we are out of ourselves: descriptors, memory, ports. It says nothing about the upstream.
_OUR_OWN = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)


class UpstreamWire(Wire):
    """A connection to an upstream.

    Args:
        stream: The bytes.
        upstream: Whose.
        client: Whose requests it bears, when the upstream has been told so for all of them.

    Attributes:
        used: Whether it has borne a request already.
    """

    def __init__(self, stream: SocketStream | trio.SocketStream, upstream: Upstream, client: Client | None) -> None:
        super().__init__(stream)
        self.upstream = upstream
        self.client = client
        self.used = False
        self._sock = stream.sock if isinstance(stream, SocketStream) else stream.socket

    @property
    def idle(self) -> bool:
        """Whether it can bear another request: the upstream has neither hung up nor said what nobody asked for."""
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN | select.POLLHUP)
        return not self.buffer and not poll.poll(0)


async def dial(upstream: Upstream, client: Client, seconds: float) -> UpstreamWire:
    """Connect to an upstream.

    Args:
        upstream: To whom.
        client: For whom. A node of this machine is told so beside the connection.
        seconds: How long it may take.

    Raises:
        BadGateway: It cannot be reached, and has seen nothing of the request; or it cannot be asked, by no fault
            of its own.
    """
    try:
        with trio.fail_after(seconds):
            if isinstance(upstream, Link):
                return UpstreamWire(await _hand_a_pair(upstream, client), upstream, client)
            assert upstream.address is not None
            stream = await trio.open_tcp_stream(upstream.address.host, upstream.address.port)
            return UpstreamWire(stream, upstream, None)
    except trio.TooSlowError as exc:
        raise BadGateway(504, "gateway timeout", untouched=True) from exc
    except OSError as exc:
        if is_our_own(exc):
            raise BadGateway(503, "too many connections", ours=True) from exc
        raise BadGateway(502, "bad gateway", untouched=True) from exc


def is_our_own(exc: OSError) -> bool:
    """Whether a connection has failed for want of something here; of several attempts, the causes are looked at."""
    found: BaseException | None = exc.__cause__
    causes = found.exceptions if isinstance(found, BaseExceptionGroup) else (exc,)
    return any(isinstance(one, OSError) and one.errno in _OUR_OWN for one in causes)


class _Pair:
    """One end of a socket pair, for a node; somebody waits for it to be taken."""

    def __init__(self, sock: socket.socket, datagram: bytes) -> None:
        self.sock = sock
        self.datagram = datagram
        self.taken = False
        self.settled = trio.Event()

    def on_taken(self) -> None:
        self.taken = True
        self.settled.set()

    def on_left(self) -> None:
        self.settled.set()


async def _hand_a_pair(link: Link, client: Client) -> SocketStream:
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as opened:
        opened.enter_context(ours)
        with theirs:
            pair = _Pair(theirs, encode_connection(metadata_of(client), b""))
            taken = link.give(theirs, pair.datagram)
            if taken is None and link.wait_for(pair, trio.current_time()):
                # Not given up half-way: whoever waits in the link's queue is there until it is settled.
                with trio.CancelScope(shield=True):
                    await pair.settled.wait()
                taken = pair.taken
            if not taken:
                raise ConnectionError("the node did not take a connection")
        opened.pop_all()
    return SocketStream(ours)
