"""Wrong payloads, acknowledgements and emits are static errors: mypy says so."""

from __future__ import annotations

import textwrap
from pathlib import Path

from mypy import api

PRELUDE = """
import msgspec
from rtserver import Server, Socket, event

class Post(msgspec.Struct):
    text: str

class Message(msgspec.Struct):
    id: int

POST = event("chat:post", Post, ack=Message)
POSTED = event("chat:posted", Message)
PING = event("ping")
io = Server()
"""


def errors_of(tmp_path: Path, body: str) -> str:
    module = tmp_path / "application.py"
    module.write_text(PRELUDE + textwrap.dedent(body))
    out, err, _ = api.run(["--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache"), str(module)])
    return out + err


def test_an_application_that_fits_its_events_has_no_errors(tmp_path: Path) -> None:
    body = """
    @io.on(POST)
    async def post(socket: Socket, draft: Post) -> Message:
        socket.to("room").emit(POSTED, Message(1))
        return Message(1)

    @io.on(PING)
    def ping(socket: Socket) -> None:
        socket.emit(PING)

    async def ask(socket: Socket) -> Message:
        return await socket.call(POST, Post("text"))

    async def ask_all() -> list[Message]:
        return await io.to("room").call(POST, Post("text"))

    io.emit("any", 1, b"two", {"three": 3})
    """
    assert errors_of(tmp_path, body) == ""


def test_every_misfit_is_an_error(tmp_path: Path) -> None:
    body = """
    @io.on(POST)
    def wrong_payload(socket: Socket, draft: Message) -> Message: return Message(1)
    @io.on(POST)
    def wrong_ack(socket: Socket, draft: Post) -> str: return ""
    def emits(socket: Socket) -> None:
        socket.emit(POSTED, Post("text"))
        io.emit(POSTED)
    async def asks(socket: Socket) -> str:
        return await socket.call(POST, Post("text"))
    """
    found = errors_of(tmp_path, body)
    first = PRELUDE.count("\n") + 2
    for line in (first, first + 2, first + 5, first + 6, first + 8):
        assert f"application.py:{line}: error" in found, f"line {line} passed:\n{found}"
