"""Requests for sessions of other nodes: the connection goes to the owner, with all that was read of it."""

from __future__ import annotations

import socket
from pathlib import Path

import trio

from rtserver import Socket
from rtserver.protocol.sid import Owner, SidCodec
from tests.behaviour.support import PATH, PollingPeer, Record, Site, sid_of
from tests.cluster.support import (
    POLLING,
    SECRET,
    UNKNOWN_SID,
    Caller,
    NodeSite,
    connections,
    ended,
    eventually,
    hung_up,
    know_each_other,
    request,
    start_node,
    tcp_pair,
)


def passed_on(site: Site) -> int:
    node = site.io.statistics().node
    assert node is not None
    return node.passed_on


async def three_nodes(nursery: trio.Nursery, run_dir: Path) -> list[NodeSite]:
    sites = [await start_node(nursery, run_dir) for _ in range(3)]
    await know_each_other(*sites)
    return sites


async def test_tabs_with_sessions_of_three_nodes_share_one_connection(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        sites = await three_nodes(nursery, tmp_path / "run")
        for number, site in enumerate(sites):
            site.io.on("which node")(lambda socket, number=number: number)
        peers = [await site.open_polling() for site in sites]
        client = await sites[0].http()
        for peer in peers:
            assert (await client.request("POST", f"{PATH}?{peer.query}", b"40")).facts == (200, "ok")
            assert (await client.request("GET", f"{PATH}?{peer.query}")).text.startswith("40{")
        for _ in range(3):
            for number, peer in enumerate(peers):
                assert (await client.request("POST", f"{PATH}?{peer.query}", b'420["which node"]')).status == 200
                assert (await client.request("GET", f"{PATH}?{peer.query}")).text == f"430[{number}]"
        assert sum(map(passed_on, sites)) == 11
        for site in sites:
            await site.end()


async def test_a_long_body_on_its_way_goes_to_the_owner_whole(tmp_path: Path) -> None:
    record = Record()
    async with trio.open_nursery() as nursery:
        first, second, third = await three_nodes(nursery, tmp_path / "run")

        @second.io.on("long")
        def long(socket: Socket, text: str) -> None:
            record.add(len(text))

        peer = await second.open_polling()
        await peer.join()
        client = await first.http()
        body = b'42["long","' + b"x" * 900_000 + b'"]'
        assert (await client.request("POST", f"{PATH}?{peer.query}", body)).facts == (200, "ok")
        assert await record.next() == 900_000
        for site in (first, second, third):
            await site.end()


async def test_what_is_pipelined_is_answered_in_order_and_by_the_owners(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        sites = await three_nodes(nursery, tmp_path / "run")
        peers = [await site.open_polling() for site in sites]
        client = await sites[0].http()
        posts = [request(f"{PATH}?{peer.query}", method="POST", body=b"40") for peer in peers]
        polls = [request(f"{PATH}?{peer.query}") for peer in peers]
        await client.stream.send_all(b"".join(posts + polls))
        assert [(await client.receive()).text for _ in peers] == ["ok"] * 3
        for site in sites:
            (socket_id,) = site.io.sockets
            assert (await client.receive()).text == f'40{{"sid":"{socket_id}"}}'
        for site in sites:
            await site.end()


async def test_earlier_answers_are_out_before_a_connection_is_passed_on(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first, second = [
            await start_node(nursery, tmp_path / "run", max_queue_bytes=64_000_000, http_compression=False)
            for _ in range(2)
        ]
        await know_each_other(first, second)
        mine, other = await first.open_polling(), await second.open_polling()
        await mine.join()
        first.io.emit("bulk", "x" * 20_000_000)
        client = await first.http()
        await client.stream.send_all(
            request(f"{PATH}?{mine.query}") + request(f"{PATH}?{other.query}", method="POST", body=b"40")
        )
        # Nothing is read yet, so most of the answer waits in the first node.
        await eventually(lambda: connections(first) == 1)
        assert len((await client.receive()).body) > 20_000_000
        assert (await client.receive()).facts == (200, "ok")
        assert passed_on(first) == 1
        assert len(second.io.sockets) == 1
        for site in (first, second):
            await site.end()


async def test_an_upgrade_at_the_wrong_node_is_the_owners(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first, second, third = await three_nodes(nursery, tmp_path / "run")
        peer = await second.open_polling()
        astray = await PollingPeer(first, peer.sid).probe()
        await astray.send("2probe")
        assert await astray.receive() == "3probe"
        await astray.send("5")
        await eventually(lambda: second.io.engine.sessions[peer.sid].transport_name == "websocket")
        for site in (first, second, third):
            await site.end()


async def test_a_sid_of_a_node_that_has_just_come_is_followed_at_once(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first = await start_node(nursery, tmp_path / "run")
        for _ in range(3):
            second = await start_node(nursery, tmp_path / "run")
            peer = await second.open_polling()
            assert (await PollingPeer(first, peer.sid).post(b"40")).facts == (200, "ok")
            await ended(second)
        await first.end()


async def test_a_sid_of_a_node_that_is_gone_is_unknown(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first, second, third = await three_nodes(nursery, tmp_path / "run")
        peer = await third.open_polling()
        await ended(third)
        astray = PollingPeer(first, peer.sid)
        assert (await astray.get()).facts == UNKNOWN_SID
        # The next node in that slot is another incarnation.
        again = await start_node(nursery, tmp_path / "run")
        await know_each_other(first, second, again)
        assert (await astray.get()).facts == UNKNOWN_SID
        assert (await PollingPeer(again, peer.sid).get()).facts == UNKNOWN_SID
        assert passed_on(first) == 0
        for site in (first, second, again):
            await site.end()


async def test_a_sid_under_another_secret_is_followed_nowhere(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first = await start_node(nursery, tmp_path / "run")
        other = await start_node(nursery, tmp_path / "run", secret="the secret of somebody else")
        await know_each_other(first, other)
        peer = await other.open_polling()
        assert (await PollingPeer(first, peer.sid).get()).facts == UNKNOWN_SID
        assert passed_on(first) == 0
        for site in (first, other):
            await site.end()


async def test_a_secret_is_replaced_node_by_node(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        old = await start_node(nursery, tmp_path / "run", secret="the old secret of all")
        new = await start_node(nursery, tmp_path / "run", secret="the new secret of all, the old secret of all")
        await know_each_other(old, new)
        peer = await old.open_polling()
        assert (await PollingPeer(new, peer.sid).post(b"40")).facts == (200, "ok")
        for site in (old, new):
            await site.end()


async def test_a_connection_that_has_been_passed_on_often_enough_stays(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first, second, third = await three_nodes(nursery, tmp_path / "run")
        peer = await second.open_polling()
        async with Caller(tmp_path / "run", 0) as proxy:
            for hops, expected in ((2, (200, "ok")), (3, UNKNOWN_SID)):
                client, accepted = await tcp_pair()
                astray = request(f"{PATH}?{peer.query}", method="POST", body=b"40")
                await proxy.pass_connection(accepted, astray, hops=hops)
                assert (await client.receive()).facts == expected
                await client.stream.aclose()
        for site in (first, second, third):
            await site.end()


async def test_what_was_told_of_a_client_goes_on_with_its_connection(tmp_path: Path) -> None:
    record = Record()
    async with trio.open_nursery() as nursery:
        first, second, third = await three_nodes(nursery, tmp_path / "run")

        @second.io.of("/").on_connect
        def seen(socket: Socket) -> None:
            record.add((socket.handshake.address, socket.handshake.secure))

        first.io.engine.accepting = False
        async with Caller(tmp_path / "run", 0) as proxy:
            client, accepted = await tcp_pair()
            await third.end()
            await eventually(lambda: len(neighbours(first)) == 1)
            await proxy.pass_connection(accepted, request(f"{PATH}?{POLLING}"), peer="203.0.113.7:9", secure=True)
            sid = sid_of((await client.receive()).text)
            assert sid in second.io.engine.sessions
            await client.request("POST", f"{PATH}?{POLLING}&sid={sid}", b"40")
            assert await record.next() == ("203.0.113.7", True)
            await client.stream.aclose()
        for site in (first, second):
            await site.end()


def neighbours(site: Site) -> tuple[object, ...]:
    cluster = site.io.statistics().cluster
    assert cluster is not None
    return cluster.neighbours


async def test_a_handshake_at_a_node_that_drains_goes_to_one_that_does_not(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first, second = [await start_node(nursery, tmp_path / "run", drain_timeout=5.0) for _ in range(2)]
        await know_each_other(first, second)
        client = await first.http()
        sid = sid_of((await client.request("GET", f"{PATH}?{POLLING}")).text)
        assert sid in first.io.engine.sessions
        await client.send("GET", f"{PATH}?{POLLING}&sid={sid}")
        await eventually(lambda: first.io.engine.sessions[sid].transport.writable)
        first.io.stop()
        assert (await client.receive()).facts == (200, "1")
        # What a client does then, on the connection that it has.
        again = sid_of((await client.request("GET", f"{PATH}?{POLLING}")).text)
        assert again in second.io.engine.sessions
        await eventually(lambda: not first.io.running)
        assert (await client.request("POST", f"{PATH}?{POLLING}&sid={again}", b"40")).facts == (200, "ok")
        for site in (first, second):
            await site.end()


async def test_without_another_node_a_handshake_during_a_drain_is_refused(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", drain_timeout=5.0)
        await site.open_polling()
        site.io.stop()
        await eventually(lambda: not site.io.ready)
        assert (await site.get(POLLING)).status == 503
        await site.end()


async def test_every_node_gives_back_what_it_has_used(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first, second, third = await three_nodes(nursery, tmp_path / "run")
        peer = await second.open_polling()
        await peer.join()
        for _ in range(20):
            client = await first.http()
            assert (await client.request("POST", f"{PATH}?{peer.query}", b'42["x"]')).status == 200
            await client.stream.aclose()
        assert passed_on(first) == 20
        await eventually(lambda: connections(first) == connections(second) == 0)
        for site in (first, second, third):
            await site.end()


async def test_a_node_that_takes_nothing_is_given_up_after_a_second(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first = await start_node(nursery, tmp_path / "run")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asleep:
            asleep.bind(str(tmp_path / "run" / "node-1.sock"))
            asleep.listen()
            sid = SidCodec([SECRET]).mint(Owner(1, 0), bytes(12))
            clients = [await first.http() for _ in range(400)]
            for client in clients:
                await client.send("GET", f"{PATH}?{POLLING}&sid={sid}")
            # The first ones are in the kernel's queue, and the other node's.
            refused = await clients[-1].receive()
            assert refused.status == 503
            assert refused.header("retry-after") == "1"
            assert 0 < passed_on(first) <= 400
        # It is gone, and with it what was in its queue.
        await hung_up(clients[0])
        await first.end()


async def test_what_waits_for_a_node_that_dies_is_answered_here(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first = await start_node(nursery, tmp_path / "run")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asleep:
            asleep.bind(str(tmp_path / "run" / "node-1.sock"))
            asleep.listen()
            sid = SidCodec([SECRET]).mint(Owner(1, 0), bytes(12))
            clients = [await first.http() for _ in range(400)]
            for client in clients:
                await client.send("GET", f"{PATH}?{POLLING}&sid={sid}")
            await eventually(lambda: passed_on(first) == 400)
        assert (await clients[-1].receive()).facts == UNKNOWN_SID
        await first.end()


async def test_what_waits_for_a_node_does_not_outlive_this_one(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first = await start_node(nursery, tmp_path / "run", shutdown_timeout=0.05)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asleep:
            asleep.bind(str(tmp_path / "run" / "node-1.sock"))
            asleep.listen()
            sid = SidCodec([SECRET]).mint(Owner(1, 0), bytes(12))
            clients = [await first.http() for _ in range(400)]
            for client in clients:
                await client.send("GET", f"{PATH}?{POLLING}&sid={sid}")
            await eventually(lambda: passed_on(first) == 400)
            first.io.stop()
            await hung_up(clients[-1])
            await first.gone.wait()
        await first.end()
