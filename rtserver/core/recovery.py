"""Connection state recovery of a server: the sockets that were cut off, and the events that they may have missed.

Rule: everything is bounded, in number, size and time. What is forgotten is never half restored: its client
begins afresh. What a client says of itself is looked up, never believed.
Source: socket.io 4.8, ``connectionStateRecovery``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from rtserver.adapters.base import Flags, Target
from rtserver.config import Config
from rtserver.core import moving
from rtserver.core.recoverable import RecoverableSocket, without
from rtserver.core.window import Kept, Trail, Window
from rtserver.protocol.engineio.outbound import Outbound
from rtserver.recovery import ConnectionStateRecovery
from rtserver.types import Auth, Room

if TYPE_CHECKING:
    from rtserver.core.client import Client
    from rtserver.core.namespace import Namespace

# How often what is too old is looked for, at most and at least.
LONGEST_SLEEP, SHORTEST_SLEEP = 5.0, 0.1
PID_LENGTH = 20
# Seconds that a node which ends is there for clients that come back to others: official ones try after 0.5 to 1.5.
CLAIM_WITHIN = 3.0


@dataclass(frozen=True, slots=True)
class RecoveryStatistics:
    """What is kept for clients that were cut off, and what became of those that came back.

    Args:
        recovered: Sockets that went on where they had been.
        afresh: Sockets that wanted to, and had to begin anew.
        sessions: Sockets that are remembered.
        packets: Events that are kept.
        bytes: Their size.
    """

    recovered: int
    afresh: int
    sessions: int
    packets: int
    bytes: int


class Recovery:
    """Remembers the sockets of a server.

    Args:
        settings: How long, and how much.
        config: The server's settings: what is missed must fit into the queue of a connection.

    Attributes:
        live: The sockets that are connected, by pid.
        max_missed: So many events may be missed by one socket.
        recovered: Sockets that went on where they had been.
        afresh: Sockets that wanted to, and had to begin anew.
    """

    def __init__(self, settings: ConnectionStateRecovery, config: Config) -> None:
        self.settings = settings
        self.live: dict[str, RecoverableSocket] = {}
        self.recovered = 0
        self.afresh = 0
        # Half of a queue, as the other half is for what comes next.
        self.max_missed = max(1, config.max_queue_packets // 2)
        self._max_missed_bytes = config.max_queue_bytes // 2
        # In the order in which they left, which is the order in which they are forgotten.
        self._away: dict[str, RecoverableSocket] = {}
        # A client may have been cut off long before its silence is noticed.
        unnoticed = config.ping_interval + config.ping_timeout
        self._window = Window(
            max_packets=settings.max_packets,
            max_bytes=settings.max_bytes,
            seconds=settings.max_disconnection_duration + unnoticed,
        )

    @classmethod
    def of(cls, config: Config) -> Recovery | None:
        """What the settings ask for."""
        settings = config.connection_state_recovery
        return None if settings is None else cls(settings, config)

    # Events.

    def event(
        self, namespace: Namespace, args: Sequence[Any], target: Target, flags: Flags, trail: Trail | None = None
    ) -> Outbound:
        """Make an event ready and keep it. One that is volatile is not kept, but tells its place like all others:
        clients take the last text of any event for an offset.
        """

        def make(offset: str) -> Outbound:
            return namespace.parser.encode_event(namespace.name, (*args, offset), None, compress=flags.compress)

        if flags.volatile:
            return make(self._window.offset(self._window.position))
        message = self._window.keep(make, target, trio.current_time())
        if trail is not None:
            trail.add(message.kept)
        return message

    # Sockets.

    def new_socket(self, namespace: Namespace, client: Client, auth: Auth) -> RecoverableSocket:
        """The socket of a client that asks for a namespace, perhaps as one that it has had before."""
        pid = auth.get("pid")
        if not isinstance(pid, str):
            return RecoverableSocket(namespace, client, auth, self)
        offset = auth.get("offset")
        start = self.read_offset(offset)
        earlier = self.find(namespace, pid)
        # The secret is for nobody else to see.
        auth = {name: value for name, value in auth.items() if name not in ("pid", "offset")}
        if earlier is None and start is not None and namespace.adapter.ordered and len(pid) == PID_LENGTH:
            return RecoverableSocket(namespace, client, auth, self, elsewhere=(pid, offset))
        if earlier is None or start is None:
            self.afresh += 1
            return RecoverableSocket(namespace, client, auth, self)
        return RecoverableSocket(namespace, client, auth, self, earlier, start)

    def read_offset(self, offset: object) -> int | None:
        """See ``Window.read_offset``."""
        return self._window.read_offset(offset)

    def find(self, namespace: Namespace, pid: str, asking: str | None = None) -> RecoverableSocket | None:
        """The socket of this pid, on this node: one that is remembered, or not yet known to be cut off.

        Args:
            namespace: Where it was.
            pid: The secret of its client.
            asking: The request of another node for it. One that was lent to a request is no other's, nor this node's.
        """
        self.give_up(trio.current_time())
        found = self._away.get(pid) or self.live.get(pid)
        if found is None or found.namespace is not namespace or found.lent_to not in (None, asking):
            return None
        return found

    def remember(self, socket: RecoverableSocket) -> None:
        """A socket was cut off."""
        now = trio.current_time()
        self.give_up(now)
        socket.away_until = now + self.settings.max_disconnection_duration
        self._away[socket.pid] = socket
        socket.namespace.suspend(socket)
        if len(self._away) > self.settings.max_sessions:
            self.forget(next(iter(self._away.values())))

    def remembers(self, socket: RecoverableSocket) -> bool:
        """Whether somebody may go on as this one."""
        self.give_up(trio.current_time())
        return socket.away_until is not None

    def missed(self, socket: RecoverableSocket, start: int, refused: set[Room]) -> list[Kept] | None:
        """What its client has not received.

        Args:
            socket: One that is remembered.
            start: The position of the last event that its client has received.
            refused: Rooms that it must not hear of any more.

        Returns:
            None if some of it is not kept any more, or it is too much for one connection.
        """
        missed = socket.trail.after(start)
        if missed is not None and refused:
            missed = without(missed, refused, {socket.id, *(socket.memberships or ())} - refused)
        if missed is None or len(missed) > self.max_missed:
            return None
        size = sum(0 if kept.message is None else len(kept.message.frames) for kept in missed)
        return missed if size <= self._max_missed_bytes else None

    def forget(self, socket: RecoverableSocket) -> None:
        """Nobody can go on as this one."""
        if self._away.get(socket.pid) is socket:
            del self._away[socket.pid]
            socket.away_until = None
            socket.namespace.resume(socket)

    # Other nodes.

    def keep_for(self, socket: RecoverableSocket, args: Sequence[Any], rooms: frozenset[Room]) -> None:
        """An event that was missed on another node."""
        self.event(socket.namespace, args, Target(rooms), Flags(), socket.trail)

    async def fetch(
        self, namespace: Namespace, client: Client, asked: tuple[str, str | None, Any]
    ) -> RecoverableSocket | None:
        """See ``moving.fetch``."""
        return await moving.fetch(self, namespace, client, asked)

    def give(self, namespace: Namespace, asked: Sequence[Any]) -> str | None:
        """See ``moving.give``."""
        return moving.give(self, namespace, asked)

    def taken(self, namespace: Namespace, told: Sequence[Any]) -> None:
        """See ``moving.taken``."""
        moving.taken(self, namespace, told)

    def awaits_nodes(self) -> bool:
        """Whether a node that ends is still to be asked for a socket that it has let go just now."""
        if not self._away:
            return False
        latest = next(reversed(self._away.values()))
        left_at = (latest.away_until or 0.0) - self.settings.max_disconnection_duration
        return latest.namespace.adapter.ordered and trio.current_time() < left_at + CLAIM_WITHIN

    # Time.

    def give_up(self, now: float) -> None:
        """Forget what is too old."""
        while self._away:
            oldest = next(iter(self._away.values()))
            if oldest.away_until is not None and oldest.away_until > now:
                break
            self.forget(oldest)
        self._window.give_up(now)

    async def run(self) -> None:
        """Give memory back, for ever."""
        pause = self.settings.max_disconnection_duration / 4
        while True:
            await trio.sleep(max(SHORTEST_SLEEP, min(LONGEST_SLEEP, pause)))
            self.give_up(trio.current_time())

    def statistics(self) -> RecoveryStatistics:
        """What is kept now, and counters."""
        window = self._window
        return RecoveryStatistics(self.recovered, self.afresh, len(self._away), len(window), window.bytes)
