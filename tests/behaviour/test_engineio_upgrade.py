from __future__ import annotations

import pytest
import trio.testing
from wsproto.events import TextMessage

from rtserver import Server, Socket
from tests.behaviour.support import Closed, Kind, PollingPeer, Record, Serve, WebSocketPeer, Wire

BAD_REQUEST = (400, '{"code":3,"message":"Bad request"}')


def echoing(record: Record | None = None, **options: object) -> Server:
    io = Server(**options)  # type: ignore[arg-type]

    @io.on("echo")
    def echo(socket: Socket, *args: object) -> None:
        socket.emit("echo", *args)

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        if record is not None:
            record.add(reason)

    return io


async def lives_on(peer: PollingPeer) -> None:
    await peer.send('42["echo","alive"]')
    assert await peer.receive() == '42["echo","alive"]'


async def test_a_probe_is_answered_and_the_waiting_poll_released(serve: Serve) -> None:
    site = await serve(echoing())
    peer = await site.open_polling()
    await peer.join()
    waiting = await peer.pending_get()
    websocket = await peer.probe()
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    assert (await waiting.receive()).facts == (200, "6")


async def test_a_poll_that_comes_during_the_upgrade_is_released_at_once(serve: Serve) -> None:
    site = await serve(echoing())
    peer = await site.open_polling()
    await peer.join()
    websocket = await peer.probe()
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    assert (await peer.get()).facts == (200, "6")
    assert (await peer.get()).facts == (200, "6")


async def test_after_the_upgrade_the_next_frame_is_the_next_message(serve: Serve) -> None:
    site = await serve(echoing())
    polling = await site.open_polling()
    await polling.join()
    waiting = await polling.pending_get()
    peer = await polling.upgrade()
    assert (await waiting.receive()).facts == (200, "6")
    await peer.send('42["echo",1]')
    assert await peer.receive() == '42["echo",1]'
    assert (await polling.get()).facts == BAD_REQUEST
    assert (await polling.post(b'42["echo",2]')).facts == BAD_REQUEST
    await peer.send('42["echo",3]')
    assert await peer.receive() == '42["echo",3]'


async def test_posts_are_still_taken_during_the_upgrade_and_answered_by_the_websocket(serve: Serve) -> None:
    site = await serve(echoing())
    polling = await site.open_polling()
    await polling.join()
    websocket = await polling.probe()
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    await polling.send('42["echo",1]', '42["echo",2]')
    await websocket.send("5")
    assert await websocket.receive() == '42["echo",1]'
    assert await websocket.receive() == '42["echo",2]'


async def test_what_is_queued_during_the_upgrade_may_still_be_polled(serve: Serve) -> None:
    site = await serve(echoing())
    polling = await site.open_polling()
    await polling.join()
    websocket = await polling.probe()
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    await polling.send('42["echo",1]')
    assert (await polling.get()).facts == (200, '42["echo",1]')
    await polling.send('42["echo",2]')
    await websocket.send("5")
    assert await websocket.receive() == '42["echo",2]'


async def test_a_message_may_follow_the_upgrade_in_the_same_segment(serve: Serve) -> None:
    site = await serve(echoing())
    polling = await site.open_polling()
    await polling.join()
    websocket = await polling.probe()
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    connection = websocket.connection
    together = connection.send(TextMessage(data="5")) + connection.send(TextMessage(data='42["echo",1]'))
    await websocket.stream.send_all(together)
    assert await websocket.receive() == '42["echo",1]'


async def test_a_client_may_upgrade_before_it_connects(serve: Serve) -> None:
    site = await serve(echoing())
    peer = await site.open_upgraded()
    await peer.join()


@pytest.mark.parametrize("first", ["5", "2", "2other", "3probe", '42["echo"]', "1", "6", "0", "abc", "", b"2probe"])
async def test_anything_but_a_probe_closes_the_new_websocket_and_polling_lives_on(serve: Serve, first: Wire) -> None:
    record = Record()
    site = await serve(echoing(record))
    peer = await site.open_polling()
    await peer.join()
    websocket = await peer.probe()
    await websocket.send(first)
    assert await websocket.receive() == Closed(1000)
    await lives_on(peer)
    assert record.empty


