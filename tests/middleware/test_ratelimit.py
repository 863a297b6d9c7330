"""Rates, of buckets alone and through sockets."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from rtserver import ConfigurationError, Server, Socket
from rtserver.client import ConnectError, open_socket
from rtserver.middleware.ratelimit import Buckets, Rate, RateLimit, group
from rtserver.middleware.ratelimit.limit import SWEEP_EVERY
from rtserver.testing import open_server
from tests.behaviour.support import Kind, Serve


@pytest.mark.parametrize(
    ("text", "interval", "burst"),
    [("5/s", 0.2, 5), ("30/min", 2.0, 30), ("100 / hour burst 20", 36.0, 20), ("1/second burst 1", 1.0, 1)],
)
def test_rates_are_read(text: str, interval: float, burst: int) -> None:
    assert Rate.of("rate", text) == Rate(interval, burst)
    assert Rate.of("rate", f"{text} per user") == Rate(interval, burst, "user")


@pytest.mark.parametrize(
    "text", ["", "5", "0/s", "5/day", "-1/s", "5/s burst 0", "٥/s", "5/s extra", "5/s per room", 5, None]
)
def test_what_is_no_rate_is_refused_by_name(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^total"):
        RateLimit(total=text)


def test_a_burst_is_there_at_once_and_comes_back_at_its_rate() -> None:
    buckets = Buckets(Rate(interval=2, burst=3))
    assert [buckets.take("a", 0) for _ in range(4)] == [0, 0, 0, pytest.approx(2, abs=1e-3)]
    assert buckets.take("a", 1) == pytest.approx(1, abs=1e-3)
    assert buckets.take("a", 2) == 0
    assert buckets.take("a", 2) == pytest.approx(2, abs=1e-3)
    assert [buckets.take("a", 100) for _ in range(4)] == [0, 0, 0, pytest.approx(2, abs=1e-3)]
    assert buckets.take("b", 0) == 0


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200), st.integers(1, 20), st.floats(0.01, 3))
def test_no_pattern_of_arrivals_gets_more_than_the_rate(gaps: list[float], burst: int, interval: float) -> None:
    buckets = Buckets(Rate(interval, burst))
    now, passed = 0.0, 0
    for gap in gaps:
        now += gap
        wait = buckets.take("a", now)
        passed += wait == 0
        assert wait <= interval * 1.001
    assert passed <= burst + now / interval + 1


def test_the_table_is_bounded_and_no_bucket_is_emptied_by_filling_it() -> None:
    buckets = Buckets(Rate(interval=10, burst=1), max_keys=100)
    for number in range(100):
        assert buckets.take(number, 0) == 0
    passed = [buckets.take(f"flood {number}", 0.5) == 0 for number in range(1_000)]
    assert len(buckets) <= 100
    # Those who found no place have one bucket together.
    assert passed.count(True) == 1
    assert all(buckets.wait(number, 0.5) > 0 for number in range(100))
    assert all(buckets.take(number, 0.5) > 0 for number in range(100))
    # Once they are full again their places are free.
    assert buckets.take("new", 20) == 0
    assert buckets.take("new", 20) > 0
    assert len(buckets) <= 100


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("", "", True),
        ("x:y", "x:z", False),
    ],
)
def test_a_network_of_one_host_counts_as_one(one: str, other: str, same: bool) -> None:
    assert (group(one) == group(other)) is same


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def build(clock: Clock | None = None, **options: Any) -> Server:
    io = Server(middleware=[RateLimit({"say": "2/min"}, clock=clock or Clock(), **options)])

    @io.on("say")
    def say(socket: Socket, text: str) -> str:
        return text

    @io.on("later")
    async def later(socket: Socket) -> str:
        return "done"

    return io


@pytest.mark.parametrize("kind", ["polling", "websocket"])
async def test_an_event_that_comes_too_often_is_told_when_to_come_again(serve: Serve, kind: Any) -> None:
    clock = Clock()
    site = await serve(build(clock))
    peer = await site.open(kind)
    await peer.join()
    answers = []
    for number in range(3):
        await peer.send(f'42{number}["say","x"]')
        answers.append(await peer.receive())
    assert answers[:2] == ['430["x"]', '431["x"]']
    refusal = '{"code":"rate_limited","message":"too many requests","retry_after":30.0}'
    assert answers[2] == f'432[{{"error":{refusal}}}]'
    clock.now += 30
    await peer.send('423["say","y"]')
    assert await peer.receive() == '433["y"]'


async def test_async_handlers_and_unknown_events_count_too() -> None:
    io = build(total="3/min", unknown="1/min")
    async with open_server(io) as server, server.socket() as client:
        assert await client.call("later") == "done"
        assert (await client.call("nothing"))["error"]["code"] == "unknown_event"
        assert (await client.call("nothing"))["error"]["code"] == "rate_limited"
        assert await client.call("later") == "done"
        assert (await client.call("later"))["error"]["code"] == "rate_limited"


async def test_who_goes_on_is_disconnected() -> None:
    io = build(abuse="5/min")
    async with open_server(io) as server, server.socket() as client:
        for _ in range(20):
            client.emit("say", "x")
        # Whichever it sees first: it is still sending when it is told to go.
        with trio.fail_after(5):
            assert await client.wait_closed() in ("io server disconnect", "transport close")
    assert io.sockets == {}


async def test_buckets_of_a_user_hold_over_reconnects_and_namespaces() -> None:
    io = build(by="user")
    chat = io.of("/chat")

    @chat.on("say")
    def say(socket: Socket, text: str) -> str:
        return text

    @io.use
    @chat.use
    def name(socket: Socket) -> None:
        socket.user = type("User", (), {"id": socket.handshake.auth["name"]})()

    async with open_server(io) as server:
        for namespace in ("/", "/chat"):
            async with server.socket(namespace, auth={"name": "ann"}) as client:
                assert await client.call("say", "x") == "x"
        async with server.socket(auth={"name": "ann"}) as client:
            assert (await client.call("say", "x"))["error"]["code"] == "rate_limited"
        async with server.socket(auth={"name": "bob"}) as client:
            assert await client.call("say", "x") == "x"


async def test_buckets_of_an_address_hold_for_all_of_its_sockets() -> None:
    async with open_server(build(by="address")) as server, server.socket() as one, server.socket() as two:
        assert await one.call("say", "x") == "x"
        assert await two.call("say", "x") == "x"
        assert (await one.call("say", "x"))["error"]["code"] == "rate_limited"


async def test_an_event_may_have_several_rates_of_different_owners() -> None:
    io = Server(middleware=[RateLimit({"say": ["2/min", "3/min per address"]}, clock=Clock())])

    @io.on("say")
    def say(socket: Socket, text: str) -> str:
        return text

    async with open_server(io) as server, server.socket() as one, server.socket() as two:
        assert [await one.call("say", n) for n in (1, 2)] == [1, 2]
        assert (await one.call("say", 3))["error"]["retry_after"] == 30
        assert await two.call("say", 4) == 4
        assert (await two.call("say", 5))["error"]["retry_after"] == 20


@pytest.mark.parametrize("by", ["user", "address"])
async def test_a_new_connection_on_another_transport_is_no_new_bucket(serve: Serve, by: Any) -> None:
    site = await serve(build(by=by))
    answers = []
    for number, kind in enumerate(["polling", "websocket", "upgraded"]):
        peer = await site.open(kind)  # type: ignore[arg-type]
        await peer.join()
        await peer.send(f'42{number}["say","x"]')
        answers.append(await peer.receive())
        await peer.send("41", "1")
    assert answers[:2] == ['430["x"]', '431["x"]']
    assert '"retry_after":30.0' in str(answers[2])


async def test_joins_are_counted_by_address() -> None:
    async with open_server(build(connects="2/min")) as server, server.socket(), server.socket():
        with pytest.raises(ConnectError) as caught:
            async with server.socket():
                pass
    assert str(caught.value) == "too many requests"
    assert caught.value.data == {"code": "rate_limited", "retry_after": 30.0}


async def test_handshakes_are_counted_by_address_and_answered_429(serve: Serve) -> None:
    site = await serve(build(handshakes="2/min"))
    for _ in range(2):
        assert (await site.get("EIO=4&transport=polling")).status == 200
    answer = await site.get("EIO=4&transport=polling")
    assert answer.status == 429
    assert answer.header("retry-after") == "30"


@pytest.mark.parametrize("wire", ["4garbage", "42[", '42["connect"]', "9"])
async def test_invalid_packets_end_the_session_and_so_count_as_handshakes(serve: Serve, wire: str) -> None:
    site = await serve(build(handshakes="2/min"))
    for _ in range(2):
        peer = await site.open_websocket()
        await peer.join()
        await peer.send(wire)
        assert await peer.packet() is None
    assert (await site.get("EIO=4&transport=polling")).status == 429


async def test_who_breaks_the_protocol_again_and_again_gets_no_new_session_for_a_while(
    serve: Serve, kind: Kind
) -> None:
    clock = Clock()
    site = await serve(build(clock, invalid="2/min"))
    for _ in range(2):
        assert (await site.get("EIO=4&transport=polling")).status == 200
        peer = await site.open(kind)
        await peer.join()
        await peer.send("43/nowhere,1[]")
        await peer.rest()
    answer = await site.get("EIO=4&transport=polling")
    assert (answer.status, answer.header("retry-after")) == (429, "30")
    clock.now += 30
    assert (await site.get("EIO=4&transport=polling")).status == 200


async def test_who_leaves_in_good_order_is_not_counted_with_them(serve: Serve) -> None:
    site = await serve(build(invalid="1/hour"))
    for _ in range(3):
        peer = await site.open_websocket()
        await peer.join()
        await peer.send("41", "1")
        assert await peer.rest() == []
    assert (await site.get("EIO=4&transport=polling")).status == 200


@pytest.mark.parametrize("make", [lambda: RateLimit(by="name"), lambda: RateLimit({"say": "often"})])  # type: ignore[arg-type]
def test_wrong_settings_are_named(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^(by|events\['say'\])"):
        make()


async def test_clients_over_the_network_see_the_same(serve: Serve) -> None:
    site = await serve(build())
    stream = await site.connect_stream()
    host, port = stream.socket.getpeername()[:2]
    await stream.aclose()
    async with open_socket(f"http://{host}:{port}") as socket:
        assert [await socket.call("say", n) for n in (1, 2)] == [1, 2]
        assert (await socket.call("say", 3))["error"]["retry_after"] == 30.0


def test_the_clock_is_one_that_is_never_put_back() -> None:
    assert inspect.signature(RateLimit).parameters["clock"].default is time.monotonic


async def test_a_socket_that_is_gone_and_a_bucket_that_is_full_need_no_memory(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limit = RateLimit({"say": ["2/min", "2/min per address"]}, total="3/s", clock=trio.current_time)
    io = Server(middleware=[limit])

    @io.on("say")
    def say(socket: Socket, text: str) -> str:
        return text

    async with open_server(io) as server:
        async with server.socket() as client:
            for _ in range(3):
                await client.call("say", "x")
            assert sum(map(len, limit._all)) > 0
        assert sum(map(len, limit._of_sockets)) == 0
        # That of the address holds on until it is full.
        async with server.socket() as client:
            assert (await client.call("say", "x"))["error"]["code"] == "rate_limited"
        await trio.sleep(3 * SWEEP_EVERY)
        assert sum(map(len, limit._all)) == 0
