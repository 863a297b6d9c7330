"""How many connections an address and a user may have at once.

Rule: what is counted is sessions, from when they begin until they end, however that comes
about; what is refused on the way in is given back at once. The counts are those of this node.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from contextlib import ExitStack
from typing import Any

from rtserver.core.addresses import group
from rtserver.core.client import Client
from rtserver.core.pipeline import ConnectContext, Middleware, Proceed, RequestContext, Result
from rtserver.core.socket import Socket
from rtserver.errors import ConfigurationError, ConnectRefused, RequestRefused
from rtserver.logs import LimitedLog
from rtserver.types import DisconnectReason

CODE = "too_many_connections"
MESSAGE = "too many connections"


class ConnectionLimits(Middleware):
    """Refuses connections beyond a number.

    Addresses are limited before authentication and users after it, so there are two of them:
    ``middleware=[ConnectionLimits(per_address=100), JWTAuth(…), ConnectionLimits(per_user=5)]``.
    An IPv6 address counts with its /64. Behind a proxy, set ``trusted_proxies``: all that it
    relays is one address otherwise.

    Args:
        per_address: Sessions of one address; None for any number.
        per_user: Sessions in which a user has joined a namespace; None for any number.
        oldest_goes: Whether a user's oldest session makes room for a new one, which is not refused then.

    Raises:
        ConfigurationError: A number is below one.

    Attributes:
        refused: Handshakes and joins so far.
    """

    def __init__(
        self, *, per_address: int | None = None, per_user: int | None = None, oldest_goes: bool = False
    ) -> None:
        for setting, number in (("per_address", per_address), ("per_user", per_user)):
            if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
                raise ConfigurationError(setting, number, "a number from 1 on, or None")
        self._per_address = per_address
        self._per_user = per_user
        self._oldest_goes = oldest_goes
        self._addresses: dict[str, int] = {}
        # Handshakes that waited together may all have been let in: those beyond the number join nothing.
        self._beyond: set[Client] = set()
        # The users of each session, and of each user the sessions, oldest first, with the namespaces joined.
        self._clients: dict[Client, set[str]] = {}
        self._users: dict[str, dict[Client, int]] = {}
        self._quiet = LimitedLog()
        self.refused = 0

    # Sessions.

    def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Result:
        address = context.handshake.address
        if self._per_address is not None and self._addresses.get(group(address), 0) >= self._per_address:
            self._note("address", address)
            raise RequestRefused(MESSAGE, status=429)
        return proceed(context)

    def opened(self, client: Client) -> None:
        self._clients[client] = set()
        address = group(client.address)
        count = self._addresses[address] = self._addresses.get(address, 0) + 1
        if self._per_address is not None and count > self._per_address:
            self._beyond.add(client)

    def closed(self, client: Client, reason: DisconnectReason) -> None:
        address = group(client.address)
        count = self._addresses.pop(address) - 1
        if count:
            self._addresses[address] = count
        self._beyond.discard(client)
        for user in self._clients.pop(client):
            self._forget(user, client)

    # Joins.

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        socket = context.socket
        client = socket.client
        if client not in self._clients:
            raise ConfigurationError("middleware", self, "to be given to the server, before it runs")
        if client in self._beyond:
            self._note("address", client.address)
            raise ConnectRefused(MESSAGE, {"code": CODE})
        user = None if self._per_user is None else _user(socket)
        if user is not None:
            self._count(user, client)
        with ExitStack() as undo:
            undo.callback(self._give_back, user, client)
            result = proceed(context)
            undo.pop_all()
        if inspect.isawaitable(result):
            return self._settle(result, socket, user)
        self._check_order(socket, user)
        return result

    async def _settle(self, pending: Awaitable[Any], socket: Socket, user: str | None) -> Result:
        with ExitStack() as undo:
            undo.callback(self._give_back, user, socket.client)
            result = await pending
            undo.pop_all()
        self._check_order(socket, user)
        return result

    def _check_order(self, socket: Socket, user: str | None) -> None:
        if self._per_user is not None and user is None and _user(socket) is not None:
            raise ConfigurationError("middleware", self, "to come after authentication, as it limits users")

    def _count(self, user: str, client: Client) -> None:
        sessions = self._users.setdefault(user, {})
        if client not in sessions and len(sessions) >= (self._per_user or 0):
            if not self._oldest_goes:
                self._note("user", client.address)
                raise ConnectRefused(MESSAGE, {"code": CODE})
            oldest = next(iter(sessions))
            self._clients[oldest].discard(user)
            self._forget(user, oldest)
            oldest.disconnect()
            sessions = self._users.setdefault(user, {})
        sessions[client] = sessions.get(client, 0) + 1
        self._clients[client].add(user)

    def _give_back(self, user: str | None, client: Client) -> None:
        """The join that was counted has failed. Nothing is left of it, nor of a session that is over."""
        sessions = None if user is None else self._users.get(user)
        if user is None or sessions is None or client not in sessions:
            return
        sessions[client] -= 1
        if not sessions[client]:
            self._clients[client].discard(user)
            self._forget(user, client)

    def _forget(self, user: str, client: Client) -> None:
        sessions = self._users[user]
        sessions.pop(client, None)
        if not sessions:
            del self._users[user]

    def _note(self, whose: str, address: str) -> None:
        self.refused += 1
        self._quiet.warning("too_many_connections", whose=whose, address=address)


def _user(socket: Socket) -> str | None:
    user = getattr(socket.user, "id", None)
    return None if user is None else str(user)
