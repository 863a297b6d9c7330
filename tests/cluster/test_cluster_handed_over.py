"""Connections that somebody else has accepted, and what is said on a node's Unix socket."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
import trio
import trio.testing

from rtserver import Server, Socket
from tests.behaviour.support import KEY, PATH, RawWebSocket, Record, sid_of
from tests.cluster.support import (
    POLLING,
    UNKNOWN_SID,
    Caller,
    connection,
    connections,
    descriptors,
    eventually,
    failures,
    hung_up,
    request,
    start_node,
    tcp_pair,
)

HANDSHAKE = request(f"{PATH}?{POLLING}")


async def test_a_node_goes_on_with_a_connection_as_if_it_had_accepted_it(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with Caller(tmp_path / "run", 0) as proxy:
            client, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, HANDSHAKE)
            opened = await client.receive()
            query = f"{POLLING}&sid={sid_of(opened.text)}"
            assert (await client.request("POST", f"{PATH}?{query}", b"40")).facts == (200, "ok")
            assert (await client.request("GET", f"{PATH}?{query}")).text.startswith('40{"sid":')
            await client.stream.aclose()
        await site.end()


async def test_what_comes_with_a_connection_is_answered_though_nothing_else_happens(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with Caller(tmp_path / "run", 0) as proxy:
            poller, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, HANDSHAKE)
            target = f"{PATH}?{POLLING}&sid={sid_of((await poller.receive()).text)}"
            await poller.send("GET", target)
            await trio.testing.wait_all_tasks_blocked(0.05)
            client, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, request(target, method="POST", body=b"40"))
            # The answer to the poll is made after that to the POST, and no other event wakes the node for it.
            with trio.fail_after(0.9):
                assert (await poller.receive()).text.startswith('40{"sid":')
                assert (await client.receive()).facts == (200, "ok")
            await client.stream.aclose()
            await poller.stream.aclose()
        await site.end()


async def test_a_websocket_is_handed_over_in_the_middle_of_its_head(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        asked = ["Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
        head = request(f"{PATH}?EIO=4&transport=websocket", *asked)
        async with Caller(tmp_path / "run", 0) as proxy:
            client, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, head[:50])
            await client.stream.send_all(head[50:])
            answer = await client.receive()
            assert answer.status == 101
            websocket = RawWebSocket(client.stream, answer, client.received)
            assert str(await websocket.receive()).startswith('0{"sid":')
            await websocket.send("40")
            assert str(await websocket.receive()).startswith('40{"sid":')
            await client.stream.aclose()
        await site.end()


async def test_a_connection_for_the_application_reaches_it(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with Caller(tmp_path / "run", 0) as proxy:
            client, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, request("/readyz"))
            answer = await client.receive()
            assert answer.facts == (200, '{"status":"ready"}\n')
            # The next request on it might be for a session of another node.
            assert answer.header("connection") == "close"
            await hung_up(client)
        await site.end()


async def test_the_clients_address_is_the_real_one_or_what_the_proxy_was_told(tmp_path: Path) -> None:
    record = Record()

    def note(io: Server) -> None:
        @io.on_connect
        def seen(socket: Socket) -> None:
            record.add((socket.handshake.address, socket.handshake.secure))

    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        note(site.io)
        async with Caller(tmp_path / "run", 0) as proxy:
            for metadata, expected in (
                ({}, ("127.0.0.1", False)),
                ({"peer": "203.0.113.7:5123", "secure": True}, ("203.0.113.7", True)),
                ({"peer": "[2001:db8::7]:5123"}, ("2001:db8::7", False)),
            ):
                client, accepted = await tcp_pair()
                await proxy.pass_connection(accepted, HANDSHAKE, **metadata)
                sid = sid_of((await client.receive()).text)
                await client.request("POST", f"{PATH}?{POLLING}&sid={sid}", b"40")
                assert await record.next() == expected
                await client.stream.aclose()
        await site.end()


async def test_a_full_node_turns_passed_connections_away_and_says_that_it_is_full(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", max_connections=10)
        async with Caller(tmp_path / "run", 0) as proxy:
            assert (await proxy.state())["state"] == "ready"
            clients = []
            for count in range(10):
                client, accepted = await tcp_pair()
                await proxy.pass_connection(accepted, HANDSHAKE)
                assert (await client.receive()).status == 200
                clients.append(client)
                if count == 8:
                    await proxy.state_that(lambda state: state["state"] == "full")
            client, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, HANDSHAKE)
            refused = await client.receive()
            assert refused.status == 503
            assert refused.header("retry-after") == "1"
            await hung_up(client)
            for client in clients:
                await client.stream.aclose()
            await proxy.state_that(lambda state: state["state"] == "ready")
        await site.end()


async def test_a_state_is_told_at_once_and_again_and_again(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with Caller(tmp_path / "run", 0) as proxy:
            first = await proxy.state()
            assert first["slot"] == 0
            assert first["state"] == "ready"
            assert first["sessions"] == 0
            assert first["pid"] == os.getpid()
            assert first["address"].startswith("127.0.0.1:")
            await site.open_polling()
            later = await proxy.state_that(lambda state: state["sessions"] == 1)
            assert later["incarnation"] == first["incarnation"]
            assert 0 <= later["load"] <= 1
        await site.end()


async def test_the_end_of_a_node_is_seen_at_once(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with Caller(tmp_path / "run", 0) as proxy:
            await site.end()
            while wire := await proxy.datagram():
                assert wire[:1] == b"S"
    assert not (tmp_path / "run" / "node-0.sock").exists()


@pytest.mark.parametrize(
    "wire",
    [
        b"X",
        b"C",
        b"C\x00\x05{}",
        connection(hops=4),
        connection(hops=-1),
        connection(peer="nowhere"),
        connection(peer="a:1\r\nX-Evil: 1"),
        b'S{"slot":0,"incarnation":0,"state":"ready","sessions":0,"load":0,"address":null,"pid":1}',
        b"D",
    ],
)
async def test_a_connection_with_a_message_that_is_none_is_closed_and_the_caller_goes_on(
    tmp_path: Path, wire: bytes
) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with Caller(tmp_path / "run", 0) as proxy:
            client, accepted = await tcp_pair()
            await proxy.say(wire, accepted)
            accepted.close()
            await hung_up(client)
            client, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, HANDSHAKE)
            assert (await client.receive()).status == 200
            await client.stream.aclose()
        assert site.io.ready
        await site.end()


async def test_descriptors_that_are_not_one_connection_are_closed(tmp_path: Path) -> None:
    with Path("/dev/null").open("rb") as no_socket:  # noqa: ASYNC230 - does not block
        await descriptors_are_closed(tmp_path, no_socket)


async def descriptors_are_closed(tmp_path: Path, no_socket: BinaryIO) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with Caller(tmp_path / "run", 0) as proxy:
            await proxy.state()
            before = descriptors()
            pairs = [await tcp_pair() for _ in range(3)]
            await proxy.say(connection(HANDSHAKE), *(accepted for _, accepted in pairs[:2]))
            await proxy.say(connection(HANDSHAKE))
            await proxy.say(connection(HANDSHAKE), no_socket)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
                await proxy.say(connection(HANDSHAKE), datagrams)
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                await proxy.say(connection(HANDSHAKE), listener)
            for client, accepted in pairs:
                accepted.close()
                await client.stream.aclose()
            client, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, HANDSHAKE)
            assert (await client.receive()).status == 200
            await client.stream.aclose()
            await eventually(lambda: connections(site) == 0 and descriptors() == before)
        await site.end()


async def test_a_connection_that_the_kernel_drops_for_want_of_descriptors_is_the_only_loss(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", max_connections=100)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with Caller(tmp_path / "run", 0) as proxy:
            client, accepted = await tcp_pair()
            held: list[int] = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
            try:
                with contextlib.suppress(OSError):
                    while True:
                        held.append(os.dup(accepted.fileno()))
                await proxy.say(connection(HANDSHAKE), accepted)
                await eventually(lambda: failures(site) == 1)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for fd in held:
                    os.close(fd)
            accepted.close()
            await hung_up(client)
            client, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, HANDSHAKE)
            assert (await client.receive()).status == 200
            await client.stream.aclose()
        await site.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_somebody_elses_process_is_hung_up_on(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    stranger = f"""
