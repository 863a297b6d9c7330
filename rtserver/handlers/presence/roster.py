"""Who is online on which node, as every node knows it.

Rule: no socket, no clock: time is passed in. A node says who is with it in numbered
announcements, so that whoever misses one notices; what a node has said holds for as long as
it is heard of, so a dead node takes its users with it, and no counter can stay wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

# A node says every so many seconds that it lives, and is dead when it has not for so many.
ALIVE_EVERY = 5.0
DEAD_AFTER = 16.0
# What other nodes say is bounded too.
MAX_NODES = 1_000
MAX_USERS = 100_000
MAX_ROOMS = 100


class Entry(NamedTuple):
    """A user on a node: the name, and the rooms that they are in."""

    name: str
    rooms: frozenset[str]


class Change(NamedTuple):
    """A user has come online or gone, as those in ``rooms`` should know."""

    user: str
    online: bool
    rooms: frozenset[str]


@dataclass(slots=True)
class _Node:
    number: int
    heard_at: float
    users: dict[str, Entry] = field(default_factory=dict)
    # Whether everything up to ``number`` was heard.
    complete: bool = False


class Roster:
    """What is known of all nodes, the own one among them."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        # By room and user: on how many nodes they are in it.
        self._rooms: dict[str, dict[str, int]] = {}
        # By user: on which nodes they are.
        self._where: dict[str, set[str]] = {}

    def online_in(self, room: str) -> dict[str, str]:
        """The names of those who are online in a room, by user id."""
        return {user: self._name(user) for user in self._rooms.get(room, ())}

    def is_online(self, user: str) -> bool:
        """Whether a user is on any node."""
        return user in self._where

    def users_of(self, node: str) -> dict[str, Entry]:
        """Who is on a node."""
        known = self._nodes.get(node)
        return {} if known is None else dict(known.users)

    def number_of(self, node: str) -> int:
        """The number of a node's last announcement, 0 before the first."""
        known = self._nodes.get(node)
        return 0 if known is None else known.number

    def is_complete(self, node: str) -> bool:
        """Whether everything that a node has announced was heard."""
        known = self._nodes.get(node)
        return known is not None and known.complete

    def hear(self, node: str, number: int, user: str, entry: Entry, now: float) -> list[Change]:
        """A node has announced a user; one who is in no room there has gone from it."""
        known = self._node(node, now)
        if known is None:
            return []
        known.complete = known.complete and number == known.number + 1
        known.number = max(number, known.number)
        return self._put(node, known, user, entry)

    def hear_alive(self, node: str, number: int, now: float) -> bool:
        """A node has said that it lives: whether everything that it has announced before was heard."""
        known = self._node(node, now)
        if known is None:
            return True
        known.complete = (known.complete and number == known.number) or number == 0
        known.number = number
        return known.complete

    def hear_all(self, node: str, number: int, users: dict[str, Entry], now: float) -> list[Change]:
        """A node has said everything once more."""
        known = self._node(node, now)
        if known is None or number < known.number:
            return []
        known.number, known.complete = number, True
        gone = [user for user in known.users if user not in users]
        changes = [change for user, entry in users.items() for change in self._put(node, known, user, entry)]
        return changes + [change for user in gone for change in self._put(node, known, user, _NOWHERE)]

    def expire(self, now: float, *, own: str) -> list[Change]:
        """Forget nodes that were not heard of for long."""
        dead = [node for node, known in self._nodes.items() if node != own and now - known.heard_at > DEAD_AFTER]
        return [change for node in dead for change in self._forget(node)]

    def _forget(self, node: str) -> Iterator[Change]:
        known = self._nodes[node]
        for user in list(known.users):
            yield from self._put(node, known, user, _NOWHERE)
        del self._nodes[node]

    def _node(self, node: str, now: float) -> _Node | None:
        known = self._nodes.get(node)
        if known is None:
            if len(self._nodes) >= MAX_NODES:
                return None
            known = self._nodes[node] = _Node(0, now, complete=True)
        known.heard_at = now
        return known

    def _put(self, name: str, node: _Node, user: str, entry: Entry) -> list[Change]:
        before = node.users.get(user, _NOWHERE).rooms
        if not before and not entry.rooms:
            return []
        if entry.rooms:
            if user not in node.users and len(node.users) >= MAX_USERS:
                return []
            node.users[user] = entry
            self._where.setdefault(user, set()).add(name)
        else:
            del node.users[user]
            self._where[user].discard(name)
            if not self._where[user]:
                del self._where[user]
        come = frozenset(room for room in entry.rooms - before if self._count(room, user, 1))
        gone = frozenset(room for room in before - entry.rooms if self._count(room, user, -1))
        if come:
            return [Change(user, True, come)]
        # Whoever leaves a room and stays online elsewhere has not gone.
        return [Change(user, False, gone)] if gone and user not in self._where else []

    def _count(self, room: str, user: str, change: int) -> bool:
        """Whether the user has come into the room by this, or gone from it."""
        users = self._rooms.setdefault(room, {})
        count = users.get(user, 0) + change
        if count:
            users[user] = count
        else:
            users.pop(user, None)
            if not users:
                del self._rooms[room]
        return count == (1 if change > 0 else 0)

    def _name(self, user: str) -> str:
        return next((self._nodes[node].users[user].name for node in self._where.get(user, ())), "")


_NOWHERE = Entry("", frozenset())
