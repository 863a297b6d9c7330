"""What a server can do to everybody who is the same user.

Rule: a user is the room that authentication has put their sockets into. Each node looks
through its own namespaces, as clients may have brought about some that only one node has.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from rtserver.config import Config
from rtserver.core.endings import Endings
from rtserver.core.namespace import Namespace
from rtserver.core.rooms import user_room
from rtserver.types import Room

DISCONNECT = "rtserver:disconnect_user"
REVOKE = "rtserver:revoke"


class Users(abc.ABC):
    """Reaching the sockets of a user.

    Attributes:
        main: The namespace by which nodes tell one another.
        endings: Users that were ended lately.
    """

    main: Namespace
    endings: Endings
    config: Config

    @property
    @abc.abstractmethod
    def namespaces(self) -> Mapping[str, Namespace]: ...

    async def disconnect_user(self, user_id: str) -> None:
        """End every connection of a user, on every node.

        Tokens that they hold are not the server's to recall: see to it that authentication
        refuses them from now on, or they are back at once.
        """
        self._disconnect_here(user_id)
        self.main.server_side_emit(DISCONNECT, user_id)

    def revoke(self, user_id: str, room: Room) -> None:
        """Take every socket of a user out of a room, in every namespace and on every node.

        Those that are just entering it are refused. Later, the guard of the room is asked
        before they enter again.
        """
        self._revoke_here(user_id, room)
        self.main.server_side_emit(REVOKE, user_id, room)

    def listen_to_nodes(self) -> None:
        """Do here what other nodes are asked to do to a user."""
        self.endings = Endings()
        self.main.on_server_side(DISCONNECT)(self._disconnect_here)
        self.main.on_server_side(REVOKE)(self._revoke_here)

    # Arguments may come from other nodes, so they are looked at.

    def _disconnect_here(self, user_id: Any) -> None:
        if isinstance(user_id, str):
            # Those whose user is still being found out are in no room yet.
            self.endings.note(user_id, self.config.connect_timeout)
            for namespace in list(self.namespaces.values()):
                namespace.in_(user_room(user_id)).local.disconnect_sockets(close=True)

    def _revoke_here(self, user_id: Any, room: Any) -> None:
        if isinstance(user_id, str) and isinstance(room, str):
            for namespace in list(self.namespaces.values()):
                namespace.in_(user_room(user_id)).local.sockets_leave(room)
