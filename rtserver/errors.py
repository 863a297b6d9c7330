"""The error tree.

Three families: what a *peer* did wrong (``ProtocolError``), what an application
says to refuse something (``Refused`` and its children), and what a *caller* of
this library did wrong or ran into (the rest). Messages are lower case, without
a full stop, and name the culprit.
"""

from __future__ import annotations

from typing import Any


class RTServerError(Exception):
    """The root of every error that this package raises on purpose."""


class ProtocolError(RTServerError):
    """A peer sent what the protocol forbids. The connection it came by is closed."""


class Refused(RTServerError):
    """An application or a middleware says no. Raise a child of this one."""


class RequestRefused(Refused):
    """Refuses an Engine.IO handshake: HTTP ``status`` with ``{"code": 4, "message": …}``.

    Args:
        message: What the client is told.
        status: The HTTP status, 403 unless given.
        retry_after: Seconds for a ``Retry-After`` header, if any.
    """

    def __init__(self, message: str = "Forbidden", *, status: int = 403, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry_after = retry_after


class ConnectRefused(Refused):
    """Refuses a namespace: the client's ``connect_error`` gets ``message`` and ``data``."""

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class EventRefused(Refused):
    """Refuses an event: the acknowledgement is ``{"error": {"code", "message", **details}}``."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class RoomRefused(EventRefused):
    """Refuses a room to a socket. Answered like any refused event when it ends a handler."""

    def __init__(self, message: str = "room refused", *, code: str = "room_refused", **details: Any) -> None:
        super().__init__(code, message, **details)


class ConfigurationError(RTServerError, ValueError):
    """A setting has a value that it cannot have.

    Args:
        setting: The name of the setting, as the caller wrote it.
        given: The value.
        allowed: What would have been accepted, in words.
    """

    def __init__(self, setting: str, given: object, allowed: str) -> None:
        super().__init__(f"{setting}: {given!r} is not allowed; expected {allowed}")
        self.setting = setting
        self.given = given
        self.allowed = allowed


class EncodeError(RTServerError, ValueError):
    """A value cannot be sent: it has no JSON or msgpack form."""


class LimitExceeded(RTServerError):
    """A bound on rooms, pending acknowledgements or the like would be passed."""


class Disconnected(RTServerError):
    """The socket went away while somebody waited for it."""


class AckTimeout(RTServerError, TimeoutError):
    """Time ran out before everyone had acknowledged.

    Args:
        answers: The acknowledgements that did arrive, one for each client.
        missing: How many clients had not answered.
    """

    def __init__(self, answers: list[Any], missing: int) -> None:
        super().__init__(f"{missing} of {missing + len(answers)} clients did not acknowledge in time")
        self.answers = answers
        self.missing = missing
