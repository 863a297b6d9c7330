"""The python-socketio clients through a few scenarios; prints a JSON line for each."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import socketio

URL = sys.argv[1]
TRANSPORTS = json.loads(sys.argv[2])


async def asynchronous() -> dict[str, Any]:
    async with socketio.AsyncSimpleClient() as client:
        await client.connect(URL, transports=TRANSPORTS)
        name, socket_id = await client.receive(timeout=5)
        echoed = await client.call("echo", {"text": "grüße", "list": [1, None]}, timeout=5)
        binary = await client.call("bytes", 3, timeout=5)
        joined = await client.call("join", "room", timeout=5)
        return {
            "welcome": name,
            "id": len(socket_id),
            "echo": echoed,
            "bytes": list(binary["nested"][0]),
            "join": joined,
        }


async def asked() -> dict[str, Any]:
    client = socketio.AsyncClient(reconnection=False)

    async def question(value: Any) -> Any:
        return {"answer": value}

    client.on("question", question)
    await client.connect(URL, transports=TRANSPORTS)
    answer = await client.call("ask-me", [1, 2], timeout=5)
    await client.disconnect()
    return {"answer": answer}


async def refused() -> dict[str, Any]:
    client = socketio.AsyncClient(reconnection=False)
    errors: asyncio.Queue[Any] = asyncio.Queue()

    client.on("connect_error", errors.put, namespace="/guarded")
    try:
        await client.connect(URL, namespaces=["/guarded"], auth={"token": "bad"}, transports=TRANSPORTS)
    except socketio.exceptions.ConnectionError:
        return {"error": await asyncio.wait_for(errors.get(), 5)}
    return {"error": None}


def threaded() -> dict[str, Any]:
    with socketio.SimpleClient() as client:
        client.connect(URL, namespace="/guarded", auth={"token": "good"}, transports=TRANSPORTS)
        return {"echo": client.call("echo", b"\x00\xff", timeout=5) == b"\x00\xff"}


def main() -> None:
    scenarios: dict[str, Callable[[], Awaitable[Any]]] = {
        "asynchronous": asynchronous,
        "asked": asked,
        "refused": refused,
        "threaded": lambda: asyncio.to_thread(threaded),
    }
    for name, scenario in scenarios.items():
        print(json.dumps([name, asyncio.run(scenario())]), flush=True)  # type: ignore[arg-type]  # noqa: T201


if __name__ == "__main__":
    main()
