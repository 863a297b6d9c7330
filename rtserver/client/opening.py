"""The ways to open a client.

Rule: each owns a nursery; every task of the client lives in it and dies with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack
from urllib.parse import urlsplit, urlunsplit

import trio

from rtserver.client.client import Client
from rtserver.client.dial import dialler
from rtserver.client.errors import unwrapped
from rtserver.client.options import Options, Settings
from rtserver.client.socket import ClientSocket
from rtserver.client.transport import Dial


@asynccontextmanager
async def run_client(options: Options, dial: Dial) -> AsyncIterator[Client]:
    """What ``open_client`` does, with transports of one's own."""
    with unwrapped():
        async with trio.open_nursery() as nursery:
            client = Client(options, dial, nursery)
            await nursery.start(client.run)
            try:
                yield client
            finally:
                await client.close()
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_client(url: str, **settings: Unpack[Settings]) -> AsyncIterator[Client]:
    """Connect to a Socket.IO server for the length of a block.

    ```python
    async with open_client("http://127.0.0.1:8000") as client:
        async with client.namespace("/chat", auth={"token": token}) as chat:
            chat.on("said", print)
            status = await chat.call("say", "hello")
    ```

    What a handler raises ends the block and is raised here, unless ``on_crash`` is given.

    Args:
        url: ``http``, ``https``, ``ws`` or ``wss``, host and port.
        settings: See ``Options``.

    Raises:
        ConnectError: The server cannot be reached, or refuses; see ``Reconnection.initially``.
        ConfigurationError: A setting has a value that it cannot have.
    """
    options = Options(url, **settings)
    async with run_client(options, dialler(options)) as client:
        yield client


@asynccontextmanager
async def open_socket(url: str, **settings: Unpack[Settings]) -> AsyncIterator[ClientSocket]:
    """Connect to one namespace, the path of ``url``, for the length of a block.

    ```python
    async with open_socket("http://127.0.0.1:8000/chat", auth={"token": token}) as chat:
        print(await chat.receive("said"))
    ```

    Args:
        url: As for ``open_client``, with the namespace as its path.
        settings: See ``Options``.

    Raises:
        ConnectError: The server cannot be reached, or refuses the connection or the namespace.
        ConfigurationError: A setting has a value that it cannot have.
    """
    parts = urlsplit(url)
    server = urlunsplit(parts._replace(path=""))
    async with open_client(server, **settings) as client:
        yield await client.connect(parts.path or "/")
