"""What has happened since the start, as plain numbers."""

from __future__ import annotations

from proxy.errors import BadGateway, BadRequest, UnknownSession


class Counters:
    """Counted on the way, read when somebody asks.

    Attributes:
        accepted: Connections.
        requests: Whose heads were read whole.
        handed: Connections handed over to nodes of this machine.
        relayed: Requests relayed.
        tunnels: Of those, the ones that became a WebSocket.
        unknown_sessions: Requests whose sid was nobody's.
        refused: Connections and requests that were turned away, for any other reason.
        answered: Those of the proxy's own answers, by their status.
        retried: Requests that went to a second upstream.
        bytes_in: Relayed from clients.
        bytes_out: Relayed to clients.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.requests = 0
        self.handed = 0
        self.relayed = 0
        self.tunnels = 0
        self.unknown_sessions = 0
        self.refused = 0
        self.answered: dict[int, int] = {}
        self.retried = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def refuse(self, exc: BadRequest | BadGateway | UnknownSession) -> None:
        """An answer of our own."""
        if isinstance(exc, UnknownSession):
            self.unknown_sessions += 1
        else:
            self.refused += 1
            self.answered[exc.status] = self.answered.get(exc.status, 0) + 1
