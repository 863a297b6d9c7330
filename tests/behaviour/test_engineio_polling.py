from __future__ import annotations

import gzip

import pytest

from rtserver import Server, Socket
from tests.behaviour.support import PATH, HttpClient, PollingPeer, Record, Serve, Site

BAD_REQUEST = (400, '{"code":3,"message":"Bad request"}')
UNKNOWN_SID = (400, '{"code":1,"message":"Session ID unknown"}')


def recorded(record: Record, **options: int) -> Server:
    """A server whose handlers note the end of every socket."""
    io = Server(**options)  # type: ignore[arg-type]

    @io.on("echo")
    def echo(socket: Socket, *args: object) -> None:
        socket.emit("echo", *args)

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    return io


async def joined(site: Site) -> PollingPeer:
    peer = await site.open_polling()
    await peer.join()
    return peer


async def test_a_post_is_answered_ok(serve: Serve) -> None:
    site = await serve(Server())
    peer = await site.open_polling()
    answer = await peer.post(b"40")
    assert answer.facts == (200, "ok")
    assert answer.headers == (("content-type", "text/html"), ("cache-control", "no-store"))


@pytest.mark.parametrize(
    "content_type", ["text/plain;charset=UTF-8", "text/plain", "application/x-www-form-urlencoded"]
)
async def test_text_is_accepted_as_text(serve: Serve, content_type: str) -> None:
    site = await serve(Server())
    peer = await site.open_polling()
    assert (await peer.post(b"40", headers=[("Content-Type", content_type)])).facts == (200, "ok")


async def test_packets_are_joined_by_a_record_separator_both_ways(serve: Serve) -> None:
    site = await serve(recorded(Record()))
    peer = await site.open_polling()
    assert (await peer.post('40\x1e42["echo",1]\x1e42["echo","\u00fc"]'.encode())).facts == (200, "ok")
    answer = await peer.get()
    connected, *echoes = answer.text.split("\x1e")
    assert connected.startswith('40{"sid":"')
    assert echoes == ['42["echo",1]', '42["echo","\u00fc"]']
    assert answer.headers == (("content-type", "text/plain; charset=UTF-8"), ("cache-control", "no-store"))


async def test_binary_is_a_b_and_base64_both_ways(serve: Serve) -> None:
    site = await serve(recorded(Record()))
    peer = await joined(site)
    assert (await peer.post(b'451-["echo",{"_placeholder":true,"num":0}]\x1ebAQID/w==')).facts == (200, "ok")
    assert (await peer.get()).text == '451-["echo",{"_placeholder":true,"num":0}]\x1ebAQID/w=='


async def test_a_waiting_poll_is_answered_as_soon_as_there_is_something(serve: Serve) -> None:
    site = await serve(recorded(Record()))
    peer = await joined(site)
    waiting = await peer.pending_get()
    await peer.post(b'42["echo",1]')
    assert (await waiting.receive()).facts == (200, '42["echo",1]')


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_post_that_is_too_large_is_413(serve: Serve, chunked: bool) -> None:
    site = await serve(recorded(Record(), max_http_buffer_size=100))
    peer = await site.open_polling()
    assert (await peer.post(b"4" + b"x" * 99)).facts == (200, "ok")
    peer = await site.open_polling()
    if chunked:
        client = await site.http()
        head = f"POST {PATH}?{peer.query} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.stream.send_all(head.encode() + b"65\r\n4" + b"x" * 100 + b"\r\n0\r\n\r\n")
        assert (await client.receive()).status == 413
    else:
        assert (await peer.post(b"4" + b"x" * 100)).status == 413
    await peer.join()


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_a_post_is_refused_for_the_size_that_it_announces(serve: Serve) -> None:
    site = await serve(Server())
    peer = await site.open_polling()
    client = await site.http()
    head = f"POST {PATH}?{peer.query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000001\r\n\r\n"
    await client.stream.send_all(head.encode())
    assert (await client.receive()).status == 413
    await client.ended()


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/json", "multipart/form-data"])
async def test_another_content_type_is_refused_and_ends_the_session(serve: Serve, content_type: str) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await joined(site)
    assert (await peer.post(b'42["echo"]', headers=[("Content-Type", content_type)])).facts == BAD_REQUEST
    assert await record.next() == "transport error"
    assert (await peer.get()).facts == UNKNOWN_SID


@pytest.mark.parametrize(
    "body",
    [
        b"abc",
        b"9",
        b"",
        b"42[\x1e",
        b"\x1e42[]",
        b"bAQID/w=",
        b"bAQ ID/w==",
        b"b!!!!",
        "\u0664".encode(),
        b"4\xff",
        b"40\x1e7",
    ],
)
async def test_a_body_that_cannot_be_decoded_is_refused_and_ends_the_session(serve: Serve, body: bytes) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await joined(site)
    assert (await peer.post(body)).facts == BAD_REQUEST
    assert await record.next() == "parse error"
    assert (await peer.get()).status == 400


