"""The clients of python-socketio, asyncio's and the threaded one, through scenarios; prints a JSON line for each.

Usage: ``python_clients.py COMMAND TRANSPORTS``, both JSON; the command serves the variants of its last argument.
"""

from __future__ import annotations

import asyncio
import json
import queue
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import socketio

COMMAND: list[str] = json.loads(sys.argv[1])
TRANSPORTS: list[str] = json.loads(sys.argv[2])
EVENTS = ("welcome", "echo", "said", "question", "attachments", "goodbye", "tick", "hint", "heard", "gone", "message")
SECONDS = 5


class Server:
    """A server in a process of its own."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, json.dumps(ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("ports "):
                self.ports: dict[str, int] = json.loads(line.removeprefix("ports "))
                return
        raise RuntimeError("the server did not start")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['plain']}"

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=20)


def expect(actual: object, expected: object) -> None:
    if actual != expected:
        raise AssertionError(f"{actual!r} instead of {expected!r}")


class Connection:
    """An ``AsyncClient`` and what it hears."""

    def __init__(self, namespaces: tuple[str, ...] = ("/",), answer: Any = None, **options: Any) -> None:
        self.client = socketio.AsyncClient(**{"reconnection": False, **options})
        self.heard: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.namespaces = namespaces
        for namespace in namespaces:
            for name in (*EVENTS, "connect", "disconnect", "connect_error"):
                self.client.on(name, self._listener(name, answer), namespace=namespace)

    def _listener(self, name: str, answer: Any) -> Callable[..., Any]:
        async def listen(*args: Any) -> Any:
            await self.heard.put((name, *args))
            return answer if name == "question" else None

        return listen

    async def open(self, server: Server, auth: Any = None, *, wait: bool = True) -> Connection:
        namespaces = list(self.namespaces)
        await self.client.connect(server.url, auth=auth, transports=TRANSPORTS, namespaces=namespaces, wait=wait)
        return self

    async def call(self, name: str, *args: Any, namespace: str = "/") -> Any:
        data = args[0] if len(args) == 1 else args
        return await self.client.call(name, data or None, namespace=namespace, timeout=SECONDS)

    async def next(self, name: str) -> Any:
        """The arguments of the next event of this name; others are passed over."""
        while True:
            event = await asyncio.wait_for(self.heard.get(), SECONDS)
            if event[0] == name:
                return list(event[1:])


async def asynchronous_values(server: Server) -> None:
    connection = await Connection().open(server)
    expect((await connection.next("welcome"))[0], connection.client.get_sid())
    value = {"text": "grüße 😀", "list": [1, -2.5, None, True, {}], "data": [b"\x00\xff", {"deep": b"x" * 70_000}]}
    expect(await connection.call("echo", value), value)
    expect(await connection.call("echo", 1, "two", [3]), (1, "two", [3]))
    await connection.client.emit("echo", (b"one", "between", b"two"))
    expect(await connection.next("echo"), [b"one", "between", b"two"])
    await connection.call("attachments", 10)
    expect(await connection.next("attachments"), [{"number": n, "data": bytes([n])} for n in range(10)])
    expect(len(await connection.call("big", 2_000_000)), 2_000_000)
    await connection.client.send({"n": 1})
    expect(await connection.next("message"), [{"n": 1}])
    await connection.client.disconnect()


async def asynchronous_simple(server: Server) -> None:
    async with socketio.AsyncSimpleClient() as client:
        await client.connect(server.url, transports=TRANSPORTS)
        expect(await client.receive(timeout=SECONDS), ["welcome", client.sid])
        expect(await client.call("echo", [b"\x01", "grüße"], timeout=SECONDS), [b"\x01", "grüße"])


async def asynchronous_answers(server: Server) -> None:
    connection = await Connection(answer={"data": b"\x09"}).open(server)
    expect(await connection.call("ask", b"\x01"), {"data": b"\x09"})
    expect(await connection.next("question"), [b"\x01"])
    expect(await connection.call("forbidden", 1), {"error": {"code": "forbidden", "message": "not for you"}})
    await connection.client.disconnect()


async def asynchronous_rooms(server: Server) -> None:
    speaker, *others = [await Connection().open(server) for _ in range(4)]
    for number, other in enumerate(others):
        await other.call("join", "red" if number else "blue")
    await speaker.call("tell", ["red", "blue"], [others[2].client.get_sid()], "hello")
    expect([await other.next("said") for other in others[:2]], [["hello"], ["hello"]])
    await others[2].call("echo", "nothing before")
    expect([event for event in _waiting(others[2]) if event[0] == "said"], [])
    for connection in (speaker, *others):
        await connection.client.disconnect()


def _waiting(connection: Connection) -> list[tuple[str, ...]]:
    return [connection.heard.get_nowait() for _ in range(connection.heard.qsize())]


async def asynchronous_namespaces(server: Server) -> None:
    connection = await Connection(("/", "/guarded", "/room-5")).open(server, {"token": "good"})
    expect(await connection.call("who", namespace="/guarded"), {"auth": {"token": "good"}, "query": None})
    await connection.client.emit("shout", "here", namespace="/room-5")
    expect(await connection.next("heard"), ["here"])
    await connection.client.disconnect()


async def asynchronous_refusals(server: Server) -> None:
    refusals: list[tuple[str, Any, Any]] = [
        ("/guarded", {"token": "bad"}, {"message": "not allowed", "data": {"code": 7}}),
        ("/guarded", None, {"message": "who are you?"}),
        ("/nowhere", None, {"message": "Invalid namespace"}),
    ]
    for namespace, auth, expected in refusals:
        connection = await Connection((namespace,)).open(server, auth, wait=False)
        expect(await connection.next("connect_error"), [expected])
        expect(connection.client.namespaces, {})
        # A plain disconnect waits for a poll that the reference may leave open.
        await connection.client.eio.disconnect(abort=True)


async def asynchronous_endings(server: Server) -> None:
    watcher = await Connection(("/watch",)).open(server)
    for close in (False, True):
        connection = await Connection().open(server)
        sid = connection.client.get_sid()
        await connection.client.emit("kick", close)
        await connection.next("goodbye")
        expect(await connection.next("disconnect"), [socketio.AsyncClient.reason.SERVER_DISCONNECT])
        expect((await watcher.next("gone"))[:2], [sid, "server namespace disconnect"])
        await connection.client.disconnect()
    connection = await Connection().open(server)
    sid = connection.client.get_sid()
    await connection.client.disconnect()
    expect(await connection.next("disconnect"), [socketio.AsyncClient.reason.CLIENT_DISCONNECT])
    expect((await watcher.next("gone"))[0], sid)
    await watcher.client.disconnect()


async def asynchronous_restart(_: Server) -> None:
    server = Server({"plain": 0})
    options: dict[str, Any] = {
        "reconnection": True,
        "reconnection_delay": 0.02,
        "reconnection_delay_max": 0.1,
        "randomization_factor": 0,
    }
    connection = await Connection(**options).open(server)
    first = await connection.next("welcome")
    await asyncio.to_thread(server.end, signal.SIGKILL)
    await connection.next("disconnect")
    server = await asyncio.to_thread(Server, server.ports)
    second = await connection.next("welcome")
    expect(first == second, False)
    expect(await connection.call("echo", "again"), "again")
    await connection.client.disconnect()
    await asyncio.to_thread(server.end)


def threaded_values(server: Server) -> None:
    with socketio.SimpleClient() as client:
        client.connect(server.url, transports=TRANSPORTS)
        expect(client.receive(timeout=SECONDS), ["welcome", client.sid])
        value = {"data": [b"\x00\xff", {"deep": b"x" * 70_000}], "text": "grüße"}
        expect(client.call("echo", value, timeout=SECONDS), value)
        client.emit("echo", (1, b"two"))
        expect(client.receive(timeout=SECONDS), ["echo", 1, b"two"])
        expect(len(client.call("big", 2_000_000, timeout=SECONDS)), 2_000_000)


def threaded_answers(server: Server) -> None:
    client = socketio.Client(reconnection=False)
    heard: queue.Queue[Any] = queue.Queue()

    def question(value: Any) -> Any:
        return {"answer": value}

    client.on("question", question)
    client.on("disconnect", heard.put)
    client.connect(server.url, transports=TRANSPORTS)
    expect(client.call("ask", b"\x01", timeout=SECONDS), {"answer": b"\x01"})
    client.emit("kick", False)
    expect(heard.get(timeout=SECONDS), socketio.Client.reason.SERVER_DISCONNECT)
    client.disconnect()


def threaded_namespaces(server: Server) -> None:
    client = socketio.Client(reconnection=False)
    namespaces = ["/", "/guarded"]
    client.connect(server.url, auth={"token": "good"}, transports=TRANSPORTS, namespaces=namespaces)
    expect(client.call("who", namespace="/guarded", timeout=SECONDS), {"auth": {"token": "good"}, "query": None})
    expect(client.call("join", "a", timeout=SECONDS), sorted(["a", client.get_sid("/")]))
    client.disconnect()


SCENARIOS: dict[str, Callable[[Server], Any]] = {
    function.__name__: function
    for function in (
        asynchronous_values,
        asynchronous_simple,
        asynchronous_answers,
        asynchronous_rooms,
        asynchronous_namespaces,
        asynchronous_refusals,
        asynchronous_endings,
        asynchronous_restart,
        threaded_values,
        threaded_answers,
        threaded_namespaces,
    )
}


def attempt(scenario: Callable[[Server], Any], server: Server) -> str | None:
    try:
        if asyncio.iscoroutinefunction(scenario):
            asyncio.run(asyncio.wait_for(scenario(server), 20))
        else:
            scenario(server)
    except Exception:  # noqa: BLE001 - whatever it is, it is the scenario's result
        return traceback.format_exc()
    return None


def main() -> None:
    server = Server({"plain": 0})
    for name, scenario in SCENARIOS.items():
        print(json.dumps({"name": name, "error": attempt(scenario, server)}), flush=True)  # noqa: T201
    server.end()


if __name__ == "__main__":
    main()
