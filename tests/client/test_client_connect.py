from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from rtserver.client import ConnectError, Reconnection, open_client, open_socket
from rtserver.errors import ConfigurationError, Disconnected
from tests.client.conftest import Reference, StartReference


async def test_the_main_namespace_is_joined_over_every_transport(reference: Reference, transports: Any) -> None:
    async with open_client(reference.url, transports=transports) as client:
        socket = await client.connect()
        if "websocket" in transports:
            await client.wait_upgraded()
        assert (client.connected, client.transport, socket.transport) == (True, transports[-1], transports[-1])
        assert await socket.call("transport") == transports[-1]
        assert await socket.receive("welcome") == socket.id
        assert client.sid not in (None, socket.id)


async def test_without_upgrade_polling_remains(reference: Reference) -> None:
    async with open_client(reference.url, upgrade=False) as client:
        socket = await client.connect()
        assert await socket.call("transport") == "polling"


async def test_namespaces_share_a_connection(reference: Reference) -> None:
    async with open_client(reference.url) as client, client.namespace("/chat") as chat, client.namespace() as main:
        assert chat.id != main.id
        assert await chat.call("echo", "chat") == "chat"
        assert await main.call("echo", "main") == "main"


async def test_a_socket_is_opened_by_its_url(reference: Reference) -> None:
    async with open_socket(reference.url + "/chat", transports=["websocket"]) as chat:
        assert (chat.namespace, chat.connected) == ("/chat", True)


async def test_an_unknown_namespace_is_refused_and_the_connection_stays(reference: Reference) -> None:
    async with open_client(reference.url) as client:
        with pytest.raises(ConnectError) as refusal:
            await client.connect("/nowhere")
        assert (refusal.value.message, refusal.value.data) == ("Invalid namespace", None)
        assert (await client.connect()).connected


async def test_a_refusal_carries_the_middlewares_data(reference: Reference) -> None:
    async with open_client(reference.url, auth={"token": "guess"}) as client:
        with pytest.raises(ConnectError) as refusal:
            await client.connect("/private")
        assert (refusal.value.message, refusal.value.data) == ("wrong token", {"token": "guess"})
        assert (await client.connect("/private", auth={"token": "secret"})).connected


async def test_auth_may_be_a_plain_or_an_async_function(reference: Reference) -> None:
    async def ask() -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"token": "secret", "way": "async"}

    async with open_client(reference.url) as client:
        private = await client.connect("/private", auth=ask)
        assert (await private.call("handshake"))["auth"] == {"token": "secret", "way": "async"}
        chat = await client.connect("/chat", auth=lambda: {"way": "plain"})
        assert (await chat.call("handshake"))["auth"] == {"way": "plain"}


async def test_events_before_the_answer_to_connect_are_kept(reference: Reference) -> None:
    async with open_socket(reference.url + "/private", auth={"token": "secret"}) as private:
        assert [(await private.next_event()).name for _ in range(2)] == ["early", "welcome"]


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_headers_and_query_reach_the_server(reference: Reference, transport: Any) -> None:
    settings: Any = {"query": {"room": "a b&c"}, "headers": {"X-Tenant": "acme"}, "transports": [transport]}
    async with open_socket(reference.url, **settings) as socket:
        handshake = await socket.call("handshake")
    assert handshake["query"]["room"] == "a b&c"
    assert handshake["headers"]["x-tenant"] == "acme"