async def test_a_body_of_too_many_packets_is_refused_whole(serve: Serve) -> None:
    record = Record()
    site = await serve(recorded(record, max_packets_per_payload=3))
    peer = await joined(site)
    await peer.send('42["echo",1]', '42["echo",2]', '42["echo",3]')
    assert [await peer.receive() for _ in range(3)] == ['42["echo",1]', '42["echo",2]', '42["echo",3]']
    assert (await peer.post(b"\x1e".join([b'42["echo",4]'] * 4))).facts == BAD_REQUEST
    assert await record.next() == "parse error"


async def test_a_second_poll_while_one_waits_ends_the_session(serve: Serve) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await joined(site)
    first = await peer.pending_get()
    assert (await peer.get()).facts == BAD_REQUEST
    assert (await first.receive()).facts == (200, "1")
    assert await record.next() == "transport error"
    assert (await peer.get()).facts == UNKNOWN_SID


async def test_a_poll_that_the_client_aborts_ends_the_session(serve: Serve) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await joined(site)
    waiting = await peer.pending_get()
    await waiting.stream.aclose()
    assert await record.next() == "transport error"
    assert (await peer.get()).facts == UNKNOWN_SID


async def test_a_close_packet_releases_the_poll_and_ends_the_session(serve: Serve) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await joined(site)
    waiting = await peer.pending_get()
    assert (await peer.post(b"1")).facts == (200, "ok")
    assert (await waiting.receive()).facts == (200, "6")
    assert await record.next() == "transport close"
    assert (await peer.get()).facts == UNKNOWN_SID
    assert (await peer.post(b"40")).facts == UNKNOWN_SID


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_in_a_session_are_refused_and_leave_it_alone(serve: Serve, method: str) -> None:
    site = await serve(Server())
    peer = await site.open_polling()
    assert (await site.request(method, f"{PATH}?{peer.query}")).facts == BAD_REQUEST
    await peer.join()


async def test_a_poll_of_a_session_on_websocket_is_refused(serve: Serve) -> None:
    site = await serve(Server())
    for peer in (await site.open_websocket(), await site.open_upgraded()):
        await peer.join()
        query = f"EIO=4&transport=polling&sid={peer.sid}"
        assert (await site.get(query)).facts == BAD_REQUEST
        assert (await site.post(query, b'42["a"]')).facts == BAD_REQUEST


async def test_a_websocket_request_without_an_upgrade_is_refused_and_leaves_the_session_alone(serve: Serve) -> None:
    site = await serve(Server())
    peer = await site.open_polling()
    assert (await site.get(f"EIO=4&transport=websocket&sid={peer.sid}")).facts == BAD_REQUEST
    await peer.join()


# Compression.


async def large_answer(
    site: Site, peer: PollingPeer, accepted: str | None, size: int = 2_000
) -> tuple[bytes, str | None]:
    packet = '42["echo","' + "x" * (size - len('42["echo",""]')) + '"]'
    await peer.post(packet.encode())
    answer = await peer.get(headers=[] if accepted is None else [("Accept-Encoding", accepted)])
    assert answer.status == 200
    coding = answer.header("content-encoding")
    body = gzip.decompress(answer.body) if coding == "gzip" else answer.body
    assert body == packet.encode()
    return answer.body, coding


@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br", "deflate, GZIP;q=0.5", "*"])
async def test_a_large_poll_is_compressed_for_a_client_that_accepts_it(serve: Serve, accepted: str) -> None:
    site = await serve(recorded(Record()))
    body, coding = await large_answer(site, await joined(site), accepted)
    assert coding == "gzip"
    assert len(body) < 200


@pytest.mark.parametrize("accepted", [None, "deflate, br", "gzip;q=0", "identity"])
async def test_a_large_poll_is_left_alone_for_a_client_that_does_not(serve: Serve, accepted: str | None) -> None:
    site = await serve(recorded(Record()))
    _, coding = await large_answer(site, await joined(site), accepted)
    assert coding is None


@pytest.mark.parametrize(("size", "coding"), [(1_023, None), (1_024, "gzip")])
async def test_compression_begins_at_1024_bytes(serve: Serve, size: int, coding: str | None) -> None:
    site = await serve(recorded(Record()))
    assert (await large_answer(site, await joined(site), "gzip", size))[1] == coding


async def test_compression_can_be_switched_off(serve: Serve) -> None:
    site = await serve(recorded(Record(), http_compression=False))
    assert (await large_answer(site, await joined(site), "gzip"))[1] is None


async def test_requests_of_a_session_may_share_a_connection(serve: Serve) -> None:
    site = await serve(recorded(Record()))
    client: HttpClient = await site.http()
    opened = await client.request("GET", f"{PATH}?EIO=4&transport=polling")
    target = f"{PATH}?EIO=4&transport=polling&sid={opened.text.split(chr(34))[3]}"
    assert (await client.request("POST", target, b"40")).facts == (200, "ok")
    assert (await client.request("GET", target)).text.startswith('40{"sid"')
    assert (await client.request("POST", target, b'42["echo",1]')).facts == (200, "ok")
    assert (await client.request("GET", target)).facts == (200, '42["echo",1]')
