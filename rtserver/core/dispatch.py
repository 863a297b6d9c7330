"""Running handlers: in place or in the socket's worker, and what comes of it.

Rule: the one place that catches what an application raises. A refusal answers the
client; anything else is a bug, logged once with its traceback, of which the client
learns nothing but ``internal error``. In order: a plain handler waits behind an
async one that is still running.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import structlog

from rtserver.core.acks import Ack
from rtserver.core.handlers import Handler
from rtserver.core.pipeline import EventContext
from rtserver.core.worker import Job, Worker
from rtserver.errors import Disconnected, EncodeError, EventRefused

if TYPE_CHECKING:
    from rtserver.core.socket import Socket

log = structlog.get_logger("rtserver.dispatch")

INTERNAL = {"error": {"code": "internal", "message": "internal error"}}


def take_event(socket: Socket, packet: Sequence[Any], ack_id: int | None) -> None:
    """An event has arrived: run its handler. ``packet`` is its name and arguments.

    Flat where a plain handler, or plain middleware around it, can be called at once:
    that is what most events are, and the four calls less are a third of its cost.
    """
    namespace = socket.namespace
    namespace.events_received += 1
    registry = namespace.registry
    if registry.catch_all or socket.any_listeners is not None:
        _tell_all(socket, packet)
    handler = registry.handlers.get(packet[0])
    if handler is None:
        handler = registry.unknown
    through = handler.through
    if not (handler.direct or through is not None) or (socket.worker is not None and socket.worker.busy):
        run(socket, handler, packet, ack_id)
        return
    started = perf_counter()
    try:
        if through is not None:
            result = through(EventContext(socket, str(packet[0]), packet[1:], handler.known))
        else:
            count = len(packet) - 1
            if count < handler.least or count > handler.most:
                handler.refuse_count(count)
            result = handler.function(socket, *packet[1:])
        if ack_id is not None:
            socket.answer(ack_id, () if result is None else (result,))
    except EventRefused as exc:
        _refuse(socket, handler, ack_id, exc)
    except Exception:  # noqa: BLE001 - logged there
        _failed(socket, handler, ack_id)
    elapsed = perf_counter() - started
    if elapsed > namespace.slow_handler:
        namespace.blocked(handler.name, elapsed)


def _tell_all(socket: Socket, packet: Sequence[Any]) -> None:
    for listener in socket.namespace.registry.catch_all:
        socket.tell((listener,), (socket, *packet))
    socket.tell(socket.any_listeners or (), packet)


def run(socket: Socket, handler: Handler, packet: Sequence[Any], ack_id: int | None) -> None:
    """Run a handler now, or as soon as those before it are done."""
    worker = socket.worker
    if not handler.is_async and (worker is None or not worker.busy):
        run_in_place(socket, handler, packet, ack_id)
        return
    if worker is None:
        worker = socket.worker = Worker(socket)
    if handler.concurrent:
        worker.put_beside((handler, packet, ack_id))
    else:
        worker.put((handler, packet, ack_id))


def run_in_place(socket: Socket, handler: Handler, packet: Sequence[Any], ack_id: int | None) -> None:
    """Run a plain handler. It keeps the loop waiting, so it is timed."""
    started = perf_counter()
    try:
        if handler.chain is None and not handler.takes_ack:
            result = handler.call(socket, packet, None)
        else:
            result = _invoke(socket, handler, packet, ack_id)
        if ack_id is not None and not handler.takes_ack:
            socket.answer(ack_id, () if result is None else (result,))
    except EventRefused as exc:
        _refuse(socket, handler, ack_id, exc)
    except Exception:  # noqa: BLE001 - logged there
        _failed(socket, handler, ack_id)
    elapsed = perf_counter() - started
    if elapsed > socket.namespace.slow_handler:
        socket.namespace.blocked(handler.name, elapsed)


async def run_job(socket: Socket, job: Job) -> None:
    """Run a handler that may wait: what a worker does."""
    handler, packet, ack_id = job
    try:
        result = _invoke(socket, handler, packet, ack_id)
        if inspect.isawaitable(result):
            result = await result
        if ack_id is not None and not handler.takes_ack:
            socket.answer(ack_id, () if result is None else (result,))
    except EventRefused as exc:
        _refuse(socket, handler, ack_id, exc)
    except Disconnected:
        # The client has left while its handler waited for it: nobody's bug.
        if socket.connected:
            _failed(socket, handler, ack_id)
    except Exception:  # noqa: BLE001 - logged there
        _failed(socket, handler, ack_id)


def _invoke(socket: Socket, handler: Handler, packet: Sequence[Any], ack_id: int | None) -> Any:
    ack = None
    if handler.takes_ack:
        ack = Ack(None if ack_id is None else lambda values: socket.answer(ack_id, values))
    if handler.chain is None:
        return handler.call(socket, packet, ack)
    return handler.chain(EventContext(socket, str(packet[0]), packet[1:], handler.known, ack))


def _refuse(socket: Socket, handler: Handler, ack_id: int | None, refused: EventRefused) -> None:
    socket.namespace.events_refused += 1
    if ack_id is None:
        return
    error = {"code": refused.code, "message": refused.message, **refused.details}
    try:
        socket.answer(ack_id, ({"error": error},))
    except EncodeError:
        _failed(socket, handler, ack_id)


def _failed(socket: Socket, handler: Handler, ack_id: int | None) -> None:
    log.exception("handler_failed", handler=handler.name, namespace=socket.namespace.name)
    if ack_id is not None:
        socket.answer(ack_id, (INTERNAL,))
