"""The attacks whose outcome the proxy could change, by either way through it: handed over, and relayed.

Rule: a table is gone through in front of one node, for the proxy reads each row by itself; the
oracle is that of the other attacks, and what the proxy holds belongs to it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import quart
import trio
import trio.testing
from quart_trio import QuartTrio

from rtserver.protocol.websocket.frames import BINARY, PING, TEXT, client_frame
from tests.attacks import test_attacks_engineio as engineio
from tests.attacks import test_attacks_http as http
from tests.attacks import test_attacks_requests as requests
from tests.attacks import test_attacks_websocket as websocket
from tests.attacks.support import HANDSHAKE, MASK, PATIENCE, UPGRADE, Door, Target, text, under_attack

PATHS = [HANDSHAKE, "/own"]


@pytest.fixture(params=["handed", "relayed"])
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(rate=1.0)


@pytest.fixture
def app() -> QuartTrio:
    app = QuartTrio("users")

    @app.route("/own", methods=["GET", "POST"])
    async def own() -> dict[str, Any]:
        body = await quart.request.get_data()
        return {"headers": [[name.lower(), value] for name, value in quart.request.headers], "body": len(body)}

    @app.websocket("/socket")
    async def own_socket() -> None: ...

    return app


def forget_pollers(target: Target) -> None:
    """End the sessions that answers to attacks have opened; the bystanders' stay."""
    for session in list(target.io.engine.sessions.values()):
        if session.transport_name == "polling" and not session.handler.sockets:  # type: ignore[attr-defined]
            session.close(discard=True)


@pytest.mark.parametrize("path", PATHS)
async def test_a_request_that_can_be_read_in_two_ways_is_refused(door: Door, path: str, app: QuartTrio) -> None:
    async with under_attack(door=door, app=app) as target:
        for name, make, status in http.REFUSED:
            answer = await target.send(make(path))
            assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (name, answer)
            assert answer.count(b"HTTP/1.1 ") == 1, (name, answer)
        for name, headers, body in requests.AMBIGUOUS:
            answer = await target.send(requests.request(path, *headers, body=body))
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), (name, answer)
            assert answer.count(b"HTTP/1.1 ") == 1, (name, answer)
        for name, line in requests.LINES.items():
            answer = await target.send(line % path.encode())
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 ", b"HTTP/1.1 501 ")), (name, answer)


async def test_what_follows_chunks_is_a_request_of_its_own_or_nothing(door: Door) -> None:
    async with under_attack(door=door) as target:
        body = "2;ext=1\r\n40\r\n0\r\nTrailer: x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await target.send(http.request(HANDSHAKE, "Transfer-Encoding: chunked", body=body))
        first, _, second = answer.removeprefix(b"HTTP/1.1 ").partition(b"HTTP/1.1 ")
        assert first.startswith(b"400 ")
        assert b"Bad handshake method" in first
        assert second[:4] in (b"", b"404 ")


async def test_bodies_over_the_limit_are_refused_before_or_while_they_are_read(door: Door) -> None:
    async with under_attack(door=door, max_http_buffer_size=1_000, settings={"max_body": 1_000}) as target:
        for headers in ([], ["Expect: 100-continue"]):
            answer = await target.send(http.request(HANDSHAKE, "Content-Length: 1001", *headers))
            assert answer.startswith(b"HTTP/1.1 413 ")
        chunk = f"{600:x}\r\n{'a' * 600}\r\n"
        answer = await target.send(http.request(HANDSHAKE, "Transfer-Encoding: chunked", body=chunk * 2))
        assert answer.startswith(b"HTTP/1.1 413 ")
        async with target.raw() as raw:
            await raw.send(http.request(HANDSHAKE, "Transfer-Encoding: chunked"))
            with trio.fail_after(5), suppress(trio.BrokenResourceError):
                await raw.send_for_ever(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            assert b"HTTP/1.1 200" not in await raw.to_the_end()


async def test_a_client_is_told_to_go_on_once_if_it_asks(door: Door) -> None:
    async with under_attack(door=door) as target, target.raw() as raw:
        await raw.send(http.request(HANDSHAKE, "Content-Length: 2", "Expect: 100-continue"))
        assert await raw.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await raw.send(b"40")
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        gzipped = ("Content-Encoding: gzip", "Connection: close")
        answer = await target.send(http.request(HANDSHAKE, "Content-Length: 2", *gzipped, body="xx"))
        assert answer.startswith(b"HTTP/1.1 415 ")


async def test_trailers_are_no_headers(door: Door, app: QuartTrio) -> None:
    async with under_attack(door=door, app=app) as target:
        body = "3\r\nabc\r\n0\r\nX-Admin: 1\r\nHost: evil\r\nContent-Length: 7\r\n\r\n"
        head = ("Transfer-Encoding: chunked", "Trailer: X-Admin", "Connection: close")
        answer = await target.send(requests.request("/own", *head, body=body))
        assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
        assert b'x-admin"' not in answer.lower()
        assert b"evil" not in answer


async def test_pipelined_requests_are_answered_in_order(door: Door) -> None:
    async with under_attack(door=door) as target:
        first = f"GET {HANDSHAKE} HTTP/1.1\r\nHost: x\r\n\r\n"
        second = "GET /socket.io/?EIO=4&transport=none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await target.send((first + first + second).encode())
        assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"400"]
        forget_pollers(target)


