"""A socket whose client may be cut off and come back: it leaves a trail, and goes on where the earlier one ended.

Rule: who comes back is looked at anew. Middleware must find the same user, and the guards of the rooms that the
client has entered are asked again; what they refuse now is neither restored nor sent. All is restored or nothing:
a client that has missed what is not kept any more begins afresh, and knows it.
Source: socket.io 4.8, ``Socket``, ``_onclose`` and ``RECOVERABLE_DISCONNECT_REASONS``.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from rtserver.adapters.base import Flags, Target
from rtserver.core.entering import Entries, ask_again
from rtserver.core.pipeline import ConnectContext, EmitContext, compose
from rtserver.core.socket import Socket
from rtserver.core.window import Kept, KeptOutbound, Trail
from rtserver.entropy import random_id
from rtserver.protocol.engineio.outbound import Outbound
from rtserver.types import Auth, DisconnectReason, Room

if TYPE_CHECKING:
    from rtserver.core.client import Client
    from rtserver.core.namespace import Namespace
    from rtserver.core.recovery import Recovery

RECOVERABLE: frozenset[DisconnectReason] = frozenset(
    [
        "transport error",
        "transport close",
        "forced close",
        "ping timeout",
        "server shutting down",
        "forced server close",
    ]
)


class RecoverableSocket(Socket):
    """A socket that is remembered for a while.

    Args:
        earlier: The one that it asks to go on as; itself remembered, or not yet known to be cut off.
        start: The position of the last event that its client has received.
        elsewhere: The pid and the offset to ask other nodes for, if this one knows none.

    Attributes:
        pid: The secret by which its client comes back.
        trail: What it was sent.
        away_until: While it is remembered: the time at which it is forgotten, on Trio's clock.
        lent_to: The request of another node that it was given to, if it was.
    """

    __slots__ = (
        "_asked",
        "_before",
        "_earlier",
        "_elsewhere",
        "_joined_as",
        "_passed_over",
        "_recovery",
        "_start",
        "away_until",
        "lent_to",
        "pid",
        "trail",
    )

    def __init__(
        self,
        namespace: Namespace,
        client: Client,
        auth: Auth,
        recovery: Recovery,
        earlier: RecoverableSocket | None = None,
        start: int = 0,
        elsewhere: tuple[str, str | None] | None = None,
    ) -> None:
        super().__init__(namespace, client, namespace.new_socket_id() if earlier is None else earlier.id, auth)
        self.pid: str = random_id(15) if earlier is None else earlier.pid
        self.trail = Trail(recovery.max_missed)
        self.away_until: float | None = None
        self.lent_to: str | None = None
        self._recovery = recovery
        self._earlier = earlier
        self._start = start
        self._elsewhere = elsewhere
        self._joined_as: Any = None
        self._passed_over = False
        self._asked: set[Room] = set()
        self._before: tuple[Any, dict[str, Any] | None] | None = None

    # Joining.

    def admission(self) -> Callable[[ConnectContext], Any] | None:
        earlier = self._earlier
        if earlier is None:
            if self._elsewhere is None:
                return super().admission()
            return compose(self.namespace.registry.middleware, "connect", self._ask_nodes)
        if self._recovery.settings.skip_middlewares and not _expired(earlier.user):
            self._joined_as = earlier._joined_as
            return self._pass_over
        return compose(self.namespace.registry.middleware, "connect", self._looked_at)

    def _looked_at(self, context: ConnectContext) -> Awaitable[None] | None:
        """Middleware has let it in."""
        earlier = self._earlier
        if earlier is None:
            return None
        self._joined_as = _identity(self.user)
        if self._joined_as != earlier._joined_as or (self.user is None and _expired(earlier.user)):
            self._begin_afresh()
            return None
        return self._return(earlier)

    def _pass_over(self, context: ConnectContext) -> Awaitable[None] | None:
        """Its secret is enough, but only to go on: whoever begins afresh is looked at by middleware."""
        earlier = self._earlier
        assert earlier is not None
        self._passed_over = True
        owner = earlier.client.user_id
        if owner is not None and not self._client.bind(owner):
            self._begin_afresh()
            return self._look_again(context)
        asking = self._return(earlier)
        return self._look_again(context) if asking is None else self._look_after(asking, context)

    async def _look_after(self, asking: Awaitable[None], context: ConnectContext) -> None:
        await asking
        looking = self._look_again(context)
        if looking is not None:
            await looking

    def _look_again(self, context: ConnectContext) -> Awaitable[None] | None:
        if self._earlier is not None:
            if self._can_go_on(self._earlier):
                return None
            self._begin_afresh()
        self._passed_over = False
        chain = super().admission()
        return None if chain is None else cast("Awaitable[None] | None", chain(context))

    async def _ask_nodes(self, context: ConnectContext) -> None:
        """Middleware has let it in, and it may have been on another node."""
        assert self._elsewhere is not None
        self._joined_as = _identity(self.user)
        earlier = await self._recovery.fetch(self.namespace, self._client, (*self._elsewhere, self._joined_as))
        if earlier is None:
            self._recovery.afresh += 1
            return
        self._earlier, self.id, self.pid = earlier, earlier.id, earlier.pid
        asking = self._return(earlier)
        if asking is not None:
            await asking

    def _return(self, earlier: RecoverableSocket) -> Awaitable[None] | None:
        """It is who it was: ask about the rooms that the client has entered."""
        self._before = (self.user, self._data)
        if self.user is None:
            # Nobody says at the door who it is; the application has found out inside.
            self.user = earlier.user
        self._data = {**earlier.data, **self.data}
        if earlier.entries is None or not earlier.entries.rooms:
            return None
        self.entries = Entries()
        self._asked = set(earlier.entries.rooms)
        self.entries.rooms.update(self._asked)
        return self._ask_guards()

    async def _ask_guards(self) -> None:
        if not await ask_again(self):
            # Whether it has missed something is not known, so it may not think that it has not.
            self._begin_afresh()

    def settle(self) -> None:
        if self._earlier is not None:
            with self._expected():
                self._earlier.lose_connection()
            if self._passed_over and not self._can_go_on(self._earlier):
                # Too late to ask middleware: its client comes again, and then it is asked.
                self._client.session.fail("transport error")

    def lose_connection(self) -> None:
        """Its client says that this connection is lost, whether or not the server has noticed."""
        if self.connected:
            self._client.session.fail("transport error")

    def is_of(self, user: Any) -> bool:
        """Whether it was let in as this user: what ``belongs_to`` takes."""
        return bool(self._joined_as == user)

    def belongs_to(self, user: Any) -> None:
        """It was let in as this user, by another node."""
        self._joined_as = user

    def arrive(self) -> dict[str, str]:
        if self._earlier is None:
            self._joined_as = _identity(self.user)
        else:
            with self._expected():
                if not self._go_on(self._earlier):
                    self._begin_afresh()
        self._earlier = self._before = None
        self._recovery.live[self.pid] = self
        return {**super().arrive(), "pid": self.pid}

    @contextmanager
    def _expected(self) -> Iterator[None]:
        """While the earlier one goes the namespace is not empty."""
        self.namespace.joining += 1
        try:
            yield
        finally:
            self.namespace.joining -= 1

    def _allowed(self, earlier: RecoverableSocket) -> tuple[set[Room], set[Room]]:
        """The rooms that the client has entered and may be in now, and those in which it may not."""
        entered = set() if earlier.entries is None else earlier.entries.rooms
        allowed = set() if self.entries is None else self.entries.rooms
        return allowed & entered, entered - allowed

    def _can_go_on(self, earlier: RecoverableSocket) -> bool:
        recovery = self._recovery
        if not earlier.connected and not recovery.remembers(earlier):
            return False
        allowed, refused = self._allowed(earlier)
        return allowed | refused <= self._asked and recovery.missed(earlier, self._start, refused) is not None

    def _go_on(self, earlier: RecoverableSocket) -> bool:
        """Take everything over from the earlier one, and send what was missed; False if that cannot be done."""
        recovery = self._recovery
        if not recovery.remembers(earlier):
            return False
        allowed, refused = self._allowed(earlier)
        rooms = set(earlier.memberships or ()) - refused
        missed = recovery.missed(earlier, self._start, refused)
        recovery.forget(earlier)
        if missed is None or not allowed | refused <= self._asked:
            return False
        if self.entries is not None:
            # What it was taken out of while somebody thought about it stays left.
            self.entries.rooms.intersection_update(allowed)
        for room in rooms:
            self.namespace.adapter.join(self, room)
        for kept in missed:
            if kept.message is not None:
                self._client.session.send(kept.message)
        earlier.trail.join(self.trail)
        self.trail = earlier.trail
        self.recovered = True
        recovery.recovered += 1
        return True

    def _begin_afresh(self) -> None:
        """It is somebody new, whatever it has asked for."""
        if self._before is not None:
            self.user, self._data = self._before
        self._recovery.afresh += 1
        self._earlier = self.entries = None
        self.id = self.namespace.new_socket_id()
        self.pid = random_id(15)

    # Sending.

    def _emit(self, name: str, args: Sequence[Any], ack_id: int | None) -> None:
        if ack_id is not None:
            super()._emit(name, args, ack_id)
            return
        chain = self.namespace.registry.emit_chain
        if chain is not None:
            context = chain(EmitContext(self.namespace, name, args, socket=self))
            name, args = context.event, context.args
        own = Target(frozenset((self.id,)))
        if self.lent_to is not None and self.away_until is None and self.id not in self.namespace.sockets:
            # Handlers of this one may be at work yet.
            self.namespace.adapter.broadcast((name, *args), own, Flags())
            return
        message = self._recovery.event(self.namespace, (name, *args), own, Flags())
        if not self.connected and self._client.is_joining(self):
            self._keep(message)
            self._client.session.send(message)
            return
        # Its client may be back as another object, which handlers of this one do not know.
        here = self if self.connected else self.namespace.sockets.get(self.id, self)
        here.deliver(message, False, (name, *args))

    def deliver(self, message: Outbound, volatile: bool, args: Sequence[Any]) -> None:
        if self.connected:
            self._keep(message)
            super().deliver(message, volatile, args)
        elif self.away_until is not None:
            self._keep(message)

    def _keep(self, message: Outbound) -> None:
        if type(message) is KeptOutbound:
            self.trail.add(message.kept)

    # Leaving, and being away.

    def depart(self, reason: DisconnectReason) -> None:
        self._recovery.live.pop(self.pid, None)
        if reason in RECOVERABLE:
            self._recovery.remember(self)
        else:
            super().depart(reason)

    def may_join(self) -> bool:
        return self.away_until is not None or super().may_join()

    def disconnect(self, close: bool = False) -> None:
        if self.away_until is not None:
            self._recovery.forget(self)
        else:
            super().disconnect(close)


def without(missed: Sequence[Kept], refused: set[Room], allowed: set[Room]) -> list[Kept]:
    """Those events that came by no refused room, or by another one as well."""
    return [kept for kept in missed if kept.rooms.isdisjoint(refused) or not kept.rooms.isdisjoint(allowed)]


def _identity(user: Any) -> Any:
    """What makes two users the same: ``id``, or all of whatever the application takes for a user."""
    return getattr(user, "id", user)


def _expired(user: Any) -> bool:
    expires_at = getattr(user, "expires_at", None)
    return isinstance(expires_at, (int, float)) and expires_at <= time.time()
