"""Runs a socket's handlers.

Rule: a plain handler runs in place, unless an earlier event still waits; an async
one runs in the socket's task. What a handler raises is never lost: a refusal is
the answer, anything else is a crash, and the client is told.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from rtserver.client.handlers import Ack, AnyFunction, Handler, Received
from rtserver.client.inbox import Inbox
from rtserver.client.options import Options
from rtserver.client.worker import Worker
from rtserver.errors import ConfigurationError, EventRefused

INTERNAL = {"error": {"code": "internal", "message": "internal error"}}


class Owner(Protocol):
    """The client, as a dispatcher sees it."""

    @property
    def options(self) -> Options: ...

    @property
    def awaits_answer(self) -> bool: ...

    def start(self, task: Callable[[], Awaitable[None]]) -> None: ...

    def crashed(self, exc: Exception) -> None: ...


class Dispatcher:
    """The handlers of one socket, its task, and the inbox for what they do not take.

    Args:
        owner: Where tasks live and crashes are reported.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._handlers: dict[str, Handler] = {}
        self._any: list[AnyFunction] = []
        self._worker = Worker(owner.options.max_pending_events, lambda: owner.awaits_answer, owner.start)
        self.inbox = Inbox(owner.options.max_inbox)

    def add(self, event: str, function: AnyFunction) -> None:
        """Register a handler, and give it what has been waiting in the inbox.

        Raises:
            ConfigurationError: The event has a handler.
        """
        if event in self._handlers:
            raise ConfigurationError("event", event, "one without a handler yet")
        handler = self._handlers[event] = Handler(function)
        for received in self.inbox.drain(event):
            self._run(handler, received)

    def remove(self, event: str) -> None:
        self._handlers.pop(event, None)

    def add_any(self, listener: AnyFunction) -> None:
        self._any = [*self._any, listener]

    def remove_any(self, listener: AnyFunction) -> None:
        self._any = [other for other in self._any if other != listener]

    async def take(self, received: Received) -> None:
        """An event has arrived. Returns when the next one may."""
        for listener in self._any:
            with self._reporting(Ack(None)):
                listener(received.name, *received.args)
        handler = self._handlers.get(received.name)
        if handler is None:
            self.inbox.put(received)
            return
        self._run(handler, received)
        await self._worker.room()

    def announce(self, name: str, *args: Any) -> None:
        """Tell of something that happened to the socket itself."""
        handler = self._handlers.get(name)
        if handler is not None:
            self._run(handler, Received(name, args, Ack(None)))

    def defer(self, job: Callable[[], Awaitable[None]]) -> None:
        """Run ``job`` after the events that are waiting."""
        self._worker.put(job)

    def reconsider(self) -> None:
        """Whether the client waits for an acknowledgement has changed."""
        self._worker.reconsider()

    def _run(self, handler: Handler, received: Received) -> None:
        if handler.is_async or self._worker.busy:
            self.defer(partial(self._run_job, handler, received))
            return
        with self._reporting(received.ack):
            result = handler(received)
            if inspect.isawaitable(result):
                self.defer(partial(self._finish, handler, received, result))
            else:
                _answer(handler, received, result)

    async def _run_job(self, handler: Handler, received: Received) -> None:
        with self._reporting(received.ack):
            result = handler(received)
            if inspect.isawaitable(result):
                result = await result
            _answer(handler, received, result)

    async def _finish(self, handler: Handler, received: Received, result: Awaitable[Any]) -> None:
        with self._reporting(received.ack):
            _answer(handler, received, await result)

    @contextmanager
    def _reporting(self, ack: Ack) -> Iterator[None]:
        try:
            yield
        except EventRefused as exc:
            ack({"error": {"code": exc.code, "message": exc.message, **exc.details}})
        except Exception as exc:  # noqa: BLE001 - reported there
            ack(INTERNAL)
            self._owner.crashed(exc)


def _answer(handler: Handler, received: Received, result: Any) -> None:
    if not handler.takes_ack:
        received.ack(*(() if result is None else (result,)))
