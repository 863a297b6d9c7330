"""A Socket.IO client on Trio.

Rule: no global state. ``open_client`` or ``open_socket`` owns everything that a client is.
"""

from __future__ import annotations

from rtserver.client.backoff import Reconnection
from rtserver.client.client import Client
from rtserver.client.errors import ClientDisconnectReason, ConnectError, TransportLost
from rtserver.client.handlers import Ack, Received
from rtserver.client.opening import open_client, open_socket, run_client
from rtserver.client.options import AuthSource, Options, Settings
from rtserver.client.socket import ClientSocket
from rtserver.client.transport import Batch, Dial, Transport

__all__ = [
    "Ack",
    "AuthSource",
    "Batch",
    "Client",
    "ClientDisconnectReason",
    "ClientSocket",
    "ConnectError",
    "Dial",
    "Options",
    "Received",
    "Reconnection",
    "Settings",
    "Transport",
    "TransportLost",
    "open_client",
    "open_socket",
    "run_client",
]
