"""Permissions: who may enter which room, send which event, and emit to which room.

Rule: fails closed. The first rule that fits decides; what none fits is for ``ask``, and
what that does not allow is refused. Nothing of a decision is kept, so a newer token counts
from the next event on; rooms that were entered are asked about again when it comes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rtserver.core.handlers import is_async_function
from rtserver.core.pipeline import EmitContext, EnterContext, EventContext, Middleware, Proceed, Result
from rtserver.core.socket import Socket
from rtserver.errors import ConfigurationError, EventRefused, RoomRefused
from rtserver.logs import LimitedLog

Action: TypeAlias = Literal["enter", "event", "emit"]
Ask: TypeAlias = Callable[[Any, Action, str], "bool | Awaitable[bool | None] | None"]

ACTIONS = ("enter", "event", "emit")
CODE, MESSAGE = "forbidden", "not allowed"
# What ``emit`` names when it is to everybody in the namespace.
EVERYBODY = "*"
# Whoever may be here may show that they still may.
ALWAYS = ("auth:refresh",)

_USER = "{user}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What ``allow`` and ``deny`` make."""

    verdict: bool
    action: Action
    names: tuple[_Pattern, ...]
    users: frozenset[str] | None
    scopes: frozenset[str]

    @property
    def for_everybody(self) -> bool:
        """Whether only the name matters."""
        return self.users is None and not self.scopes and not any(name.personal for name in self.names)

    def may_fit(self, action: Action, name: str) -> bool:
        """Whether it can fit, whoever the user is."""
        return action == self.action and any(one.personal or one.fits(name, None) for one in self.names)

    def fits(self, user: Any, name: str) -> bool:
        """Whether it speaks of ``user`` and ``name``."""
        user_id = getattr(user, "id", None)
        if self.users is not None and user_id not in self.users:
            return False
        if self.scopes and not self.scopes.issubset(getattr(user, "scopes", ())):
            return False
        return any(one.fits(name, user_id) for one in self.names)


class _Pattern:
    """A name with ``*`` for anything and ``{user}`` for the user's id. Matched in linear time, without a regex."""

    __slots__ = ("_parts", "personal")

    def __init__(self, text: str) -> None:
        self._parts = text.split("*")
        self.personal = _USER in text

    def fits(self, name: str, user_id: str | None) -> bool:
        parts = self._parts
        if self.personal:
            if not isinstance(user_id, str):
                return False
            parts = [part.replace(_USER, user_id) for part in parts]
        if len(parts) == 1:
            return name == parts[0]
        first, *middle, last = parts
        at, end = len(first), len(name) - len(last)
        if at > end or not name.startswith(first) or not name.endswith(last):
            return False
        for part in middle:
            found = name.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


def allow(
    action: Action,
    names: str | Iterable[str] = "*",
    *,
    users: Iterable[str] | None = None,
    scopes: Iterable[str] = (),
) -> Rule:
    """A rule that allows.

    Args:
        action: ``enter`` a room, send an ``event``, or ``emit`` to a room.
        names: Of rooms or events; ``*`` is anything, ``{user}`` the id of the user. Where ids may hold
            what separates the parts of names, ``{user}`` is not safe in front of a ``*``.
        users: The ids that it speaks of; everybody's unless given.
        scopes: It speaks of users who have all of these.

    Raises:
        ConfigurationError: There is no such action, or no name.
    """
    return _rule(True, action, names, users, scopes)


def deny(
    action: Action,
    names: str | Iterable[str] = "*",
    *,
    users: Iterable[str] | None = None,
    scopes: Iterable[str] = (),
) -> Rule:
    """A rule that refuses. Arguments and errors: ``allow``."""
    return _rule(False, action, names, users, scopes)


def _rule(
    verdict: bool, action: Action, names: str | Iterable[str], users: Iterable[str] | None, scopes: Iterable[str]
) -> Rule:
    if action not in ACTIONS:
        raise ConfigurationError("action", action, f"one of {', '.join(ACTIONS)}")
    for setting, given in (("users", users), ("scopes", scopes)):
        if isinstance(given, str):
            raise ConfigurationError(setting, given, "a list of them")
    patterns = tuple(_Pattern(name) for name in ([names] if isinstance(names, str) else names))
    if not patterns:
        raise ConfigurationError("names", names, "at least one name")
    return Rule(verdict, action, patterns, None if users is None else frozenset(users), frozenset(scopes))