import os, socket
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.chdir({str(run_dir)!r})
os.setuid(65534)
sock.connect("node-0.sock")
print(sock.recv(1000))
"""
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, run_dir)
        # The directory would keep it out already.
        run_dir.chmod(0o711)
        (run_dir / "node-0.sock").chmod(0o777)
        ran = await trio.run_process([sys.executable, "-c", stranger], capture_stdout=True, capture_stderr=True)
        assert ran.stdout.strip() == b"b''"
        await site.end()


async def test_a_client_that_leaves_on_the_way_costs_nothing(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with Caller(tmp_path / "run", 0) as proxy:
            client, accepted = await tcp_pair()
            client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await client.stream.aclose()
            await proxy.pass_connection(accepted, HANDSHAKE)
            client, accepted = await tcp_pair()
            await proxy.pass_connection(accepted, HANDSHAKE)
            assert (await client.receive()).status == 200
            await client.stream.aclose()
            await eventually(lambda: connections(site) == 0)
        await site.end()


async def test_a_forged_sid_gets_the_usual_answer(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        peer = await site.open_polling()
        for sid in (peer.sid[:-2] + "AA", "A" * 34, "", "__proto__", "x" * 5_000):
            assert (await site.get(f"{POLLING}&sid={sid}")).facts == UNKNOWN_SID
        await site.end()


def test_a_node_that_is_killed_leaves_its_slot_to_the_next_one(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from rtserver.cli import main; main()", "serve", "--port", "0"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RTSERVER_")},
        "RTSERVER_SECRET": "a secret of the tests",
        "RTSERVER_RUN_DIR": str(tmp_path / "run"),
    }
    incarnations = []
    for ending in (signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("rtserver node 0 listening")
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
                caller.connect(str(tmp_path / "run" / "node-0.sock"))
                assert b'"slot":0' in caller.recv(1_000)
            incarnations.append(int((tmp_path / "run" / "slot-0.lock").read_text()))
            process.send_signal(ending)
            process.wait(10)
    assert incarnations[1] == (incarnations[0] + 1) % 65_536
