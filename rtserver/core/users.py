"""What a server can do to everybody who is the same user.

Rule: a user is the room that authentication has put their sockets into, so whatever
reaches a room on every node reaches them.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping

from rtserver.core.rooms import user_room
from rtserver.core.surface import Sending
from rtserver.types import Room


class Users(abc.ABC):
    """Reaching the sockets of a user."""

    @property
    @abc.abstractmethod
    def namespaces(self) -> Mapping[str, Sending]: ...

    async def disconnect_user(self, user_id: str) -> None:
        """End every connection of a user, on every node.

        Tokens that they hold are not the server's to recall: see to it that authentication
        refuses them from now on, or they are back at once.
        """
        for namespace in list(self.namespaces.values()):
            namespace.in_(user_room(user_id)).disconnect_sockets(close=True)

    def revoke(self, user_id: str, room: Room) -> None:
        """Take every socket of a user out of a room, in every namespace and on every node.

        The guard of the room is asked before they enter again.
        """
        for namespace in list(self.namespaces.values()):
            namespace.in_(user_room(user_id)).sockets_leave(room)
