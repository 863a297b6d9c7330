"""The polling transport: a GET that waits for packets, a POST for those that go out.

Rule: one GET and one POST at a time, at most; the engine sees to that. An answer
is read no further than ``max_message_size``.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx

from rtserver.client.errors import TransportLost, described
from rtserver.client.options import Options
from rtserver.client.transport import Batch, Wire
from rtserver.errors import ProtocolError
from rtserver.protocol.engineio.packet import Packet
from rtserver.protocol.engineio.payload import decode_payload, encode_payload

# Servers refuse a POST with too many packets whole.
MAX_PACKETS_OUT = 500
# An answer's size is bounded already; this bounds the objects made of it.
MAX_PACKETS_IN = 100_000
UNKNOWN_PAYLOAD = 1_000_000


class PollingTransport:
    """A session carried by HTTP requests.

    Args:
        http: Where the requests are made; its owner closes it.
        options: The client's settings.
    """

    name: Literal["polling"] = "polling"

    def __init__(self, http: httpx.AsyncClient, options: Options) -> None:
        self._http = http
        self._options = options
        self._target = options.target("polling", None)
        self.batch = Batch(1, UNKNOWN_PAYLOAD)

    def opened(self, sid: str, max_payload: int | None) -> None:
        self._target = self._options.target("polling", sid)
        self.batch = Batch(MAX_PACKETS_OUT, max_payload or UNKNOWN_PAYLOAD)

    async def receive(self) -> list[Packet]:
        body = await self._request("GET", None)
        try:
            return decode_payload(body.decode(), max_packets=MAX_PACKETS_IN)
        except UnicodeDecodeError as exc:
            raise ProtocolError("a polling payload is not UTF-8") from exc

    async def send(self, wires: Sequence[Wire]) -> None:
        await self._request("POST", encode_payload(_part(wire) for wire in wires))

    async def close(self) -> None:
        await self.send(["1"])

    async def _request(self, method: str, content: bytes | None) -> bytes:
        headers = None if content is None else {"Content-Type": "text/plain; charset=UTF-8"}
        try:
            async with self._http.stream(method, self._target, content=content, headers=headers) as response:
                body = await self._read(response)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise TransportLost("transport error", f"polling failed: {described(exc)}") from exc
        if response.status_code != 200:
            raise TransportLost("transport error", *refusal(response.status_code, body))
        return body

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._options.max_message_size:
                raise TransportLost("transport error", "an answer is longer than max_message_size")
        return bytes(body)


@asynccontextmanager
async def open_polling(options: Options) -> AsyncIterator[PollingTransport]:
    """Make a polling transport. Nothing is sent before its first ``receive``."""
    verify: ssl.SSLContext | bool = True if options.ssl_context is None else options.ssl_context
    if not options.secure:
        verify = False  # Loading the default certificates costs 20 ms.
    # A poll takes as long as the server has nothing to say: the engine bounds it, by its heartbeat.
    timeout = httpx.Timeout(None, connect=options.connect_timeout)
    async with httpx.AsyncClient(
        base_url=f"{'https' if options.secure else 'http'}://{options.authority}",
        headers=dict(options.headers),
        timeout=timeout,
        transport=httpx.AsyncHTTPTransport(verify=verify, uds=options.uds, trust_env=False),
        trust_env=False,
    ) as http:
        yield PollingTransport(http, options)


def refusal(status: int, body: bytes | None) -> tuple[str, dict[str, Any]]:
    """The message and data of an HTTP answer that refuses a request."""
    try:
        answer = json.loads(body or b"")
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("message"), str):
        return f"the server answered {status}", {"status": status, "code": None}
    return answer["message"], {"status": status, "code": answer.get("code")}


def _part(wire: Wire) -> bytes:
    return wire.encode() if isinstance(wire, str) else b"b" + base64.b64encode(wire)


def wire_size(wire: Wire) -> int:
    """How many bytes a packet takes in a payload, or a little less than in a WebSocket frame."""
    if isinstance(wire, bytes):
        return 1 + 4 * ((len(wire) + 2) // 3)
    return len(wire) if wire.isascii() else len(wire.encode())
