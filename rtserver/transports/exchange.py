"""A request that waits for its answer, by whichever door it came in.

Rule: exactly one of ``respond`` or ``accept_websocket`` is called, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rtserver.transports.request import Request, Response
from rtserver.transports.websocket import WebSocket


class Exchange(Protocol):
    """One HTTP request and the way back to who sent it.

    Attributes:
        request: The head. The body is passed beside it.
        on_abort: Called if the client goes away before the answer; the door clears it with the answer.
        aborted: Whether the client has gone away.
    """

    request: Request
    on_abort: Callable[[], None] | None
    aborted: bool

    def respond(self, response: Response) -> None: ...

    def accept_websocket(self) -> WebSocket:
        """Answer 101 and go on as a WebSocket.

        Raises:
            UpgradeRefused: The handshake is not one; nothing has been answered.
        """