async def test_a_server_on_a_unix_socket_is_reached(
    start_reference: StartReference, transports: Any, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    start_reference(uds=path)
    async with open_socket("http://localhost", uds=path, transports=transports) as socket:
        assert await socket.call("echo", 1) == 1


async def test_the_path_is_the_servers(start_reference: StartReference) -> None:
    server = start_reference(path="/elsewhere/")
    async with open_socket(server.url, path="/elsewhere/") as socket:
        assert socket.connected
    with pytest.raises(ConnectError) as refusal:
        async with open_socket(server.url):
            pytest.fail("there is nothing at the default path")
    assert refusal.value.data["status"] == 404


async def test_the_servers_words_for_a_refused_transport_are_passed_on(start_reference: StartReference) -> None:
    server = start_reference(transports=["polling"])
    with pytest.raises(ConnectError) as refusal:
        async with open_client(server.url, transports=["websocket"]):
            pytest.fail("the server has no WebSocket")
    assert (refusal.value.message, refusal.value.data) == ("Transport unknown", {"status": 400, "code": 0})


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_server_that_is_not_there_is_a_connect_error(unused_port: int, transport: Any) -> None:
    with pytest.raises(ConnectError):
        async with open_client(f"http://127.0.0.1:{unused_port}", transports=[transport]):
            pytest.fail("nobody listens there")


async def test_the_first_connection_can_be_tried_again_and_given_up(unused_port: int) -> None:
    policy = Reconnection(attempts=2, delay=0, max_delay=0, initially=True)
    with pytest.raises(ConnectError):
        async with open_client(f"http://127.0.0.1:{unused_port}", reconnection=policy):
            pytest.fail("nobody listens there")


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_server_that_hangs_up_instead_of_answering_is_a_connect_error(transport: Any) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, hang_up, [listener])
        port = listener.socket.getsockname()[1]
        with trio.fail_after(5), pytest.raises(ConnectError):
            async with open_client(f"http://127.0.0.1:{port}", transports=[transport]):
                pytest.fail("there was no answer")
        nursery.cancel_scope.cancel()


async def test_a_namespace_is_joined_once(reference: Reference) -> None:
    async with open_client(reference.url) as client, client.namespace("/chat"):
        with pytest.raises(ConfigurationError, match="namespace"):
            await client.connect("/chat")


async def test_a_namespace_can_be_left_and_joined_again(reference: Reference) -> None:
    async with open_client(reference.url) as client:
        main = await client.connect()
        async with client.namespace("/chat") as first:
            pass
        # The reference takes a CONNECT that comes in one batch with the DISCONNECT for a second one.
        await main.call("echo")
        async with client.namespace("/chat") as second:
            assert await second.call("echo", 1) == 1
    assert (first.connected, first.reason) == (False, "io client disconnect")


async def test_a_connect_that_was_given_up_is_left_when_it_is_answered(reference: Reference) -> None:
    async with open_client(reference.url) as client:
        main = await client.connect()
        with trio.move_on_after(0.05):
            await client.connect("/slow")
        main.emit("open the door")
        assert await main.call("echo", "still here") == "still here"


async def test_what_the_block_raises_comes_out_as_it_was(reference: Reference) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_client(reference.url):
            raise KeyError("mine")


async def test_a_closed_client_connects_no_more(reference: Reference) -> None:
    async with open_client(reference.url) as client:
        await client.close()
        with pytest.raises(Disconnected):
            await client.connect()


@pytest.mark.parametrize(
    ("url", "settings", "culprit"),
    [
        ("ftp://127.0.0.1", {}, "url"),
        ("http://127.0.0.1/chat", {}, "url"),
        ("http://127.0.0.1:port", {}, "url"),
        ("http://127.0.0.1", {"path": "socket.io"}, "path"),
        ("http://127.0.0.1", {"transports": []}, "transports"),
        ("http://127.0.0.1", {"transports": ["webtransport"]}, "transports"),
        ("https://127.0.0.1", {"uds": "/run/socket"}, "uds"),
        ("http://127.0.0.1", {"connect_timeout": 0}, "connect_timeout"),
        ("http://127.0.0.1", {"max_inbox": 0}, "max_inbox"),
    ],
)
async def test_a_bad_setting_is_named(url: str, settings: Any, culprit: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        async with open_client(url, **settings):
            pytest.fail("the setting was taken")
    assert error.value.setting == culprit
