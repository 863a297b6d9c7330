"""Shows administrators what one socket says and hears, wherever it is.

Rule: a watch is a lease: the node of the administrator renews it, and the node of the
socket stops by itself when nobody does. At most so many events a second are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from rtserver import Server, Socket
from rtserver.handlers.admin.events import SocketEvent

LEASE = 15.0
MAX_WATCHED = 100
SHOWN_PER_SECOND = 50
MAX_TEXT = 500


class Show(Protocol):
    """Where what was seen goes."""

    def __call__(self, seen: SocketEvent) -> None: ...


class Watch:
    """One socket that is being watched on this node."""

    def __init__(self, socket: Socket, show: Show, until: float) -> None:
        self.until = until
        self._socket = socket
        self._show = show
        self._second = 0
        self._shown = 0
        self._heard = self._listener("in")
        self._said = self._listener("out")
        socket.on_any(self._heard)
        socket.on_any_outgoing(self._said)

    def end(self) -> None:
        self._socket.off_any(self._heard)
        self._socket.off_any(self._said)

    def _listener(self, direction: Literal["in", "out"]) -> Callable[..., None]:
        def listen(name: Any, *args: Any) -> None:
            at = time.time()
            if int(at) != self._second:
                self._second, self._shown = int(at), 0
            self._shown += 1
            if self._shown > SHOWN_PER_SECOND:
                return
            namespace, socket_id = self._socket.namespace.name, self._socket.id
            text = shortened(args)
            self._show(SocketEvent(namespace, socket_id, direction, str(name)[:MAX_TEXT], text, int(at * 1000)))

        return listen


class Watches:
    """The sockets of this node that are being watched."""

    def __init__(self, io: Server, show: Show) -> None:
        self._io = io
        self._show = show
        self._watched: dict[tuple[str, str], Watch] = {}

    def renew(self, namespace: object, socket_id: object, now: float) -> None:
        """Watch a socket, if it is on this node, for the length of a lease."""
        if not isinstance(namespace, str) or not isinstance(socket_id, str):
            return
        key = (namespace, socket_id)
        watch = self._watched.get(key)
        if watch is not None:
            watch.until = now + LEASE
            return
        found = self._io.namespaces.get(namespace)
        socket = None if found is None else found.sockets.get(socket_id)
        if socket is not None and len(self._watched) < MAX_WATCHED:
            self._watched[key] = Watch(socket, self._show, now + LEASE)

    def end(self, namespace: object, socket_id: object) -> None:
        """Stop at once."""
        watch = self._watched.pop((str(namespace), str(socket_id)), None)
        if watch is not None:
            watch.end()

    def expire(self, now: float) -> None:
        """Stop what nobody has renewed."""
        for key, watch in list(self._watched.items()):
            if watch.until < now:
                self.end(*key)


def shortened(args: tuple[Any, ...]) -> str:
    """Arguments as JSON of a length that can be shown; binary by its size."""
    try:
        text = msgspec.json.encode(_without_binary(args)).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        text = repr(args)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _without_binary(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, (list, tuple)):
        return [_without_binary(item) for item in value[:MAX_TEXT]]
    if isinstance(value, dict):
        return {str(key): _without_binary(item) for key, item in list(value.items())[:MAX_TEXT]}
    return value
