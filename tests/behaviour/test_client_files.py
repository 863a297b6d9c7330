from __future__ import annotations

from pathlib import Path

import pytest

from rtserver import Server
from tests.behaviour.support import Serve

SCRIPT = b"/* the client */"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "socket.io.js").write_bytes(SCRIPT)
    (tmp_path / "socket.io.js.map").write_bytes(b"{}")
    (tmp_path / "secret.js").write_bytes(b"secret")
    return tmp_path


async def test_the_clients_script_is_served(serve: Serve, folder: Path) -> None:
    site = await serve(Server(serve_client=folder))
    answer = await site.request("GET", "/socket.io/socket.io.js")
    assert (answer.status, answer.body) == (200, SCRIPT)
    assert answer.header("content-type") == "application/javascript; charset=utf-8"
    source = await site.request("GET", "/socket.io/socket.io.js.map")
    assert (source.status, source.body) == (200, b"{}")
    assert source.header("content-type") == "application/json; charset=utf-8"


async def test_a_page_of_any_origin_may_load_the_script(serve: Serve, folder: Path) -> None:
    site = await serve(Server(serve_client=folder))
    answer = await site.request("GET", "/socket.io/socket.io.js", headers=[("Origin", "http://a.example")])
    assert answer.status == 200


async def test_an_unchanged_script_is_not_sent_again(serve: Serve, folder: Path) -> None:
    site = await serve(Server(serve_client=folder))
    etag = (await site.request("GET", "/socket.io/socket.io.js")).header("etag")
    assert etag is not None
    answer = await site.request("GET", "/socket.io/socket.io.js", headers=[("If-None-Match", etag)])
    assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize("name", ["secret.js", "../secret.js", "%2e%2e/secret.js", "socket.io.min.js", "socket.io.js/"])
async def test_nothing_else_is_served(serve: Serve, folder: Path, name: str) -> None:
    site = await serve(Server(serve_client=folder))
    answer = await site.request("GET", f"/socket.io/{name}")
    assert answer.status in (400, 404)
    assert b"secret" not in answer.body


async def test_the_script_can_be_switched_off(serve: Serve) -> None:
    site = await serve(Server(serve_client=False))
    assert (await site.request("GET", "/socket.io/socket.io.js")).status == 400
