"""What a server has agreed to: its namespaces with the events that it hears and sends.

Rule: a contract is a value made of what is registered, of nothing that clients have
done, and in the order of names: the same code gives the same contract.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rtserver.core.handlers import Registry
from rtserver.core.pipeline import Middleware
from rtserver.events import Event
from rtserver.server import Server


@dataclass(frozen=True, slots=True)
class Message:
    """An event of a namespace, in one direction.

    Attributes:
        name: On the wire.
        event: Its types, or None where it was registered by name only.
        description: The handler's docstring.
        answers_itself: The handler gives the acknowledgement, so it may send ``null``.
    """

    name: str
    event: Event[Any, Any] | None
    description: str = ""
    answers_itself: bool = False

    @property
    def payload(self) -> Any:
        """The type of its argument; None without one."""
        return None if self.event is None else self.event.payload

    @property
    def ack(self) -> Any:
        """The type of its acknowledgement; None if nobody has said."""
        return None if self.event is None else self.event.ack

    @property
    def summary(self) -> str:
        """The first sentence of the description, on one line, without its full stop."""
        return " ".join(self.description.partition("\n\n")[0].split()).removesuffix(".")


@dataclass(frozen=True, slots=True)
class Channel:
    """A namespace.

    Attributes:
        name: With its slash; for dynamic ones the pattern, or the name of the function, that matches.
        dynamic: Whether clients choose the name.
        received: Events from clients, by name.
        sent: Events to clients, by name.
        security: The names of the schemes that let a client in; empty if anybody may come.
    """

    name: str
    dynamic: bool
    received: tuple[Message, ...]
    sent: tuple[Message, ...]
    security: tuple[str, ...]

    @property
    def messages(self) -> Iterator[Message]:
        """Both directions."""
        yield from self.received
        yield from self.sent


@dataclass(frozen=True, slots=True)
class Contract:
    """A server's namespaces, and who may come in.

    Attributes:
        title: Of the application.
        version: Of the application.
        path: Where Engine.IO listens.
        channels: By name; the main namespace only if it has events or is the only one.
        security_schemes: AsyncAPI Security Scheme Objects, by name.
    """

    title: str
    version: str
    path: str
    channels: tuple[Channel, ...]
    security_schemes: Mapping[str, Mapping[str, Any]]


def contract_of(server: Server) -> Contract:
    """What ``server`` has registered.

    Middleware may have two methods for this. ``security_scheme()`` says how a client
    identifies itself, as an AsyncAPI Security Scheme Object (a mapping); the scheme is
    named after its class. ``receives()`` gives the events, typed or by name, that the
    middleware answers itself in every namespace; handlers of its own that it registers
    as it goes do not count, or a contract would depend on who has connected.
    """
    schemes: dict[str, Mapping[str, Any]] = {}
    parents = {id(parent.registry) for parent in server.parent_namespaces}
    static = [found for found in server.namespaces.values() if id(found.registry) not in parents]
    channels = [_channel(found.name, found.registry, schemes) for found in sorted(static, key=lambda found: found.name)]
    channels += [_channel(parent.registry.name, parent.registry, schemes, dynamic=True) for parent in _by_name(server)]
    spoken = [channel for channel in channels if channel.received or channel.sent or channel.name != "/"]
    config = server.config
    return Contract(config.api_title, config.api_version, config.path, tuple(spoken or channels), schemes)


def _by_name(server: Server) -> list[Any]:
    return sorted(server.parent_namespaces, key=lambda parent: parent.registry.name)


def _channel(name: str, registry: Registry, schemes: dict[str, Mapping[str, Any]], *, dynamic: bool = False) -> Channel:
    middleware = registry.middleware
    heard = {event.name: event for member in middleware for event in _received_by(member)}
    for event, handler in registry.handlers.items():
        if getattr(handler.function, "__self__", None) not in middleware:
            heard[event] = Message(event, handler.event, _documentation(handler.function), handler.takes_ack)
    received = [heard[event] for event in sorted(heard)]
    sent = [Message(event, typed) for event, typed in sorted(registry.emitted.items())]
    return Channel(name, dynamic, tuple(received), tuple(sent), tuple(_security(middleware, schemes)))


def _received_by(middleware: Middleware) -> Iterator[Message]:
    tell = getattr(middleware, "receives", None)
    for event in tell() if callable(tell) else ():
        yield Message(event.name, event) if isinstance(event, Event) else Message(event, None)


def _documentation(function: Callable[..., Any]) -> str:
    # A class's or a partial's own docstring says nothing about the event.
    return (inspect.getdoc(function) or "") if inspect.isroutine(function) else ""


def _security(middleware: list[Middleware], schemes: dict[str, Mapping[str, Any]]) -> Iterator[str]:
    for member in middleware:
        ask = getattr(member, "security_scheme", None)
        scheme = ask() if callable(ask) else None
        if scheme is None:
            continue
        name = kind = type(member).__name__
        number = 1
        while schemes.setdefault(name, scheme) != scheme:
            number += 1
            name = f"{kind}{number}"
        yield name
