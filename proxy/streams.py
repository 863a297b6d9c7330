"""Byte streams with what was read of them too early, and chunked bodies.

Rule: reading stops exactly where a message ends; what follows it waits for whoever reads next.
"""

from __future__ import annotations

import re
import socket
from typing import TypeAlias

import trio

RECEIVE_SIZE = 65_536

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_MAX_LINE = 1_024
_MAX_TRAILERS = 32


class SocketStream(trio.abc.HalfCloseableStream):
    """A plain socket as a stream, which can be had back whole.

    Args:
        sock: A connected one.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as rest:
            sent = 0
            await trio.lowlevel.checkpoint_if_cancelled()
            while sent < len(rest):
                try:
                    sent += self.sock.send(rest[sent:])
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self.sock)
                except OSError as exc:
                    raise trio.BrokenResourceError from exc
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.wait_writable(self.sock)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self.sock.recv(max_bytes or RECEIVE_SIZE)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.sock)
            except OSError as exc:
                raise trio.BrokenResourceError from exc

    async def send_eof(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            raise trio.BrokenResourceError from exc
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.sock.close()
        await trio.lowlevel.checkpoint()


AnyStream: TypeAlias = SocketStream | trio.SocketStream | trio.SSLStream[trio.abc.Stream]


class Wire:
    """A stream and what has been read of it already.

    Args:
        stream: The bytes.
        received: Read by somebody else before.

    Attributes:
        buffer: What waits to be looked at.
        carried: Bytes read since the start, those of ``received`` left out.
    """

    def __init__(self, stream: AnyStream, received: bytes = b"") -> None:
        self.stream = stream
        self.buffer = received
        self.carried = 0

    async def more(self) -> bool:
        """Read something; False at the end. A broken connection has ended too."""
        try:
            data = await self.stream.receive_some(RECEIVE_SIZE)
        except trio.BrokenResourceError:
            return False
        self.buffer += data
        self.carried += len(data)
        return bool(data)

    def take(self) -> bytes:
        """All that waits."""
        data, self.buffer = self.buffer, b""
        return data

    async def send(self, data: bytes) -> None:
        """Raises ``trio.BrokenResourceError`` when nobody is there any more."""
        await self.stream.send_all(data)

    async def close(self) -> None:
        """Without a word."""
        await trio.aclose_forcefully(self.stream)


class MalformedChunk(ValueError):
    """A chunked body is none."""


class Chunks:
    """Reads a chunked body strictly. Source: RFC 9112, section 7.1."""

    def __init__(self) -> None:
        self.complete = False
        self._buffer = b""
        self._missing = 0
        # A size line, data, the line end behind data, or trailers.
        self._step = self._size
        self._trailers = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Read on.

        Returns:
            What the chunks contain, and what follows the body once it is complete.

        Raises:
            MalformedChunk: It is not a chunked body.
        """
        self._buffer += data
        payload: list[bytes] = []
        while not self.complete and self._step(payload):
            pass
        rest = b""
        if self.complete:
            rest, self._buffer = self._buffer, b""
        return b"".join(payload), rest

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", 0, _MAX_LINE)
        if end < 0:
            if len(self._buffer) >= _MAX_LINE:
                raise MalformedChunk("a line of a chunked body is too long")
            return None
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        if not line.endswith(b"\r"):
            raise MalformedChunk("bare line feed")
        return line[:-1]

    def _size(self, payload: list[bytes]) -> bool:
        line = self._line()
        if line is None:
            return False
        found = _CHUNK_SIZE.fullmatch(line)
        if found is None:
            raise MalformedChunk("malformed chunk size")
        self._missing = int(found[1], 16)
        self._step = self._data if self._missing else self._trailer
        return True

    def _data(self, payload: list[bytes]) -> bool:
        data, self._buffer = self._buffer[: self._missing], self._buffer[self._missing :]
        payload.append(data)
        self._missing -= len(data)
        if not self._missing:
            self._step = self._end
        return not self._missing

    def _end(self, payload: list[bytes]) -> bool:
        if len(self._buffer) < 2:
            return False
        if not self._buffer.startswith(b"\r\n"):
            raise MalformedChunk("a chunk is longer than it says")
        self._buffer = self._buffer[2:]
        self._step = self._size
        return True

    def _trailer(self, payload: list[bytes]) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self.complete = True
            return False
        self._trailers += 1
        if self._trailers > _MAX_TRAILERS or not _TRAILER.fullmatch(line):
            raise MalformedChunk("malformed trailer")
        return True
