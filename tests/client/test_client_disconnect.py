from __future__ import annotations

from typing import Any

import pytest
import trio

from rtserver.client import Reconnection, open_client, open_socket
from rtserver.errors import Disconnected, LimitExceeded
from tests.client.conftest import Reference, StartReference

AT_ONCE = Reconnection(delay=0.05, max_delay=0.05, jitter=0)


async def test_a_kicked_socket_is_closed_and_the_connection_stays(reference: Reference, transports: Any) -> None:
    reasons: list[str] = []
    async with open_client(reference.url, transports=transports) as client:
        socket, chat = await client.connect(), await client.connect("/chat")
        socket.on("disconnect", reasons.append)
        socket.emit("kick")
        assert await socket.wait_closed() == "io server disconnect"
        assert (socket.active, reasons) == (False, ["io server disconnect"])
        assert await chat.call("echo", 1) == 1
        assert (await client.connect()).connected


async def test_a_client_that_is_thrown_out_is_closed(reference: Reference, transports: Any) -> None:
    async with open_client(reference.url, transports=transports) as client:
        socket = await client.connect()
        socket.emit("kick out")
        assert await socket.wait_closed() == "io server disconnect"
        assert await client.wait_closed() in ("transport close", "transport error")


@pytest.mark.parametrize(
    ("event", "reason"), [("hang up", "transport close"), ("cut", "transport close"), ("garbage", "parse error")]
)
async def test_without_reconnection_a_lost_connection_is_the_end(reference: Reference, event: str, reason: str) -> None:
    async with open_client(reference.url, transports=["websocket"], reconnection=None) as client:
        socket = await client.connect()
        socket.emit(event)
        with pytest.raises(Disconnected):
            await socket.call("silence")
        assert await socket.wait_closed() == await client.wait_closed() == reason
        assert not client.connected
        with pytest.raises(Disconnected, match=reason):
            await client.connect("/chat")


async def test_a_polling_connection_that_the_server_ends_is_closed(reference: Reference) -> None:
    async with open_socket(reference.url, transports=["polling"], reconnection=None) as socket:
        socket.emit("hang up")
        assert await socket.wait_closed() == "transport close"


async def test_a_killed_server_is_noticed(start_reference: StartReference, transports: Any) -> None:
    server = start_reference()
    async with open_client(server.url, transports=transports, reconnection=None) as client:
        socket = await client.connect()
        if "websocket" in transports:
            await client.wait_upgraded()
        server.kill()
        expected = "transport close" if "websocket" in transports else "transport error"
        assert await socket.wait_closed() == expected


async def test_heartbeats_keep_a_connection(start_reference: StartReference, transports: Any) -> None:
    # The next ping comes only after the answer to the one before.
    server = start_reference(pingInterval=50, pingTimeout=20_000)
    async with open_socket(server.url, transports=transports, reconnection=None) as socket:
        with trio.fail_after(20):
            assert await socket.call("heartbeats", 3) == 3
        assert socket.connected


