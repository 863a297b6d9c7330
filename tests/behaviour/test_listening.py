from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import quart
import quart_trio
import trio

from rtserver import ConfigurationError, Server, Socket
from tests.behaviour.support import PATH, Serve, Site, open_tcp

POLLING = "EIO=4&transport=polling"


@asynccontextmanager
async def listening(io: Server, *addresses: str) -> AsyncIterator[list[Site]]:
    """A site for each address that is listened on."""
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(lambda task_status: io.serve(*addresses, task_status=task_status))
        sites = [Site("front", io, partial(open_address, at), io.stop) for at in bound]
        yield sites
        for site in sites:
            await site.end()


async def open_address(address: str) -> trio.SocketStream:
    if address.startswith("unix:"):
        return await trio.open_unix_socket(address.removeprefix("unix:"))
    return await open_tcp(address)


async def speaks_on_every_transport(site: Site) -> None:
    for peer in (await site.open_polling(), await site.open_websocket(), await site.open_upgraded()):
        await peer.join()


async def test_ipv6_is_listened_on() -> None:
    async with listening(Server(), "[::1]:0") as (site,):
        await speaks_on_every_transport(site)


async def test_a_unix_socket_is_listened_on_and_removed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    seen: list[str] = []
    io = Server()

    @io.on_connect
    def connected(socket: Socket) -> None:
        seen.append(socket.handshake.address)

    async with listening(io, f"unix:{path}") as (site,):
        await speaks_on_every_transport(site)
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()
    assert seen == ["", "", ""]


async def test_several_addresses_lead_to_the_same_server(tmp_path: Path) -> None:
    io = Server()
    async with listening(io, "127.0.0.1:0", "[::1]:0", f"unix:{tmp_path / 'app.sock'}") as sites:
        peers = [await site.open_websocket() for site in sites]
        for peer in peers:
            await peer.join()
        io.emit("everybody")
        for peer in peers:
            assert await peer.receive() == '42["everybody"]'


async def test_a_session_may_move_from_one_address_to_another(tmp_path: Path) -> None:
    async with listening(Server(), "127.0.0.1:0", f"unix:{tmp_path / 'app.sock'}") as (tcp, unix):
        polling = await tcp.open_polling()
        await polling.join()
        polling.site = unix
        await (await polling.upgrade()).send("41")


async def test_a_stale_unix_socket_is_taken_over_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    stale = trio.socket.socket(trio.socket.AF_UNIX)
    await stale.bind(str(path))
    stale.close()
    async with listening(Server(), f"unix:{path}") as (site,):
        await speaks_on_every_transport(site)
        with pytest.raises(OSError, match="cannot listen on unix:"):
            await Server().serve(f"unix:{path}")


async def test_an_address_in_use_is_named() -> None:
    async with listening(Server(), "127.0.0.1:0") as (site,):
        stream = await site.connect_stream()
        address = "{}:{}".format(*stream.socket.getpeername())
        await stream.aclose()
        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            await Server().serve(address)


@pytest.mark.parametrize("address", ["8000", "localhost", "::1:8000", "127.0.0.1:http", "127.0.0.1:65536", ""])
async def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="is not allowed"):
        await Server().serve(address)


# One connection, several kinds of requests.


def application() -> quart_trio.QuartTrio:
    app = quart_trio.QuartTrio("beside")

    @app.route("/hello", methods=["GET", "POST"])
    async def hello() -> str:
        body = await quart.request.get_data()
        assert isinstance(body, bytes)
        return f"hello {body.decode()}"

    return app


async def test_an_application_is_served_beside_the_engine(serve: Serve) -> None:
    site = await serve(Server(), application())
    assert (await site.request("GET", "/hello")).facts == (200, "hello ")
    assert (await site.request("POST", "/hello", b"you")).facts == (200, "hello you")
    assert (await site.request("GET", "/nothing")).status == 404
    assert (await site.get(POLLING)).status == 200


async def test_a_kept_alive_connection_mixes_the_engines_requests_with_others(serve: Serve) -> None:
    site = await serve(Server(), application())
    client = await site.http()
    opened = await client.request("GET", f"{PATH}?{POLLING}")
    assert opened.status == 200
    target = f"{PATH}?{POLLING}&sid={opened.text.split(chr(34))[3]}"
    assert (await client.request("POST", target, b"40")).facts == (200, "ok")
    assert (await client.request("GET", "/hello")).facts == (200, "hello ")
    assert (await client.request("GET", target)).text.startswith('40{"sid"')
    assert (await client.request("POST", "/hello", b"again")).facts == (200, "hello again")
    assert (await client.request("POST", target, b"3")).facts == (200, "ok")


async def test_requests_of_one_segment_are_answered_in_order(serve: Serve) -> None:
    site = await serve(Server(), application())
    peer = await site.open_polling()
    client = await site.http()
    requests = [
        f"POST {PATH}?{peer.query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n40",
        f"GET {PATH}?{peer.query} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"GET {PATH}?EIO=4&transport=abc HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    await client.stream.send_all("".join(requests).encode())
    assert (await client.receive()).facts == (200, "ok")
    assert (await client.receive()).text.startswith('40{"sid"')
    assert (await client.receive()).status == 400
    assert (await client.receive()).facts == (200, "hello ")


async def test_a_client_may_ask_for_the_end_of_its_connection(serve: Serve) -> None:
    site = await serve(Server())
    client = await site.http()
    answer = await client.request("GET", f"{PATH}?{POLLING}", headers=[("Connection", "close")])
    assert answer.status == 200
    assert answer.header("connection") == "close"
    await client.ended()


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_without_an_application_the_front_door_answers_404(serve: Serve) -> None:
    site = await serve(Server())
    assert (await site.request("GET", "/hello")).status == 404
