"""Two nodes of the application, one Redis between them and one database behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from rtserver.client import ClientSocket
from tests.handlers.support import PATIENCE, Chat, open_chat, refused
from tests.services.postgresql import PostgreSQL
from tests.services.redis import running_redis


@pytest.fixture
async def nodes(tmp_path: Path, postgresql: PostgreSQL) -> AsyncIterator[tuple[Chat, Chat]]:
    url = postgresql.create_database(f"nodes_{tmp_path.name}")
    with running_redis(tmp_path) as redis:
        async with open_chat(url, redis_url=redis.url) as one, open_chat(url, redis_url=redis.url) as two:
            with trio.fail_after(PATIENCE):
                while await one.io.of("/chat").adapter.server_count() < 2:
                    await trio.lowlevel.checkpoint()
            yield one, two


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """What another node does is not acknowledged, so it is looked for."""
    with trio.fail_after(PATIENCE):
        while not await condition():
            await trio.lowlevel.checkpoint()


async def online(socket: ClientSocket, room: str) -> set[str]:
    answer: dict[str, Any] = await socket.call("presence:online", {"room": room})
    return {user["name"] for user in answer["users"]}


async def test_a_conversation_across_nodes(nodes: tuple[Chat, Chat]) -> None:
    one, two = nodes
    bob_person = await two.person("bob")
    async with one.user("ann") as ann, two.socket(bob_person) as bob, one.socket(bob_person) as phone:
        room = (await ann.call("chat:create", {"name": "den", "private": True}))["room"]["id"]
        await ann.call("chat:invite", {"room": room, "name": "bob"})
        for device in (bob, phone):
            assert (await device.receive("chat:invited"))["room"]["id"] == room
        await bob.call("chat:join", {"room": room})
        assert (await phone.receive("chat:room_opened"))["room"]["id"] == room
        assert (await ann.receive("chat:joined"))["user"]["name"] == "bob"

        async def sees_both() -> bool:
            return await online(ann, room) == await online(bob, room) == {"ann", "bob"}

        await until(sees_both)
        sent = await ann.call("chat:post", {"room": room, "id": "m1", "text": "hello"})
        assert await bob.receive("chat:posted") == await phone.receive("chat:posted") == sent
        await ann.call("chat:remove", {"room": room, "user": bob_person.id})
        for device in (bob, phone):
            assert (await device.receive("chat:room_gone"))["reason"] == "removed"

        async def ann_alone() -> bool:
            return await online(ann, room) == {"ann"}

        await until(ann_alone)
        assert refused(await bob.call("presence:online", {"room": room})) == "room_refused"


async def test_a_message_that_is_sent_again_to_another_node_is_stored_once(nodes: tuple[Chat, Chat]) -> None:
    one, two = nodes
    person = await one.person("ann")
    async with one.socket(person) as here:
        room = (await here.call("chat:create", {"name": "hall"}))["room"]["id"]
        draft = {"room": room, "id": "m1", "text": "hello"}
        answers: list[Any] = []

        async def send(chat: Chat) -> None:
            async with chat.socket(person) as socket:
                answers.append(await socket.call("chat:post", draft))

        async with trio.open_nursery() as nursery:
            for chat in (one, two, one, two):
                nursery.start_soon(send, chat)
        assert len(answers) == 4
        assert all(answer == answers[0] and answer["seq"] == 1 for answer in answers)
        assert len((await here.call("chat:history", {"room": room}))["messages"]) == 1


async def test_who_is_on_a_node_that_stops_is_seen_to_go(nodes: tuple[Chat, Chat]) -> None:
    one, two = nodes
    async with one.user("ann") as ann:
        room = (await ann.call("chat:create", {"name": "hall"}))["room"]["id"]
        async with two.user("bob") as bob:
            await bob.call("chat:join", {"room": room})
            changes = [await ann.receive("presence:changed") for _ in range(2)]
            assert [change["online"] for change in changes] == [True, True]
            two.io.stop()
            assert not (await ann.receive("presence:changed"))["online"]
