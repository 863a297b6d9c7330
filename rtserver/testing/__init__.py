"""A test kit for applications: a server and its clients in one process, without a network.

Rule: everything is the real thing (the engine, namespaces, parsers, the client) but
the wire, which is a queue in memory. Works with ``pytest-trio`` and its clocks.
"""

from __future__ import annotations

from rtserver.testing.server import InProcessServer, open_server

__all__ = ["InProcessServer", "open_server"]
