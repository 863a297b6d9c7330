"""The configurations of other proxies, run by those proxies, in front of nodes that help nobody to be sticky."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from proxy.settings import load
from rtserver import Server
from tests.behaviour.support import ACCEPT, KEY, HttpClient, Site, sid_of, start_site
from tests.cluster.support import SECRET, eventually
from tests.proxy.support import HANDSHAKE

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAMS = ["haproxy", "nginx", "caddy"]
CONFIGURATIONS = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf", "caddy": "Caddyfile"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def command(program: str, file: Path) -> list[str]:
    if program == "haproxy":
        return ["haproxy", "-db", "-f", str(file)]
    if program == "caddy":
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]
    return ["nginx", "-p", str(file.parent), "-c", str(file), "-e", "stderr", "-g", "daemon off;"]


class Behind:
    """Two nodes behind a proxy of another make."""

    def __init__(self, port: int, sites: list[Site]) -> None:
        self.port = port
        self.sites = sites

    async def client(self, host: str = "127.0.0.1") -> HttpClient:
        """A client that comes from an address of the loopback."""
        return HttpClient(await trio.open_tcp_stream("127.0.0.1", self.port, local_address=host))

    def holder(self, sid: str) -> int:
        (found,) = [number for number, site in enumerate(self.sites) if sid in site.io.engine.sessions]
        return found


@asynccontextmanager
async def behind(program: str, tmp_path: Path) -> AsyncIterator[Behind]:
    async with trio.open_nursery() as nursery:
        sites = [await start_site(nursery, Server(), "front") for _ in range(2)]
        ports = [await port_of(site) for site in sites]
        port = free_port()
        text = (DEPLOY / CONFIGURATIONS[program]).read_text()
        for written, used in ((8080, port), (8001, ports[0]), (8002, ports[1])):
            assert f":{written}" in text
            text = text.replace(f":{written}", f":{used}")
        # Several of it may run, and only one has the port of its administration.
        text = text.replace("auto_https off", "auto_https off\n\tadmin off")
        # A test needs no twenty thousand of them.
        text = text.replace("20000", "200")
        file = tmp_path / CONFIGURATIONS[program]
        file.write_text(text)
        with started(program, file) as process:
            try:
                await eventually(lambda: is_open(port))
                found = Behind(port, sites)
                await until_served(found)
                yield found
            finally:
                process.kill()
        for site in sites:
            site.stop()


def started(program: str, file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(program, file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def port_of(site: Site) -> int:
    async with await site.connect_stream() as stream:
        port: int = stream.socket.getpeername()[1]
        return port


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def until_served(found: Behind) -> None:
    """It may have to look after the nodes first."""
    with trio.fail_after(10):
        while True:
            client = await found.client()
            answer = await client.request("GET", "/healthz")
            await client.stream.aclose()
            if answer.status == 200:
                return


def missing(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


each = pytest.mark.parametrize("program", [pytest.param(name, marks=missing(name)) for name in PROGRAMS])


@each
async def test_polling_sessions_stay_with_their_node(tmp_path: Path, program: str) -> None:
    async with behind(program, tmp_path) as found:
        holders = set()
        for number in range(1, 21):
            host = f"127.0.{number}.{number}"
            client = await found.client(host)
            opened = await client.request("GET", HANDSHAKE)
            sid = sid_of(opened.text)
            await client.stream.aclose()
            kept = opened.header("set-cookie")
            cookies = [] if kept is None else [("Cookie", str(kept).partition(";")[0])]
            holders.add(found.holder(sid))
            for method, body in (("POST", b"40"), ("GET", b""), ("POST", b"3")):
                client = await found.client(host)
                answer = await client.request(method, f"{HANDSHAKE}&sid={sid}", body, cookies)
                assert answer.status == 200, answer
                await client.stream.aclose()
        assert holders == {0, 1}


@each
async def test_websockets_are_let_through(tmp_path: Path, program: str) -> None:
    async with behind(program, tmp_path) as found:
        client = await found.client()
        asked = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", KEY)]
        headers = [*asked, ("Sec-WebSocket-Version", "13")]
        await client.send("GET", "/socket.io/?EIO=4&transport=websocket", headers=headers)
        answer = await client.receive()
        assert (answer.status, answer.header("sec-websocket-accept")) == (101, ACCEPT)
        with trio.fail_after(5):
            while b'"maxPayload"' not in client.received:
                client.received += await client.stream.receive_some()
        await client.stream.aclose()


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
async def test_a_cookie_is_stronger_than_an_address(tmp_path: Path) -> None:
    async with behind("haproxy", tmp_path) as found:
        client = await found.client("127.0.5.5")
        opened = await client.request("GET", HANDSHAKE)
        cookie = str(opened.header("set-cookie")).partition(";")[0]
        await client.stream.aclose()
        for number in range(1, 11):
            client = await found.client(f"127.0.{number}.{number}")
            query = f"{HANDSHAKE}&sid={sid_of(opened.text)}"
            assert (await client.request("POST", query, b"3", [("Cookie", cookie)])).facts == (200, "ok")
            await client.stream.aclose()


@each
async def test_what_clients_say_of_themselves_does_not_reach_the_nodes(tmp_path: Path, program: str) -> None:
    async with behind(program, tmp_path) as found:
        seen: list[dict[str, str]] = []
        for site in found.sites:
            site.io.on_connect(lambda socket: seen.append(dict(socket.handshake.headers)))
        client = await found.client()
        told = [("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6")]
        opened = await client.request("GET", HANDSHAKE, headers=told)
        query = f"{HANDSHAKE}&sid={sid_of(opened.text)}"
        cookies = [("Cookie", str(opened.header("set-cookie")).partition(";")[0])]
        assert (await client.request("POST", query, b"40", cookies)).status == 200
        assert (await client.request("GET", query, headers=cookies)).status == 200
        await client.stream.aclose()
        assert seen[0]["x-forwarded-for"] == "127.0.0.1"
        assert "6.6.6.6" not in str(seen)


def test_our_own_file_is_read_with_and_without_what_is_commented_out(tmp_path: Path) -> None:
    text = (DEPLOY / "proxy.toml").read_text()
    assert load(DEPLOY / "proxy.toml", {}, {"RTSERVER_SECRET": SECRET}).listen == ("127.0.0.1:8080",)
    whole = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    for name in ("fullchain.pem", "privkey.pem"):
        (tmp_path / name).touch()
    whole = whole.replace("/etc/rtserver", str(tmp_path))
    assert len(tomllib.loads(whole)) == 11
    file = tmp_path / "whole.toml"
    file.write_text(whole)
    assert load(file, {}, {"RTSERVER_SECRET": SECRET}).proxy_protocol


def test_every_file_is_named() -> None:
    text = (DEPLOY / "README.md").read_text()
    assert [path.name for path in DEPLOY.iterdir() if f"({path.name})" not in text and path.name != "README.md"] == []
