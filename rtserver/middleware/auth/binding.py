"""Keeps the requests of a session with the user whose it is.

Rule: whoever has got hold of a sid must show, with each request, what its user has shown with
the first: the same token, or another one of the same user. Tokens of the CONNECT packet do not
come with requests; there the sid itself is all that tells one client from another.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from rtserver.core.handshake import Handshake, HttpRequest

Source: TypeAlias = Literal["auth", "header", "cookie"]


class Shown(NamedTuple):
    """A token, and where it was found."""

    token: str
    source: Source


class Binding:
    """Whether a request may use a session that was authenticated by a header or a cookie.

    Args:
        user_id: Whose the session is.
        shown: What the handshake has shown.
        find: What a request shows; None if nothing.
        user_of: The user of a request, if that can be said without waiting; else None.
    """

    __slots__ = ("_find", "_shown", "_user_id", "_user_of")

    def __init__(
        self,
        user_id: str,
        shown: Shown,
        find: Callable[[Handshake], Shown | None],
        user_of: Callable[[Handshake], str | None],
    ) -> None:
        self._user_id = user_id
        self._shown = shown
        self._find = find
        self._user_of = user_of

    def __call__(self, request: HttpRequest) -> bool:
        handshake = Handshake(request, {}, 0.0)
        shown = self._find(handshake)
        if shown is None:
            # Browsers cannot send a header of ours when they open a WebSocket; cookies they send always.
            return self._shown.source == "header" and handshake.headers.get("upgrade", "").lower() == "websocket"
        if hmac.compare_digest(shown.token.encode(), self._shown.token.encode()):
            return True
        if self._user_of(handshake) != self._user_id:
            return False
        self._shown = shown
        return True