@pytest.mark.parametrize("second", ["2probe", "2", "3", '42["echo"]', "1", "6", "0", "abc", "", b"5"])
async def test_anything_but_an_upgrade_closes_the_probing_websocket_and_polling_lives_on(
    serve: Serve, second: Wire
) -> None:
    record = Record()
    site = await serve(echoing(record))
    peer = await site.open_polling()
    await peer.join()
    websocket = await peer.probe()
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    await websocket.send(second)
    assert await websocket.receive() == Closed(1000)
    await lives_on(peer)
    assert record.empty


async def test_a_probing_websocket_that_breaks_off_leaves_polling_alone(serve: Serve) -> None:
    site = await serve(echoing())
    peer = await site.open_polling()
    await peer.join()
    websocket = await peer.probe()
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    await websocket.close()
    assert await websocket.receive() == Closed(1000)
    await lives_on(peer)


async def test_after_a_failed_upgrade_another_one_succeeds(serve: Serve) -> None:
    site = await serve(echoing())
    polling = await site.open_polling()
    await polling.join()
    websocket = await polling.probe()
    await websocket.send("1")
    assert await websocket.receive() == Closed(1000)
    peer = await polling.upgrade()
    await peer.send('42["echo"]')
    assert await peer.receive() == '42["echo"]'


@pytest.mark.parametrize("probed", [False, True])
async def test_an_upgrade_that_takes_ten_seconds_is_given_up(
    serve: Serve, clock: trio.testing.MockClock, probed: bool
) -> None:
    site = await serve(echoing())
    peer = await site.open_polling()
    await peer.join()
    websocket = await peer.probe()
    if probed:
        await websocket.send("2probe")
        assert await websocket.receive() == "3probe"
    clock.jump(9)
    await lives_on(peer)
    second = await peer.probe()
    assert await second.receive() == Closed(1000)
    clock.jump(1.1)
    assert await websocket.receive() == Closed(1000)
    await lives_on(peer)


# A second WebSocket.


async def test_a_second_websocket_during_the_upgrade_is_accepted_and_closed(serve: Serve) -> None:
    site = await serve(echoing())
    polling = await site.open_polling()
    await polling.join()
    first = await polling.probe()
    await first.send("2probe")
    assert await first.receive() == "3probe"
    second = await polling.probe()
    assert second.answer.status == 101
    assert await second.receive() == Closed(1000)
    await first.send("5")
    await first.send('42["echo",1]')
    assert await first.receive() == '42["echo",1]'


@pytest.mark.parametrize("kind", ["websocket", "upgraded"], indirect=True)
async def test_a_second_websocket_after_the_upgrade_is_accepted_and_closed(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(echoing(record))
    peer = await site.open(kind)
    await peer.join()
    second = await site.upgrade(f"EIO=4&transport=websocket&sid={peer.sid}")
    assert second.answer.status == 101
    await second.send("2probe")
    assert await second.receive() == Closed(1000)
    await peer.send('42["echo",1]')
    assert await peer.receive() == '42["echo",1]'
    assert record.empty


async def test_without_upgrades_a_websocket_for_a_session_is_refused(serve: Serve) -> None:
    site = await serve(echoing(allow_upgrades=False))
    peer = await site.open_polling()
    await peer.join()
    assert (await peer.probe()).answer.facts == BAD_REQUEST
    await lives_on(peer)


# The end during an upgrade.


async def test_a_close_during_the_upgrade_reaches_the_client_with_what_was_sent_before(serve: Serve) -> None:
    record = Record()
    io = echoing(record)

    @io.on("leave")
    def leave(socket: Socket) -> None:
        socket.emit("goodbye")
        socket.disconnect(close=True)

    site = await serve(io)
    polling = await site.open_polling()
    await polling.join()
    websocket = await polling.probe()
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    await polling.send('42["leave"]')
    await websocket.send("5")
    assert await WebSocketPeer(websocket, polling.sid).rest() == ['42["goodbye"]', "41"]
    assert await record.next() == "server namespace disconnect"


async def test_a_client_that_closes_by_polling_during_the_upgrade_is_gone(serve: Serve) -> None:
    record = Record()
    site = await serve(echoing(record))
    polling = await site.open_polling()
    await polling.join()
    websocket = await polling.probe()
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    await polling.send("1")
    assert await record.next() == "transport close"
    assert await websocket.receive() == Closed(1000)