async def test_upgrades_that_are_hard_on_servers_hurt_nobody(door: Door, app: QuartTrio) -> None:
    async with under_attack(door=door, app=app, websockets=True) as target:
        for path in ("/socket", "/own", "/socket.io/?EIO=4&transport=websocket"):
            for extra, tail in http.HARD.values():
                async with target.raw() as raw:
                    await raw.send(http.upgrade(path, *extra, tail=tail))
                    await raw.stream.send_eof()
                    await raw.to_the_end()
            headers = ["Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ"]
            answer = await target.send(http.request(path, *headers, line=f"GET {path} HTTP/1.1"))
            assert answer.startswith(b"HTTP/1.1 ")
            assert not answer.startswith(b"HTTP/1.1 101")


async def test_an_upgrade_that_is_not_one_is_refused_before_101(door: Door) -> None:
    async with under_attack(door=door, cors="http://good.example") as target:
        for name, (wire, allowed) in websocket.REFUSED.items():
            async with target.raw() as raw:
                await raw.send(wire)
                answer = await raw.until(b"\r\n\r\n")
                assert int(answer[9:12]) in allowed, (name, answer)


async def test_nothing_of_a_request_becomes_a_header_of_its_own(door: Door) -> None:
    async with under_attack(
        door=door, cors="http://good.example", cookie=True, settings={"cors": "http://good.example"}
    ) as target:
        for name, wire in requests.REFLECTING.items():
            answer = await target.send(wire)
            lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
            assert answer.count(b"HTTP/1.1 ") == 1, name
            assert not [line for line in lines if line.lower().startswith(b"set-cookie:") and b"evil" in line], name
            assert all(line.isascii() for line in lines), name
            forget_pollers(target)


@pytest.mark.parametrize("path", PATHS)
async def test_who_takes_its_time_is_given_up(
    door: Door, path: str, app: QuartTrio, clock: trio.testing.MockClock
) -> None:
    async with under_attack(door=door, app=app, ping_interval=1_000) as target:
        for sent in ("", "GET ", f"GET {path} HTTP/1.1\r\nHost"):
            async with target.raw() as raw:
                await raw.send(sent.encode())
                await trio.testing.wait_all_tasks_blocked(0.05)
                clock.jump(10.3)
                answer = await raw.to_the_end()
                assert answer.startswith(b"HTTP/1.1 408 ") or (answer == b"" and not sent)
        heads = {
            "head": b"",
            "body": requests.request(path, "Content-Length: 10000"),
            "chunks": requests.request(path, requests.CHUNKED, body="2000\r\n"),
        }
        for what, head in heads.items():
            async with target.raw() as raw:
                await raw.send(head)
                await requests.drip(raw, clock, b"x" * 25 if head else requests.request(path, method="GET")[:25])
                with trio.fail_after(5):
                    answer = await raw.to_the_end()
                assert answer == b"" or answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 ")), (what, answer)


