"""Nodes of the same machine: who gets a connection, and what becomes of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio

from rtserver.protocol.handoff import NodeState, encode_state
from rtserver.protocol.sid import Owner, SidCodec
from tests.behaviour.support import KEY, PATH, Closed, RawWebSocket, sid_of
from tests.cluster.support import SECRET, connections, descriptors, eventually, request, start_node
from tests.proxy.support import HANDSHAKE, UNKNOWN, Upstream, proxied

ASKED = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)


async def test_a_session_stays_with_its_node_whatever_connection_its_requests_come_by(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        sites = [await start_node(nursery, tmp_path / "run") for _ in range(2)]
        async with proxied(tmp_path / "run") as through:
            await through.knows(2)
            sids = [await through.handshake() for _ in range(20)]
            assert all(len(site.io.engine.sessions) >= 3 for site in sites), "two choices leave nobody out"
            for sid in sids:
                query = f"{HANDSHAKE}&sid={sid}"
                assert (await through.request("POST", query, b"40")).facts == (200, "ok")
                assert (await through.request("GET", query)).text.startswith('40{"sid":')
            assert through.counters.handed == 60
            assert through.counters.relayed == 0
        for site in sites:
            await site.end()


async def test_a_websocket_is_its_nodes_alone_and_sees_the_clients_own_address(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        addresses = []
        site.io.on_connect(lambda socket: addresses.append(socket.handshake.address))
        async with proxied(tmp_path / "run") as through:
            await through.knows(1)
            client = await through.http()
            await client.send("GET", f"{PATH}?EIO=4&transport=websocket", headers=ASKED)
            answer = await client.receive()
            websocket = RawWebSocket(client.stream, answer, client.received)
            assert sid_of(str(await websocket.receive()))
            await websocket.send("40")
            assert str(await websocket.receive()).startswith('40{"sid":')
            assert addresses == ["127.0.0.1"]
            assert through.proxy.edge.connections == 0
            # The proxy may go.
            through.streams.clear()
        await websocket.send("3")
        await websocket.send('421["nobody"]')
        await client.stream.aclose()
        await site.end()


async def test_several_sessions_of_several_nodes_share_one_connection(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        sites = [await start_node(nursery, tmp_path / "run") for _ in range(2)]
        async with proxied(tmp_path / "run") as through:
            await through.knows(2)
            sids = [await through.handshake() for _ in range(8)]
            client = await through.http()
            for sid in sids:
                assert (await client.request("POST", f"{HANDSHAKE}&sid={sid}", b"40")).facts == (200, "ok")
        for site in sites:
            await site.end()


async def test_requests_that_follow_in_one_packet_are_passed_on_with_the_first(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with proxied(tmp_path / "run") as through:
            await through.knows(1)
            client = await through.http()
            await client.stream.send_all(request(HANDSHAKE) * 3)
            sids = {sid_of((await client.receive()).text) for _ in range(3)}
            assert len(sids) == 3
        await site.end()


async def test_a_head_that_comes_byte_by_byte_is_waited_for(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with proxied(tmp_path / "run") as through:
            await through.knows(1)
            client = await through.http()
            for byte in request(HANDSHAKE):
                await client.stream.send_all(bytes([byte]))
            assert (await client.receive()).status == 200
            assert through.proxy.edge.held == {}
        await site.end()


def forged() -> list[str]:
    sound = SidCodec([SECRET]).mint(Owner(0, 1), b"0" * 12)
    other = SidCodec(["quite another secret"]).mint(Owner(0, 1), b"0" * 12)
    return [
        other,
        sound[:-1] + ("A" if sound[-1] != "A" else "B"),
        sound[::-1],
        "",
        "abc",
        "%00",
        "__proto__",
        "a" * 10_000,
        sound + "&sid=" + sound,
        SidCodec([SECRET]).mint(Owner(77, 1), b"1" * 12),
    ]


@pytest.mark.parametrize("sid", forged(), ids=lambda sid: sid[:40] or "empty")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_sid_that_is_nobodys_reaches_no_node(tmp_path: Path, sid: str, method: str) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with proxied(tmp_path / "run", cors="https://app.example") as through:
            await through.knows(1)
            origin = [("Origin", "https://app.example")]
            answer = await through.request(method, f"{HANDSHAKE}&sid={sid}", headers=origin)
            assert answer.facts == UNKNOWN
            assert answer.header("access-control-allow-origin") == "https://app.example"
            assert answer.header("vary") == "Origin"
            assert (through.counters.handed, through.counters.unknown_sessions) == (0, 1)
            foreign = await through.request(method, f"{HANDSHAKE}&sid={sid}", headers=[("Origin", "https://b.example")])
            assert foreign.facts == UNKNOWN
            assert foreign.header("access-control-allow-origin") is None
        await site.end()


async def test_a_sid_of_an_earlier_life_of_a_node_is_nobodys(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with proxied(tmp_path / "run") as through:
            await through.knows(1)
            sid = await through.handshake()
            await site.end()
            await eventually(lambda: not through.proxy.pool.links)
            assert (await through.request("GET", f"{HANDSHAKE}&sid={sid}")).facts == UNKNOWN
            again = await start_node(nursery, tmp_path / "run")
            await through.knows(1)
            assert (await through.request("GET", f"{HANDSHAKE}&sid={sid}")).facts == UNKNOWN
            assert await through.handshake()
        await again.end()


async def test_a_draining_node_keeps_its_sessions_and_gets_no_new_ones(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        leaving, staying = [
            await start_node(nursery, tmp_path / "run", drain_timeout=60, drain_rate=1) for _ in range(2)
        ]
        async with proxied(tmp_path / "run") as through:
            await through.knows(2)
            sids = [await through.handshake() for _ in range(16)]
            before = set(leaving.io.engine.sessions)
            assert before
            leaving.io.stop()
            await through.knows(1)
            for _ in range(5):
                assert await through.handshake() in staying.io.engine.sessions
            kept = [sid for sid in sids if sid in leaving.io.engine.sessions]
            if kept:
                answer = await through.request("POST", f"{HANDSHAKE}&sid={kept[-1]}", b"1")
                assert answer.status in (200, 400)
                assert through.counters.unknown_sessions == 0
        nursery.cancel_scope.cancel()


async def test_without_a_node_clients_are_told_to_come_back(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run", cors="*") as through:
        answer = await through.request("GET", HANDSHAKE)
        assert answer.facts == (503, '{"code":503,"message":"no upstream is ready"}')
        assert answer.header("retry-after") == "1"
        assert answer.header("access-control-allow-origin") == "*"


async def test_a_node_that_comes_is_found_when_a_sid_names_it(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        async with proxied(tmp_path / "run") as through:
            site = await start_node(nursery, tmp_path / "run")
            sid = await site.open_polling()
            assert (await through.request("POST", f"{HANDSHAKE}&sid={sid.sid}", b"40")).facts == (200, "ok")
        await site.end()


async def test_what_is_not_the_engines_goes_to_any_node(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with proxied(tmp_path / "run") as through:
            await through.knows(1)
            assert (await through.request("GET", "/readyz")).status == 200
            assert (await through.request("GET", "/readyz?sid=forged")).status == 200
        await site.end()


async def test_who_says_who_they_are_is_not_heard(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        seen: list[dict[str, str]] = []
        site.io.on_connect(lambda socket: seen.append(dict(socket.handshake.headers)))
        async with proxied(tmp_path / "run") as through:
            await through.knows(1)
            forged = [("X-Forwarded-For", "1.2.3.4"), ("x_forwarded_for", "1.2.3.4"), ("Forwarded", "for=1.2.3.4")]
            answer = await through.request("GET", HANDSHAKE, headers=[*forged, ("X-Colour", "red")])
            query = f"{HANDSHAKE}&sid={sid_of(answer.text)}"
            await through.request("POST", query, b"40")
            assert (await through.request("GET", query)).status == 200
            assert seen[0]["x-colour"] == "red"
            assert not [name for name in seen[0] if "forwarded" in name]
        await site.end()


async def test_a_trusted_peer_says_whose_websocket_it_is(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        seen: list[tuple[str, bool]] = []
        site.io.on_connect(lambda socket: seen.append((socket.handshake.address, socket.handshake.secure)))
        async with proxied(tmp_path / "run", trusted="127.0.0.0/8") as through:
            await through.knows(1)
            client = await through.http()
            told = [("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 127.0.0.9"), ("X-Forwarded-Proto", "https")]
            await client.send("GET", f"{PATH}?EIO=4&transport=websocket", headers=[*ASKED, *told])
            answer = await client.receive()
            websocket = RawWebSocket(client.stream, answer, client.received)
            await websocket.receive()
            await websocket.send("40")
            await websocket.receive()
            assert seen == [("203.0.113.9", True)]
            assert through.counters.handed == 1
        await site.end()


async def test_a_trusted_peers_connection_may_bear_requests_of_several_clients(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        seen: list[str] = []
        site.io.on_connect(lambda socket: seen.append(socket.handshake.address))
        async with proxied(tmp_path / "run", trusted="127.0.0.0/8") as through:
            await through.knows(1)
            client = await through.http()
            for host in ("203.0.113.1", "203.0.113.2"):
                told = [("X-Forwarded-For", host)]
                opened = await client.request("GET", HANDSHAKE, headers=told)
                query = f"{HANDSHAKE}&sid={sid_of(opened.text)}"
                assert (await client.request("POST", query, b"40", headers=told)).facts == (200, "ok")
                assert (await client.request("GET", query, headers=told)).status == 200
            assert seen == ["203.0.113.1", "203.0.113.2"]
            assert (through.counters.handed, through.counters.relayed) == (0, 6)
        await site.end()


async def test_what_is_handed_over_leaves_nothing_behind(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with proxied(tmp_path / "run") as through:
            await through.knows(1)
            await through.request("GET", HANDSHAKE)
            await eventually(lambda: connections(site) == 0)
            before = descriptors()
            for _ in range(50):
                await through.request("GET", f"{HANDSHAKE}&t=1")
                await through.request("GET", f"{HANDSHAKE}&sid=forged")
            await eventually(lambda: descriptors() <= before)
            assert through.proxy.edge.held == {}
        await site.end()


async def test_a_node_with_a_full_queue_is_waited_for_and_then_passed_over(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    codec = SidCodec([SECRET])
    # A node that says that it is ready, and then does not take what is handed to it.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(run / "node-9.sock"))
        listener.listen()
        async with proxied(run, max_connections_per_address=10_000) as through:
            await eventually(lambda: 9 in through.proxy.pool.links)
            stuck, _ = listener.accept()
            stuck.send(encode_state(NodeState(9, 3, "ready", 0, 0.0, None, os.getpid())))
            await through.knows(1)
            sid = codec.mint(Owner(9, 3), b"2" * 12)
            link = through.proxy.pool.links[9]
            answers = []
            async with trio.open_nursery() as nursery:

                async def ask(target: str) -> None:
                    client = await through.http()
                    await client.send("GET", target)
                    with trio.move_on_after(4):
                        answers.append((await client.receive()).status)
                    nursery.cancel_scope.cancel()

                for _ in range(400):
                    nursery.start_soon(ask, f"{HANDSHAKE}&sid={sid}")
            assert answers[0] == 503
            assert link.failed > 0
            stuck.close()
            await eventually(lambda: not through.proxy.pool.links)


async def test_the_order_to_hang_up_is_the_nodes(tmp_path: Path) -> None:
    """What the proxy has handed over it cannot touch any more, and it does not hold the other end open."""
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", ping_interval=0.2, ping_timeout=0.1)
        async with proxied(tmp_path / "run") as through:
            await through.knows(1)
            client = await through.http()
            await client.send("GET", f"{PATH}?EIO=4&transport=websocket", headers=ASKED)
            answer = await client.receive()
            websocket = RawWebSocket(client.stream, answer, client.received)
            while not isinstance(message := await websocket.receive(), Closed):
                assert message
        await site.end()


@pytest.mark.parametrize("size", [1_000, 70_000])
async def test_a_relayed_connection_is_handed_over_as_soon_as_it_asks_for_a_node(tmp_path: Path, size: int) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        upstream = await Upstream().start(nursery)
        given = {"upstreams": f"7={upstream.address}", "probe_path": "/probe"}
        async with proxied(tmp_path / "run", **given) as through:
            await through.knows(2)
            peer = await site.open_polling()
            elsewhere = SidCodec([SECRET]).mint(Owner(7, 1), bytes(12))
            client = await through.http()
            body = ("4" + "x" * size).encode()
            post = request(f"{HANDSHAKE}&sid={peer.sid}", method="POST", body=body)
            async with trio.open_nursery() as sending:
                # All of it at once, so that the second one is here before the first one is answered.
                sending.start_soon(client.stream.send_all, request(f"{HANDSHAKE}&sid={elsewhere}") + post)
                assert (await client.receive()).facts == (200, "hello")
            assert (await client.receive()).status in (200, 400)
            assert through.counters.handed + through.counters.relayed == 2
        await site.end()
        nursery.cancel_scope.cancel()
