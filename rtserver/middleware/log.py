"""``ConnectionLog``: who came, who went and why, and who was refused.

Rule: one line for one fact, with fields. Connects and disconnects are one line each; what
clients bring about by being refused is a line a second of each kind at most, and a count. Nothing is
written for an event that is served.
"""

from __future__ import annotations

from collections.abc import Awaitable
from types import CoroutineType
from typing import Any

import structlog

from rtserver.core.pipeline import ConnectContext, EventContext, Proceed, RequestContext, Result
from rtserver.core.socket import Socket
from rtserver.core.watching import Watching
from rtserver.errors import ConnectRefused, EventRefused, RequestRefused
from rtserver.logs import LimitedLog
from rtserver.types import DisconnectReason

log = structlog.get_logger("rtserver.connections")

# Clients choose the names of dynamic namespaces.
MAX_NAME = 100


class ConnectionLog(Watching):
    """Writes connects, disconnects and refusals to the log. Put it first, so that it sees what all others refuse."""

    def __init__(self) -> None:
        self._quiet = LimitedLog()

    def joined(self, socket: Socket) -> None:
        log.info("connected", **_who(socket), transport=socket.transport, address=socket.client.address)

    def left(self, socket: Socket, reason: DisconnectReason) -> None:
        log.info("disconnected", **_who(socket), reason=reason)

    def request_refused(self, context: RequestContext, refused: RequestRefused) -> None:
        address = context.handshake.address
        self._quiet.warning("handshake_refused", reason=refused.message, status=refused.status, address=address)

    def connect_refused(self, context: ConnectContext, refused: ConnectRefused) -> None:
        socket = context.socket
        self._quiet.warning(
            "connect_refused",
            reason=refused.message,
            namespace=socket.namespace.name[:MAX_NAME],
            address=socket.client.address,
        )

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        try:
            result = proceed(context)
        except EventRefused as refused:
            self._event_refused(context, refused)
            raise
        # An exact type, as asking what can be awaited costs more than the event's own way.
        return self._watch_event(result, context) if type(result) is CoroutineType else result

    async def _watch_event(self, result: Awaitable[Any], context: EventContext) -> Result:
        try:
            return await result
        except EventRefused as refused:
            self._event_refused(context, refused)
            raise

    def _event_refused(self, context: EventContext, refused: EventRefused) -> None:
        socket = context.socket
        # The name of an event that nobody knows is the client's text.
        name = {"name": context.event} if context.known else {}
        self._quiet.warning("event_refused", code=refused.code, **name, **_who(socket), address=socket.client.address)


def _who(socket: Socket) -> dict[str, str]:
    user = getattr(socket.user, "id", None)
    who = {"socket": socket.id, "namespace": socket.namespace.name[:MAX_NAME]}
    return who if user is None else {**who, "user": str(user)}
