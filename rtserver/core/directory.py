"""The namespaces of a server: those that were declared, and those that clients bring about.

Rule: a name belongs to one namespace. A dynamic one is made when the first client is
let look at it, and goes with its last socket if the settings say so.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable
from typing import Any

from rtserver.core.handlers import Registry
from rtserver.core.namespace import (
    Matcher,
    Namespace,
    NamespaceHost,
    ParentNamespace,
    check_name,
    matcher_name,
    matcher_of,
)
from rtserver.core.pipeline import Middleware
from rtserver.types import Auth


class Directory:
    """Finds and makes namespaces.

    Args:
        host: The server.
        middleware: The server's, in front of every namespace's own.

    Attributes:
        namespaces: All that exist, by name.
        parents: Those of dynamic namespaces, in the order in which they are asked.
    """

    def __init__(self, host: NamespaceHost, middleware: list[Middleware]) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self.parents: list[ParentNamespace] = []
        self._host = host
        self._middleware = middleware

    def named(self, name: str) -> Namespace:
        """The namespace of a name, made if there is none."""
        name = check_name(name)
        found = self.namespaces.get(name)
        if found is None:
            found = self.namespaces[name] = Namespace(name, self._host, Registry(name, self._middleware))
        return found

    def parent(self, matcher: re.Pattern[str] | Matcher) -> ParentNamespace:
        """A new parent of the namespaces that match."""
        parent = ParentNamespace(matcher_of(matcher), Registry(matcher_name(matcher), self._middleware))
        self.parents.append(parent)
        return parent

    def find(self, name: str, auth: Auth) -> Namespace | Awaitable[Namespace | None] | None:
        """The namespace that a client asks for, if there is one or a parent has one."""
        found = self.namespaces.get(name)
        if found is not None:
            return found
        for index, parent in enumerate(self.parents):
            matches = parent.matches(name, auth)
            if inspect.isawaitable(matches):
                return self._find_later(name, auth, matches, index)
            if matches:
                return self._child(parent, name)
        return None

    async def _find_later(self, name: str, auth: Auth, first: Awaitable[bool], index: int) -> Namespace | None:
        matches: Any = first
        for parent in self.parents[index:]:
            if matches is None:
                matches = parent.matches(name, auth)
            if inspect.isawaitable(matches):
                matches = await matches
            if matches:
                # Somebody else may have brought it about in the meantime.
                return self.namespaces.get(name) or self._child(parent, name)
            matches = None
        return None

    def _child(self, parent: ParentNamespace, name: str) -> Namespace:
        dynamic = self._host.config.cleanup_empty_child_namespaces
        child = Namespace(name, self._host, parent.registry, dynamic=dynamic)
        self.namespaces[name] = parent.children[name] = child
        return child

    def middleware(self) -> list[Middleware]:
        """All that is used anywhere, each once."""
        registries = [*(one.registry for one in self.namespaces.values()), *(one.registry for one in self.parents)]
        return list({id(member): member for registry in registries for member in registry.middleware}.values())

    def drop(self, namespace: Namespace) -> None:
        """A dynamic namespace is empty."""
        if self.namespaces.get(namespace.name) is namespace:
            del self.namespaces[namespace.name]
            for parent in self.parents:
                parent.children.pop(namespace.name, None)
            namespace.adapter.close()
