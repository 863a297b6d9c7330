"""Authentication of a socket as it joins a namespace, and of its newer tokens later.

Rule: fails closed. Whatever goes wrong, the client is told the same words after the same
time, and the log is told why. Nobody is let in who could not be checked.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import structlog
import trio

from rtserver.core.handlers import Handler, Registry
from rtserver.core.handshake import Handshake
from rtserver.core.pipeline import ConnectContext, Middleware, Proceed, Result
from rtserver.core.rooms import user_room
from rtserver.core.socket import Socket
from rtserver.errors import ConnectRefused, EventRefused
from rtserver.logs import LimitedLog
from rtserver.middleware.auth.backoff import FREE_FAILURES, Backoff
from rtserver.middleware.auth.binding import Binding, Shown
from rtserver.middleware.auth.expiry import Expiry

log = structlog.get_logger("rtserver.auth")

REFUSAL = "authentication failed"
REFRESH = "auth:refresh"
MAX_USER_ID = 256


@dataclass(frozen=True, slots=True)
class User:
    """Who a socket belongs to: what ``socket.user`` is.

    Args:
        id: Of the user, the same on all of their devices.
        scopes: What the token allows.
        claims: Everything that the token says.
        expires_at: Until when it holds, in seconds since the epoch; None for as long as the socket lives.
    """

    id: str
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict)
    expires_at: float | None = None


class Denied(Exception):
    """A client could not be authenticated. The reason is for the log only."""


class Unavailable(Denied):
    """A client could not be authenticated, and that is not its fault."""


Check: TypeAlias = Callable[[Handshake], "User | Awaitable[User | None] | None"]


class Auth(Middleware):
    """Asks a function who a client is.

    A client refreshes its token with the event ``auth:refresh`` and a mapping such as it
    gave as ``auth``; the answer is ``{"expires_at": …}``. The new token must be of the same
    user. Rooms that the client has entered are asked about again, and left if it may not be
    in them now. A socket whose token runs out is disconnected.

    A session is the user's who was authenticated first on it. Another one is refused, in
    every namespace: a session id that was stolen is no way to be two people.

    Args:
        check: Gets the handshake and gives the user, plain or async. None, any exception and
            a time-out refuse.
        check_refresh: The same for what comes with ``auth:refresh``; ``check`` unless given.
        timeout: Seconds that the check may take.
        refusal_delay: Seconds from the request to a refusal, whatever its cause.
        free_failures: After so many failures an address waits before it is looked at again.
    """

    def __init__(
        self,
        check: Check,
        *,
        check_refresh: Check | None = None,
        timeout: float = 5.0,
        refusal_delay: float = 0.2,
        free_failures: int = FREE_FAILURES,
    ) -> None:
        self._check = check
        self._check_refresh = check_refresh or check
        self._timeout = timeout
        self._delay = refusal_delay
        self._backoff = Backoff(free_failures)
        self._expiry = Expiry()
        self._prepared: set[Registry] = set()
        self._changed: list[Callable[[Socket], None]] = []
        self._quiet = LimitedLog()

    def on_refresh(self, listener: Callable[[Socket], None]) -> Callable[[Socket], None]:
        """Call ``listener(socket)`` when a socket has shown a newer token: permissions may be others now."""
        self._changed.append(listener)
        return listener

    def receives(self) -> tuple[str, ...]:
        """The event that this middleware answers in every namespace, for documents of what a server hears."""
        return (REFRESH,)

    async def run(self) -> None:
        await self._expiry.run()

    async def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        socket = context.socket
        self._prepare(socket)
        started = trio.current_time()
        try:
            user = await self._user_of(socket.handshake, self._check)
            self._bind(socket, user)
        except Denied as denied:
            self._quiet.warning("authentication_refused", reason=str(denied), address=socket.handshake.address)
            await trio.sleep_until(started + self._delay)
            raise ConnectRefused(REFUSAL) from None
        socket.user = user
        socket.join(user_room(user.id))
        return await proceed(context)

    def shown(self, handshake: Handshake) -> Shown | None:
        """The token that comes with every request of a client and by which it is known; None without one."""
        return None

    def _bind(self, socket: Socket, user: User) -> None:
        """The session is this user's alone from now on. Raises ``Denied`` if it is another's."""
        if not socket.client.bind(user.id):
            raise Denied("the session is another user's")
        shown = self.shown(socket.handshake)
        if shown is not None:
            socket.client.session.binding = Binding(user.id, shown, self.shown, self._user_at_once)

    def _user_at_once(self, handshake: Handshake) -> str | None:
        try:
            found = self._check(handshake)
        except Denied:
            return None
        if isinstance(found, User):
            return found.id
        if inspect.iscoroutine(found):
            found.close()
        return None

    async def _user_of(self, handshake: Handshake, check: Check) -> User:
        """Raises ``Denied``, whatever has gone wrong."""
        address = handshake.address
        if self._backoff.blocked(address, trio.current_time()):
            raise Denied("too many failures of this address")
        try:
            with trio.fail_after(self._timeout):
                found = check(handshake)
                user = await found if inspect.isawaitable(found) else found
        except Unavailable:
            raise
        except Denied:
            self._backoff.failed(address, trio.current_time())
            raise
        except trio.TooSlowError as exc:
            raise Unavailable("the check took too long") from exc
        except Exception as exc:
            # A broken check is the server's fault, so it counts against nobody.
            log.exception("authentication_check_failed")
            raise Unavailable("the check failed") from exc
        if not isinstance(user, User) or not 0 < len(user.id) <= MAX_USER_ID:
            self._backoff.failed(address, trio.current_time())
            raise Denied("the check knows no such user")
        self._backoff.succeeded(address)
        return user

    # Later.

    def _prepare(self, socket: Socket) -> None:
        """Once for each namespace: hear of refreshes, and of those who come and leave."""
        namespace = socket.namespace
        if namespace.registry in self._prepared:
            return
        self._prepared.add(namespace.registry)
        namespace.on(REFRESH)(self._refresh)
        # Before the application's own, which may take their time.
        namespace.registry.on_connect.insert(0, Handler(self._joined))
        namespace.registry.on_disconnecting.insert(0, Handler(self._left))

    async def _refresh(self, socket: Socket, auth: Any = None) -> dict[str, float | None]:
        if not isinstance(auth, dict):
            raise EventRefused("invalid_payload", "expected what is given as auth")
        known = socket.user
        if not isinstance(known, User):
            raise EventRefused("unauthenticated", REFUSAL)
        started = trio.current_time()
        try:
            user = await self._user_of(socket.handshake.with_auth(auth), self._check_refresh)
            if user.id != known.id:
                raise Denied("a token of another user")
        except Denied as denied:
            self._quiet.warning("refresh_refused", reason=str(denied), address=socket.handshake.address)
            await trio.sleep_until(started + self._delay)
            raise EventRefused("unauthenticated", REFUSAL) from None
        if socket.connected:
            socket.user = user
            self._expiry.watch(socket, user.expires_at)
            for listener in self._changed:
                listener(socket)
            await socket.ask_again()
        return {"expires_at": user.expires_at}

    def _joined(self, socket: Socket) -> None:
        # Only now is there something to end: a token may have run out while the next one was thinking.
        if isinstance(socket.user, User):
            self._expiry.watch(socket, socket.user.expires_at)

    def _left(self, socket: Socket, reason: str) -> None:
        self._expiry.forget(socket)