async def test_absurd_parameters_get_the_answer_of_the_table(door: Door) -> None:
    async with under_attack(door=door) as target:
        for path, body in engineio.REFUSED:
            answer = await target.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 400 "), (path, answer)
            assert answer.endswith(body), (path, answer)


async def test_a_poller_that_breaks_the_protocol_is_ended(door: Door) -> None:
    async with under_attack(door=door) as target:
        for body in engineio.BODIES:
            async with target.raw() as raw:
                path = await raw.become_poller()
                assert await raw.ask("POST", path, "40") == b"ok"
                assert await raw.ask("POST", path, body) in (b"ok", engineio.BAD_REQUEST), body
                assert await raw.ask("GET", path) == engineio.UNKNOWN_SID, body


async def test_a_session_is_had_by_its_own_sid_and_by_no_other(door: Door) -> None:
    async with under_attack(door=door) as target, target.raw() as raw:
        path = await raw.become_poller()
        sid = path.rpartition("=")[2]
        forged = sid[:-1] + ("A" if sid[-1] != "A" else "B")
        heads = [
            f"GET {path}&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET {HANDSHAKE}&sid={forged} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET {HANDSHAKE}&sid=%{ord(sid[0]):x}{sid[1:]} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"POST {HANDSHAKE}&sid={forged} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1",
            UPGRADE.decode().replace(" HTTP", f"&sid={forged} HTTP", 1),
        ]
        for head in heads:
            async with target.raw() as other:
                await other.send(head.encode())
                answer = await other.until(b"}")
                assert answer.endswith(engineio.UNKNOWN_SID), (head, answer)
        assert await raw.ask("POST", path, "1") == b"ok"


async def test_a_poll_that_its_client_gives_up_ends_the_session(door: Door) -> None:
    async with under_attack(door=door) as target:
        before = len(target.io.engine.sessions)
        async with target.raw() as raw:
            path = await raw.become_poller()
            assert await raw.ask("POST", path, "40") == b"ok"
            assert (await raw.ask("GET", path)).startswith(b"40")
            await raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await trio.testing.wait_all_tasks_blocked(0.05)
        with trio.fail_after(PATIENCE):
            while len(target.io.engine.sessions) > before:
                await trio.lowlevel.checkpoint()


async def test_frames_that_the_rfc_forbids_get_their_codes(door: Door) -> None:
    async with under_attack(door=door) as target:
        for name, wire, code in websocket.FRAMES:
            async with target.raw() as raw:
                await raw.become_websocket()
                await raw.send(wire)
                assert websocket.close_code(await raw.to_the_end()) == code, name
        answer = await target.send(UPGRADE + b"x\x80\0\0\0\0")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert websocket.close_code(answer) == 1002


async def test_a_frame_over_the_limit_ends_its_connection_though_its_client_goes_on(door: Door) -> None:
    async with under_attack(door=door) as target, target.raw() as raw:
        await raw.become_websocket()
        await raw.send(client_frame(BINARY, b"", MASK)[:1] + b"\xff" + (2**40).to_bytes(8, "big") + MASK)
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await raw.send_for_ever()


async def test_who_sends_pings_and_reads_no_pongs_is_cut_off(door: Door) -> None:
    async with under_attack(door=door, max_queue_bytes=100_000) as target, target.raw() as raw:
        await raw.become_websocket()
        with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):
            await raw.send_for_ever(client_frame(PING, b"x" * 125, MASK) * 1_000)


async def test_a_message_that_comes_in_pieces_is_one_message(door: Door) -> None:
    wire = client_frame(TEXT, b'420["echo"]', MASK) + client_frame(TEXT, b"4\xff", MASK)
    async with under_attack(door=door) as target, target.raw() as raw:
        await raw.become_websocket()
        for at in range(0, len(wire), 3):
            await raw.send(wire[at : at + 3])
        received = await raw.to_the_end()
        assert b"430[[]]" in received
        assert websocket.close_code(received) == 1007


async def test_who_only_connects_leaves_nothing(door: Door) -> None:
    async with under_attack(door=door) as target:
        for _ in range(100):
            async with target.raw() as raw:
                await raw.send(text("40"))
            async with target.raw():
                pass
