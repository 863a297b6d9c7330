"""A chat with all of the middleware. ``python examples/chat.py`` starts it and prints a token for each of two users."""

from __future__ import annotations

import secrets
import time
from typing import Annotated

import click
import jwt
import msgspec
import trio

from rtserver import EventRefused, Server, Socket, event
from rtserver.middleware import AllowedOrigins, ConnectionLimits, ConnectionLog, Metrics, Permissions, RateLimit, allow
from rtserver.middleware.auth import JWTAuth
from rtserver.middleware.validation import Validation

SECRET = secrets.token_hex(32)  # Nodes of a cluster share one instead.


class Post(msgspec.Struct):
    room: str
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


POST, POSTED = event("post", Post, ack=Post), event("posted", Post)
RULES = [allow("event"), allow("enter", "lobby"), allow("enter", "staff", scopes=["staff"]), allow("emit")]
LIMIT = RateLimit({"post": "30/min burst 5"}, by="user")
FIRST = [ConnectionLog(), Metrics(), AllowedOrigins(["http://127.0.0.1:8000"]), ConnectionLimits(per_address=50)]
io = Server(middleware=[*FIRST, JWTAuth(SECRET), LIMIT, Permissions(RULES), Validation(max_size=2_000)])
io.emits(POSTED)


@io.on("enter")
async def enter(socket: Socket, room: str) -> str:
    await socket.enter(room)
    return "welcome"


@io.on(POST)
def post(socket: Socket, draft: Post) -> Post:
    if draft.room not in socket.rooms:
        raise EventRefused("not_in_room", "enter the room first")
    socket.to(draft.room).emit(POSTED, draft)
    return draft


def token(user: str, *scopes: str) -> str:
    return jwt.encode({"sub": user, "scope": " ".join(scopes), "exp": time.time() + 3600}, SECRET)


if __name__ == "__main__":
    click.echo(f"ann of the staff: {token('ann', 'staff')}\nbob, a visitor:   {token('bob')}")
    trio.run(io.serve, "127.0.0.1:8000")
