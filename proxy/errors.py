"""What can go wrong, and who is told."""

from __future__ import annotations


class ProxyError(Exception):
    """The root of the errors that the proxy raises on purpose."""


class BadSetting(ProxyError, ValueError):
    """A setting has a value that it cannot have: one line for the operator.

    Args:
        setting: Its name, as it was given.
        given: The value; None for a secret one, which is not repeated.
        allowed: What would have been accepted, in words.
    """

    def __init__(self, setting: str, given: object, allowed: str) -> None:
        shown = "the given value" if given is None else repr(given)
        super().__init__(f"{setting}: {shown} is not allowed; expected {allowed}")
        self.setting = setting


class BadRequest(ProxyError):
    """A client's fault: it gets ``status`` and its connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class BadGateway(ProxyError):
    """An upstream's fault: 502, 504 when it was too slow, 503 when there is none.

    Args:
        status: What the client gets.
        message: What the client is told; nothing of the upstream.
        untouched: Whether the upstream cannot have seen the request, so that another one may.
        ours: Whether it is the proxy that could not; another upstream would not help.
    """

    def __init__(self, status: int, message: str, *, untouched: bool = False, ours: bool = False) -> None:
        super().__init__(message)
        self.ours = ours
        self.status = status
        self.message = message
        self.untouched = untouched


class UnknownSession(ProxyError):
    """A request names a session that no living node can have."""
