"""Sessions that are asked for wrongly, left behind, or spoken for too early."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from rtserver import Socket
from tests.attacks.support import HANDSHAKE, PATIENCE, Target, build, text, under_attack


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(rate=1.0)


UNKNOWN_TRANSPORT = b'{"code":0,"message":"Transport unknown"}'
UNKNOWN_SID = b'{"code":1,"message":"Session ID unknown"}'
BAD_REQUEST = b'{"code":3,"message":"Bad request"}'
UNSUPPORTED = b'{"code":5,"message":"Unsupported protocol version"}'
ABSURD = ["__proto__", "constructor", "toString", "a" * 10_000, "%00", "polling%00", "%70olling%20", "%F0%9F%98%80", ""]


def query(**parts: str) -> str:
    return "/socket.io/?" + "&".join(f"{name}={value}" for name, value in parts.items())


REFUSED = [
    *((query(EIO="4", transport=value), UNKNOWN_TRANSPORT) for value in ABSURD),
    *((query(EIO=value, transport="polling"), UNSUPPORTED) for value in [*ABSURD, "04", "4.0", "+4", "%D9%A4", "4%20"]),
    (query(EIO="4", transport="polling") + "&transport=websocket", UNKNOWN_TRANSPORT),
    (query(EIO="4", transport="polling") + "&EIO=4", UNSUPPORTED),
    (query(EIO="4", transport="polling", sid="a") + "&sid=b", UNKNOWN_SID),
    (query(EIO="4", transport="polling", **{"sid[]": "a"}) + "&sid[__proto__]=b&sid=c", UNKNOWN_SID),
]


@pytest.mark.parametrize(("path", "body"), REFUSED, ids=[path[:70] for path, _ in REFUSED])
async def test_absurd_parameters_get_the_answer_of_the_table(path: str, body: bytes) -> None:
    async with under_attack() as target:
        answer = await target.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert answer.endswith(body)


async def test_a_sid_that_is_repeated_opens_no_session_that_is_there() -> None:
    async with under_attack() as target, target.raw() as raw:
        path = await raw.become_poller()
        sid = path.rpartition("=")[2]
        assert await raw.ask("GET", f"{path}&sid={sid}x") == UNKNOWN_SID
        assert await raw.ask("GET", f"{HANDSHAKE}&sid=x&sid={sid}") == UNKNOWN_SID
        assert await raw.ask("POST", path, "1") == b"ok"


BODIES = [
    "",
    "\x1e",
    "4\x1e\x1e4",
    "\u0664",
    "0{}",
    "2",
    "2probe",
    "3probe\x1e9",
    "5",
    "6",
    "b",
    "b=",
    "bYQ",
    "bYR==",
    "b_-",
]


@pytest.mark.parametrize("body", BODIES, ids=ascii)
async def test_a_poller_that_breaks_the_protocol_is_ended(body: str) -> None:
    async with under_attack() as target, target.raw() as raw:
        path = await raw.become_poller()
        assert await raw.ask("POST", path, "40") == b"ok"
        assert await raw.ask("POST", path, body) in (b"ok", BAD_REQUEST)
        assert await raw.ask("GET", path) == UNKNOWN_SID


async def test_what_follows_a_broken_packet_in_a_payload_is_not_heard() -> None:
    heard: list[str] = []
    io = build()

    @io.on("mark")
    def mark(socket: Socket) -> None:
        heard.append(socket.id)

    async with under_attack(io=io) as target, target.raw() as raw:
        path = await raw.become_poller()
        assert await raw.ask("POST", path, "40") == b"ok"
        await raw.ask("POST", path, '42["mark"]\x1e9\x1e42["mark"]')
        assert await raw.ask("GET", path) == UNKNOWN_SID
    assert len(heard) <= 1


async def test_handshakes_that_nobody_polls_are_gone_after_interval_and_timeout(clock: trio.testing.MockClock) -> None:
    async with under_attack(connect_timeout=100) as target:
        before = len(target.io.engine.sessions)
        async with target.raw() as raw:
            for _ in range(300):
                await raw.become_poller()
        assert len(target.io.engine.sessions) == before + 300
        await jump_past_a_heartbeat(target, clock)
        assert len(target.io.engine.sessions) == before


async def test_a_poller_that_stops_polling_is_gone_after_interval_and_timeout(clock: trio.testing.MockClock) -> None:
    async with under_attack() as target, target.raw() as raw:
        path = await raw.become_poller()
        assert await raw.ask("POST", path, "40") == b"ok"
        assert (await raw.ask("GET", path)).startswith(b"40")
        before = len(target.io.sockets)
        await jump_past_a_heartbeat(target, clock)
        assert len(target.io.sockets) == before - 1


async def jump_past_a_heartbeat(target: Target, clock: trio.testing.MockClock) -> None:
    """To where everybody who has not answered a ping is gone, while the bystanders answer theirs."""
    bystanders = list(target.io.clients)
    clock.jump(target.io.config.ping_interval + 0.1)
    with trio.fail_after(PATIENCE):
        while sum(awaits_pong(client) for client in bystanders) > len(bystanders) - 2:
            await trio.lowlevel.checkpoint()
    clock.jump(target.io.config.ping_timeout + 0.1)
    with trio.fail_after(PATIENCE):
        while len(target.io.engine.sessions) > 2:
            await trio.lowlevel.checkpoint()


def awaits_pong(client: object) -> bool:
    when = client.session.machine.next_deadline()  # type: ignore[attr-defined]
    return when is None or when - trio.current_time() < 22


@pytest.mark.parametrize("polling", [True, False], ids=["polling", "websocket"])
async def test_an_event_does_not_overtake_the_connect_that_is_still_decided(polling: bool) -> None:
    heard: list[str] = []
    asked, decided = trio.Event(), trio.Event()
    io = build()
    slow = io.of("/slow")

    @slow.use
    async def think(socket: Socket) -> None:
        asked.set()
        await decided.wait()

    @slow.on("mark")
    def mark(socket: Socket) -> None:
        heard.append(socket.id)

    async with under_attack(io=io) as target, target.raw() as raw:
        if polling:
            path = await raw.become_poller()
            await raw.ask("POST", path, "40/slow,")
            await asked.wait()
            await raw.ask("POST", path, '42/slow,["mark"]')
            assert await raw.ask("GET", path) == UNKNOWN_SID
        else:
            await raw.become_websocket()
            await raw.send(text("40/slow,") + text('42/slow,["mark"]'))
            await raw.to_the_end()
        decided.set()
    assert heard == []


async def test_a_session_is_not_upgraded_by_who_only_guesses() -> None:
    async with under_attack() as target, target.raw() as raw, target.raw() as other:
        path = await raw.become_poller()
        guess = path[:-1] + ("A" if path[-1] != "A" else "B")
        head = f"GET {guess.replace('polling', 'websocket')} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        head += (
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await other.send(head.encode())
        assert (await other.until(b"}")).endswith(UNKNOWN_SID)
        assert await raw.ask("POST", path, "1") == b"ok"


async def test_bytes_for_a_poller_that_never_polls_are_bounded() -> None:
    io = build(max_queue_bytes=50_000)
    async with under_attack(io=io) as target, target.raw() as raw:
        path = await raw.become_poller()
        assert await raw.ask("POST", path, "40") == b"ok"
        for _ in range(20):
            io.except_("walkers", "pollers").emit("gossip", "x" * 5_000)
        with trio.fail_after(PATIENCE):
            while path.rpartition("=")[2] in io.engine.sessions:
                await trio.lowlevel.checkpoint()
        assert io.engine.slow_consumers == 1
        assert await raw.ask("GET", path) == UNKNOWN_SID
