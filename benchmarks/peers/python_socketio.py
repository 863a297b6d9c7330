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


io.on("m", answer)
io.on("b", broadcast)

if __name__ == "__main__":
    uvicorn.run(socketio.ASGIApp(io), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
