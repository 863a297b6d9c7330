"""python-socketio under uvicorn. usage: python_socketio.py PORT"""

from __future__ import annotations

import sys
from typing import Any

import socketio
import uvicorn

io = socketio.AsyncServer(async_mode="asgi")


async def answer(sid: str, value: Any) -> Any:
    return value


async def broadcast(sid: str, value: Any) -> None:
    await io.emit("b", value)


async def join(sid: str, room: str) -> None:
    await io.enter_room(sid, room)


async def to_room(sid: str, room: str, value: Any) -> None:
    await io.emit("r", value, to=room)


io.on("m", answer)
io.on("b", broadcast)
io.on("join", join)
io.on("r", to_room)

if __name__ == "__main__":
    uvicorn.run(socketio.ASGIApp(io), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