async def test_a_silent_server_is_a_ping_timeout() -> None:
    async def answer_once(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            body = b'0{"sid":"s","upgrades":[],"pingInterval":10,"pingTimeout":10}'
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, answer_once, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        with trio.fail_after(5):
            async with open_client(url, reconnection=None, close_timeout=0.01) as client:
                assert await client.wait_closed() == "ping timeout"
        nursery.cancel_scope.cancel()


async def test_the_server_is_told_when_the_client_leaves(reference: Reference, transports: Any) -> None:
    async with open_socket(reference.url) as witness:
        async with open_client(reference.url, transports=transports) as client:
            await client.connect()
        assert await witness.receive("left") == "client namespace disconnect"


async def test_what_was_emitted_last_still_leaves(reference: Reference, transports: Any) -> None:
    async with open_socket(reference.url) as witness:
        async with open_socket(reference.url, transports=transports) as socket:
            socket.emit("say", "goodbye")
        while (heard := await witness.receive("heard"))[1:] != ['2["say","goodbye"]', "1"]:
            assert "goodbye" not in str(heard)


async def test_a_lost_connection_is_made_anew(reference: Reference, transports: Any) -> None:
    story: list[str] = []
    back = trio.Event()
    async with open_client(reference.url, transports=transports, reconnection=AT_ONCE) as client:
        socket = await client.connect("/chat", auth={"token": 1})
        first = socket.id

        @socket.on("disconnect")
        def gone(reason: str) -> None:
            story.append(reason)
            if socket.active:
                socket.emit("echo", "kept")

        @socket.on("connect")
        def returned() -> None:
            story.append("connect")
            back.set()

        socket.emit("hang up")
        await back.wait()
        assert (socket.connected, socket.reason) == (True, None)
        assert socket.id not in (None, first)
        assert await socket.receive("echoed") == "kept"
        assert (await socket.call("handshake"))["auth"] == {"token": 1}
        assert story[1:] == ["connect"]


async def test_a_client_finds_its_restarted_server(start_reference: StartReference, transports: Any) -> None:
    server = start_reference()
    async with open_client(server.url, transports=transports, reconnection=AT_ONCE) as client:
        socket, chat = await client.connect(), await client.connect("/chat")
        lost = trio.Event()
        socket.on("disconnect", lost.set)
        server.kill()
        await lost.wait()
        assert (socket.connected, socket.active) == (False, True)
        start_reference(port=server.port)
        assert await socket.call("echo", "back") == "back"
        assert await chat.call("echo", "back") == "back"


async def test_what_is_said_while_away_is_kept_up_to_a_bound(start_reference: StartReference) -> None:
    server = start_reference()
    gone = trio.Event()
    async with open_socket(server.url, reconnection=AT_ONCE, max_queue_packets=2) as socket:
        socket.on("disconnect", gone.set)
        server.kill()
        await gone.wait()
        with trio.move_on_after(0.01):
            await socket.call("echo", "given up, so not asked")
        socket.emit("echo", 1)
        socket.emit("echo", 2)
        with pytest.raises(LimitExceeded):
            socket.emit("echo", 3)
        start_reference(port=server.port)
        assert [await socket.receive("echoed") for _ in range(2)] == [1, 2]


async def test_waiting_for_an_upgrade_ends_with_the_connection(start_reference: StartReference) -> None:
    server = start_reference(allowUpgrades=False)
    async with open_client(server.url, reconnection=None) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.wait_closed)
        server.kill()
        with pytest.raises(Disconnected):
            await client.wait_upgraded()
    with pytest.raises(Disconnected):
        await client.wait_upgraded()


async def test_reconnection_gives_up(start_reference: StartReference) -> None:
    server = start_reference()
    policy = Reconnection(attempts=2, delay=0, max_delay=0)
    async with open_client(server.url, reconnection=policy) as client:
        socket = await client.connect()
        server.kill()
        assert await client.wait_closed() in ("transport close", "transport error")
        assert await socket.wait_closed() == client.reason


async def test_a_namespace_that_refuses_the_second_time_is_closed(reference: Reference) -> None:
    tokens = iter(["secret", "expired"])
    errors: list[Exception] = []
    async with open_client(reference.url, reconnection=AT_ONCE) as client:
        private = await client.connect("/private", auth=lambda: {"token": next(tokens)})
        private.on("connect_error", errors.append)
        private.emit("hang up")
        await private.wait_closed()
        with pytest.raises(Disconnected, match="wrong token"):
            await private.receive("anything")
    assert [str(error) for error in errors] == ["wrong token"]


async def test_a_session_is_recovered_with_what_it_missed(start_reference: StartReference) -> None:
    server = start_reference(connectionStateRecovery={})
    async with open_socket(server.url) as other, open_client(server.url, reconnection=AT_ONCE) as client:
        socket = await client.connect()
        first = socket.id
        await client.wait_upgraded()
        other.emit("say", "one")
        assert (await socket.next_event("said")).args[0] == "one"
        gone, back = trio.Event(), trio.Event()
        socket.on("disconnect", gone.set)
        socket.on("connect", back.set)
        socket.emit("cut")
        await gone.wait()
        other.emit("say", "two")
        await back.wait()
        assert (socket.id, socket.recovered) == (first, True)
        assert (await socket.next_event("said")).args[0] == "two"
