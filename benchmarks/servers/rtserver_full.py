"""This server with everything on that an event passes through: authentication, rates, a schema.

usage: rtserver serve servers.rtserver_full:io
"""

from __future__ import annotations

from rtserver import Server, Socket, event
from rtserver.middleware.auth import Auth, User
from rtserver.middleware.ratelimit import RateLimit

# As many as the load generator may send: what is measured is the counting, not the refusing.
PLENTY = "900000/s"

M = event("m", str, ack=str)

io = Server(
    middleware=[
        RateLimit({"m": PLENTY}, total=PLENTY, connects=PLENTY, handshakes=PLENTY),
        Auth(lambda handshake: User(f"user of {handshake.address}")),
    ]
)


@io.on(M)
def answer(socket: Socket, value: str) -> str:
    return value
