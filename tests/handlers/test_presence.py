"""Who is online: what nodes tell one another, and what users see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from rtserver import Server, Socket, user_room
from rtserver.adapters.memory import MemoryAdapter
from rtserver.client import ClientSocket
from rtserver.handlers.presence.events import MAX_LISTED
from rtserver.handlers.presence.handlers import PART, Attendance, register
from rtserver.handlers.presence.roster import ALIVE_EVERY, DEAD_AFTER, Change, Entry, Roster
from rtserver.testing import InProcessServer, open_server

HALL = frozenset(["hall"])
BOTH = frozenset(["hall", "bar"])
NOWHERE = Entry("", frozenset())


# What a node knows.


def test_a_user_is_online_while_on_any_node() -> None:
    roster = Roster()
    ann = Entry("Ann", HALL)
    assert roster.hear("one", 1, "ann", ann, 0) == [Change("ann", True, HALL)]
    assert roster.hear("two", 1, "ann", ann, 0) == []
    assert roster.online_in("hall") == {"ann": "Ann"}
    assert roster.hear("one", 2, "ann", NOWHERE, 0) == []
    assert roster.hear("two", 2, "ann", NOWHERE, 0) == [Change("ann", False, HALL)]
    assert roster.online_in("hall") == {}


def test_who_leaves_a_room_is_still_online_in_the_others() -> None:
    roster = Roster()
    roster.hear("one", 1, "ann", Entry("Ann", BOTH), 0)
    assert roster.hear("one", 2, "ann", Entry("Ann", HALL), 0) == []
    assert roster.online_in("bar") == {}
    assert roster.hear("one", 3, "ann", Entry("Ann", BOTH), 0) == [Change("ann", True, frozenset(["bar"]))]


def test_a_dead_node_takes_its_users_with_it() -> None:
    roster = Roster()
    roster.hear("own", 1, "ann", Entry("Ann", HALL), 0)
    roster.hear("other", 1, "ann", Entry("Ann", HALL), 0)
    roster.hear("other", 2, "bob", Entry("Bob", HALL), 0)
    roster.hear_alive("other", 2, 10)
    assert roster.expire(10 + DEAD_AFTER, own="own") == []
    assert roster.expire(10.1 + DEAD_AFTER, own="own") == [Change("bob", False, HALL)]
    assert roster.online_in("hall") == {"ann": "Ann"}
    assert roster.expire(1_000, own="own") == []


def test_who_has_missed_an_announcement_notices_and_is_told_everything() -> None:
    roster = Roster()
    assert roster.hear_alive("other", 0, 0)
    roster.hear("other", 1, "ann", Entry("Ann", HALL), 0)
    assert roster.hear_alive("other", 1, 0)
    # The second one got lost.
    roster.hear("other", 3, "bob", Entry("Bob", HALL), 0)
    assert not roster.hear_alive("other", 3, 0)
    everything = {"bob": Entry("Bob", HALL), "eve": Entry("Eve", HALL)}
    changes = roster.hear_all("other", 3, everything, 0)
    assert changes == [Change("eve", True, HALL), Change("ann", False, HALL)]
    assert roster.hear_alive("other", 3, 0)
    # What comes late is older than what is known.
    assert roster.hear_all("other", 2, {}, 0) == []
    assert roster.online_in("hall") == {"bob": "Bob", "eve": "Eve"}


def test_the_last_announcement_may_get_lost_too() -> None:
    roster = Roster()
    roster.hear("other", 1, "ann", Entry("Ann", HALL), 0)
    assert not roster.hear_alive("other", 2, 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from(["ann", "bob"]),
        st.frozensets(st.sampled_from(["hall", "bar"])),
    )
)


@given(STEPS, st.sampled_from(["one", "two", "three"]))
def test_what_is_online_is_what_the_living_nodes_have_said(
    steps: list[tuple[str, str, frozenset[str]]], dead: str
) -> None:
    roster = Roster()
    told: set[str] = set()

    def tell(changes: Sequence[Change]) -> None:
        for change in changes:
            (told.add if change.online else told.discard)(change.user)

    said: dict[tuple[str, str], frozenset[str]] = {}
    for number, (node, user, rooms) in enumerate(steps):
        tell(roster.hear(node, number, user, Entry(user, rooms), 0))
        said[node, user] = rooms
    for node in {"one", "two", "three"} - {dead}:
        roster.hear_alive(node, 0, 100)
    tell(roster.expire(100, own="none"))
    alive = {key: rooms for key, rooms in said.items() if key[0] != dead}
    for room in ("hall", "bar"):
        assert set(roster.online_in(room)) == {user for (_, user), rooms in alive.items() if room in rooms}
    assert told == {user for (_, user), rooms in alive.items() if rooms}
    assert {user for user in ("ann", "bob") if roster.is_online(user)} == told


# What users see.


@dataclass
class Bus:
    """Between nodes; a node that is cut off hears and says nothing."""

    nodes: list[BusAdapter] = field(default_factory=list)
    cut: set[BusAdapter] = field(default_factory=set)
    lost: int = 0

    def adapter(self, namespace: Any) -> BusAdapter:
        return BusAdapter(self, namespace)

    def others(self, sender: BusAdapter) -> list[BusAdapter]:
        if self.lost:
            self.lost -= 1
            return []
        same = [one for one in self.nodes if one is not sender and one.namespace.name == sender.namespace.name]
        return [] if sender in self.cut else [one for one in same if one not in self.cut]


class BusAdapter(MemoryAdapter):
    """The rooms of a node, and server-side events for the others."""

    def __init__(self, bus: Bus, namespace: Any) -> None:
        super().__init__(namespace)
        self.bus = bus
        bus.nodes.append(self)

    def server_side_emit(self, args: Sequence[Any]) -> None:
        for other in self.bus.others(self):
            other.namespace.on_server_side_event(args, None)


def key(room: str) -> str:
    return f"room:{room}"


def build(bus: Bus) -> tuple[Server, Attendance]:
    """A node where a socket is in the rooms that it asks for."""
    io = Server(adapter=bus.adapter)
    chat = io.of("/chat")
    attendance = Attendance(chat, key, lambda socket: str(socket.user.id).title())
    register(io, attendance, key)

    @chat.use
    def identify(socket: Socket) -> None:
        socket.user = SimpleNamespace(id=socket.handshake.auth["user"])
        socket.join(user_room(socket.user.id))

    @chat.on("open")
    def open_chat(socket: Socket, rooms: list[str]) -> str:
        socket.join(*map(key, rooms))
        attendance.opened(socket)
        return "opened"

    @chat.on("leave")
    def leave(socket: Socket, room: str) -> str:
        chat.in_(user_room(socket.user.id)).sockets_leave(key(room))
        attendance.changed(socket.user.id)
        return "left"

    return io, attendance


@dataclass
class Nodes:
    """Some nodes on a bus."""

    bus: Bus
    servers: list[InProcessServer]
    attendances: list[Attendance]

    @asynccontextmanager
    async def user(self, node: int, name: str, *rooms: str) -> AsyncIterator[ClientSocket]:
        async with self.servers[node].socket("/chat", auth={"user": name}) as socket:
            await socket.call("open", list(rooms))
            yield socket

    def kill(self, node: int) -> None:
        """Nobody hears of it any more, as if the process had been killed."""
        adapter = self.servers[node].io.of("/chat").adapter
        assert isinstance(adapter, BusAdapter)
        self.bus.cut.add(adapter)


@asynccontextmanager
async def opened(count: int = 2) -> AsyncIterator[Nodes]:
    bus = Bus()
    made = [build(bus) for _ in range(count)]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(open_server(io)) for io, _ in made]
        yield Nodes(bus, servers, [attendance for _, attendance in made])


async def online(socket: ClientSocket, room: str = "hall") -> list[str]:
    return [user["name"] for user in (await socket.call("presence:online", {"room": room}))["users"]]


async def test_comings_and_goings_are_seen_on_every_node() -> None:
    async with opened() as nodes, nodes.user(0, "ann", "hall") as ann:
        async with nodes.user(1, "bob", "hall", "bar") as bob:
            assert await ann.receive("presence:changed") == {"user": "ann", "online": True}
            assert await ann.receive("presence:changed") == {"user": "bob", "online": True}
            assert await online(bob) == await online(ann) == ["Ann", "Bob"]
            refused = await ann.call("presence:online", {"room": "bar"})
            assert refused["error"]["code"] == "room_refused"
        assert await ann.receive("presence:changed") == {"user": "bob", "online": False}
        assert await online(ann) == ["Ann"]


async def test_a_user_with_several_tabs_goes_with_the_last_one() -> None:
    async with opened() as nodes, nodes.user(0, "eve", "hall") as eve:
        await eve.receive("presence:changed")
        async with nodes.user(0, "ann", "hall"):
            assert await eve.receive("presence:changed") == {"user": "ann", "online": True}
            async with nodes.user(1, "ann", "hall"), nodes.user(0, "ann", "hall"):
                pass
            assert await online(eve) == ["Ann", "Eve"]
        assert await eve.receive("presence:changed") == {"user": "ann", "online": False}


async def test_a_node_that_dies_is_noticed(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as nodes, nodes.user(0, "ann", "hall") as ann, nodes.user(1, "bob", "hall"):
        assert [await ann.receive("presence:changed") for _ in range(2)] == [
            {"user": "ann", "online": True},
            {"user": "bob", "online": True},
        ]
        nodes.kill(1)
        started = trio.current_time()
        assert await ann.receive("presence:changed") == {"user": "bob", "online": False}
        assert trio.current_time() - started <= DEAD_AFTER + 2
        assert await online(ann) == ["Ann"]


async def test_a_node_that_comes_later_is_told_who_is_there(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(1) as nodes, nodes.user(0, "ann", "hall"):
        io, _ = build(nodes.bus)
        async with open_server(io) as server:
            nodes.servers.append(server)
            async with nodes.user(1, "bob", "hall") as bob:
                assert await bob.receive("presence:changed") == {"user": "bob", "online": True}
                assert await bob.receive("presence:changed") == {"user": "ann", "online": True}
                assert await online(bob) == ["Ann", "Bob"]


async def test_what_gets_lost_is_said_again(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as nodes, nodes.user(0, "ann", "hall") as ann:
        await ann.receive("presence:changed")
        nodes.bus.lost = 1
        async with nodes.user(1, "bob", "hall"):
            assert await ann.receive("presence:changed") == {"user": "bob", "online": True}


async def test_more_users_than_fit_into_one_message_are_told(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as nodes, nodes.user(0, "ann", "hall") as ann, AsyncExitStack() as stack:
        nodes.kill(1)
        for number in range(MAX_LISTED + 5):
            await stack.enter_async_context(nodes.user(1, f"u{number:03}", "hall"))
        assert MAX_LISTED + 5 > 2 * PART
        nodes.bus.cut.clear()
        await trio.sleep(2 * ALIVE_EVERY)
        answer = await ann.call("presence:online", {"room": "hall"})
        assert (len(answer["users"]), answer["total"]) == (MAX_LISTED, MAX_LISTED + 6)
        assert answer["users"][:2] == [{"id": "ann", "name": "Ann"}, {"id": "u000", "name": "U000"}]


async def test_a_membership_that_ends_on_another_node_is_noticed_there() -> None:
    async with opened() as nodes, nodes.user(0, "ann", "hall", "bar") as ann, nodes.user(1, "eve", "hall") as eve:
        await ann.call("leave", "hall")
        assert await online(eve) == ["Eve"]
        assert await online(ann, "bar") == ["Ann"]


async def test_what_other_nodes_say_is_checked(log_output: list[Any]) -> None:
    async with opened(1) as nodes, nodes.user(0, "ann", "hall") as ann:
        attendance = nodes.attendances[0]
        users = [{"user": "bob", "name": "Bob", "rooms": ["hall"]}]
        for raw in (None, 7, {}, {"node": 7, "number": 1}, {"node": "x", "number": -1, "users": users}):
            for hear in (attendance.hear_set, attendance.hear_alive, attendance.hear_all):
                hear(raw)
        forged = {"node": attendance.node, "number": 99, "users": users}
        attendance.hear_set(forged)
        attendance.hear_all({"node": "other", "number": 1, "users": users, "part": 1, "parts": 2})
        attendance.say_everything(["no", "name"])
        attendance.look_again({"no": "name"})
        assert await online(ann) == ["Ann"]
    assert {line["event"] for line in log_output if line["log_level"] == "warning"} == {"presence_not_understood"}
