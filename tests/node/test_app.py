"""A node's one port: Engine.IO, health, metrics and the user's own application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from quart import request, websocket
from quart_trio import QuartTrio
from trio_websocket import open_websocket_url

from rtserver import Server, Socket
from rtserver.client import open_socket


@asynccontextmanager
async def serving(io: Server, **options: Any) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(
            lambda task_status: io.serve("127.0.0.1:0", task_status=task_status, **options)
        )
        yield f"http://{address}"
        io.stop()


async def test_a_node_tells_whether_it_lives_and_is_ready() -> None:
    async with serving(Server()) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
        assert (await http.get("/nothing")).status_code == 404


async def test_a_node_that_takes_nobody_is_not_ready() -> None:
    io = Server()
    async with serving(io) as url, httpx.AsyncClient(base_url=url) as http:
        io.engine.accepting = False
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
        handshake = await http.get("/socket.io/?EIO=4&transport=polling")
        assert handshake.status_code == 503
        assert handshake.headers["retry-after"] == "1"


async def test_metrics_are_what_the_server_counts() -> None:
    io = Server()

    @io.on("hello")
    def hello(socket: Socket) -> None:
        socket.join("room")

    async with serving(io) as url, httpx.AsyncClient(base_url=url) as http, open_socket(url) as client:
        await client.call("hello")
        answer = await http.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        assert samples["rtserver_clients",] == 1
        assert samples["rtserver_sockets", "/"] == 1
        assert samples["rtserver_rooms", "/"] == 1
        assert samples["rtserver_events_received_total", "/"] == 1
        assert samples["rtserver_connections_accepted_total",] >= 2
        assert samples["rtserver_bytes_in_total",] > 0
        assert samples["rtserver_loop_delay_seconds",] >= 0


async def test_the_users_application_has_every_other_path() -> None:
    app = QuartTrio("users")
    started: list[str] = []

    @app.before_serving
    async def start() -> None:
        started.append("started")

    @app.after_serving
    async def end() -> None:
        started.append("ended")

    @app.post("/upload")
    async def upload() -> dict[str, int]:
        body = await request.get_data()
        return {"size": len(body)}

    async with serving(Server(), app=app) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.post("/upload", content=b"x" * 100_000)).json() == {"size": 100_000}

        async def pieces() -> AsyncIterator[bytes]:
            yield b"abc"
            yield b"de"

        assert (await http.post("/upload", content=pieces())).json() == {"size": 5}
        assert (await http.get("/healthz")).status_code == 200
        assert started == ["started"]
    assert started == ["started", "ended"]


async def test_one_connection_may_carry_engineio_and_everything_else() -> None:
    limits = httpx.Limits(max_connections=1)
    io = Server()
    async with serving(io) as url, httpx.AsyncClient(base_url=url, limits=limits) as http:
        for _ in range(3):
            handshake = await http.get("/socket.io/?EIO=4&transport=polling")
            assert handshake.text.startswith('0{"sid":')
            assert (await http.get("/healthz")).status_code == 200
        assert io.statistics().node is not None
        assert io.statistics().node.accepted == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("websockets", [False, True])
async def test_other_websockets_exist_only_if_the_application_asked_for_them(websockets: bool) -> None:
    app = QuartTrio("users")

    @app.websocket("/own")
    async def own() -> None:
        await websocket.send(await websocket.receive())

    async with serving(Server(), app=app, websockets=websockets) as url:
        if not websockets:
            async with httpx.AsyncClient(base_url=url) as http:
                asking = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
                key = {"sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="}
                assert (await http.get("/own", headers={**asking, **key})).status_code == 400
            return
        async with open_websocket_url(url.replace("http", "ws") + "/own") as connection:
            await connection.send_message("hello")
            assert await connection.get_message() == "hello"


async def test_the_browser_client_is_served_where_npm_has_put_it(tmp_path: Any) -> None:
    (tmp_path / "socket.io.js").write_text("client")
    async with serving(Server(serve_client=tmp_path)) as url, httpx.AsyncClient(base_url=url) as http:
        found = await http.get("/socket.io/socket.io.js")
        assert (found.status_code, found.text) == (200, "client")
        assert found.headers["content-type"] == "application/javascript; charset=utf-8"
        again = await http.get("/socket.io/socket.io.js", headers={"if-none-match": found.headers["etag"]})
        assert again.status_code == 304
        for path in ("/socket.io/socket.io.min.js", "/socket.io/../socket.io.js", "/socket.io/%2e%2e/conftest.py"):
            assert (await http.get(path)).status_code in (400, 404)