class Permissions(Middleware):
    """Asks rules whenever a client enters a room, sends an event, or has one emitted to a room.

    Put it behind what sets ``socket.user``. ``emit`` is about what handlers send on behalf of a client,
    ``socket.to(room).emit(…)``; what the server sends by itself, ``io.to(room).emit(…)``, is its own decision.

    Args:
        rules: In order: the first that fits decides.
        ask: ``ask(user, action, name)``, plain or async, where no rule fits: True allows. If it is async,
            handlers run in their socket's task, and emits, which never wait, are refused where no rule fits.

    Raises:
        ConfigurationError: A rule is not one.
    """

    def __init__(self, rules: Sequence[Rule], *, ask: Ask | None = None) -> None:
        for rule in rules:
            if not isinstance(rule, Rule):
                raise ConfigurationError("rules", rule, "what allow and deny make")
        self._rules = tuple(rules)
        self._ask = ask
        self._ask_waits = ask is not None and is_async_function(ask)
        # Of events that have a handler, so there are only so many.
        self._of_event: dict[str, tuple[Rule, ...]] = {name: (allow("event", name),) for name in ALWAYS}
        self._quiet = LimitedLog()
        self.refused = 0
        if self._ask_waits:
            # Whether a hook waits is seen from it, when middleware is composed.
            self.event = self._event_later  # type: ignore[method-assign]

    # Hooks.

    async def enter(self, context: EnterContext, proceed: Proceed[EnterContext]) -> Result:
        verdict = self._decide("enter", context.socket.user, context.room, self._rules)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        if verdict is not True:
            self._note(context.socket, "enter", context.room)
            raise RoomRefused
        return await proceed(context)

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        if self._ask_event(context) is not True:
            self._refuse(context.socket, "event", context.event)
        return proceed(context)

    async def _event_later(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        verdict = self._ask_event(context)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        if verdict is not True:
            self._refuse(context.socket, "event", context.event)
        return await proceed(context)

    def emit(self, context: EmitContext, proceed: Proceed[EmitContext]) -> Result:
        sender = context.sender
        if sender is not None and context.target is not None:
            for room in context.target.rooms or (EVERYBODY,):
                if self._may_emit(sender.user, room) is not True:
                    self._refuse(sender, "emit", room)
        return proceed(context)

    # Deciding.

    def _ask_event(self, context: EventContext) -> Any:
        name = context.event
        rules = self._of_event.get(name) if context.known else self._rules
        if rules is None:
            rules = self._of_event[name] = self._about_event(name)
        return self._decide("event", context.socket.user, name, rules)

    def _about_event(self, name: str) -> tuple[Rule, ...]:
        """The rules that can fit an event, up to one that does for everybody."""
        found: list[Rule] = []
        for rule in self._rules:
            if rule.may_fit("event", name):
                found.append(rule)
                if rule.for_everybody:
                    break
        return tuple(found)

    def _may_emit(self, user: Any, room: str) -> Any:
        if self._ask_waits:
            return next((rule.verdict for rule in self._rules if rule.action == "emit" and rule.fits(user, room)), None)
        return self._decide("emit", user, room, self._rules)

    def _decide(self, action: Action, user: Any, name: str, rules: tuple[Rule, ...]) -> Any:
        for rule in rules:
            if rule.action == action and rule.fits(user, name):
                return rule.verdict
        return None if self._ask is None else self._ask(user, action, name)

    # Refusing.

    def _refuse(self, socket: Socket, action: Action, name: str) -> None:
        self._note(socket, action, name)
        raise EventRefused(CODE, MESSAGE)

    def _note(self, socket: Socket, action: Action, name: str) -> None:
        self.refused += 1
        self._quiet.warning(
            "permission_refused",
            action=action,
            name=name[:100],
            user=getattr(socket.user, "id", None),
            namespace=socket.namespace.name,
            address=socket.handshake.address,
        )
