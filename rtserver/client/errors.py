"""What can go wrong between a client and a server, beyond the common error tree.

Rule: callers see ``ConnectError`` and ``Disconnected``; a ``TransportLost`` never leaves this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from rtserver.errors import RTServerError

ClientDisconnectReason: TypeAlias = Literal[
    "io server disconnect",
    "io client disconnect",
    "ping timeout",
    "transport close",
    "transport error",
    "parse error",
]
"""Why a client's socket is no longer connected. Source: socket.io-client 4.8, "disconnect" event."""


class ConnectError(RTServerError):
    """The server could not be reached, or refused the connection or the namespace.

    Args:
        message: What the server said, or what failed.
        data: What the server sent along: the ``data`` of a refused namespace, or
            ``{"status": …, "code": …}`` of a refused handshake. None otherwise.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class TransportLost(Exception):
    """A transport cannot go on.

    Args:
        reason: How the sockets are told.
        message: What happened, for whoever was still connecting.
        data: As in ``ConnectError``.
    """

    def __init__(self, reason: ClientDisconnectReason, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.reason: ClientDisconnectReason = reason
        self.message = message
        self.data = data


def described(exc: Exception) -> str:
    """What an exception of another library says, or at least its name."""
    return str(exc) or type(exc).__name__


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise an exception that nurseries have wrapped as it was, if it is the only one."""
    try:
        yield
    except BaseExceptionGroup as group:
        only = _only(group)
        if only is None:
            raise
        context = only.__context__
        try:
            raise only
        finally:
            # The group says nothing new; what the exception came from does.
            only.__context__ = context


def _only(exc: BaseException) -> BaseException | None:
    while isinstance(exc, BaseExceptionGroup):
        if len(exc.exceptions) != 1:
            return None
        exc = exc.exceptions[0]
    return exc
