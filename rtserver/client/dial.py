"""Opens the transports that go over the network."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from rtserver.client.options import Options
from rtserver.client.polling import open_polling
from rtserver.client.transport import Dial, Transport
from rtserver.client.websocket import open_websocket
from rtserver.types import TransportName


def dialler(options: Options) -> Dial:
    """What opens transports to the server that ``options`` names."""

    def dial(name: TransportName, sid: str | None) -> AbstractAsyncContextManager[Transport]:
        return open_polling(options) if name == "polling" else open_websocket(options, sid)

    return dial
