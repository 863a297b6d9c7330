"""What users see while the database is away."""

from __future__ import annotations

import trio

from tests.handlers.support import open_chat, refused
from tests.services.postgresql import running_postgresql


async def test_a_database_that_goes_away_costs_an_error_at_once_and_no_connection() -> None:
    with running_postgresql() as server:
        url = server.create_database("chat")
        async with open_chat(url) as chat, chat.user("ann") as ann, chat.user("bob") as bob:
            room = (await ann.call("chat:create", {"name": "hall"}))["room"]["id"]
            await bob.call("chat:join", {"room": room})
            draft = {"room": room, "id": "m1", "text": "hello"}
            await trio.to_thread.run_sync(server.stop)
            with trio.fail_after(2):
                for _ in range(3):
                    answer = await ann.call("chat:post", draft)
                    assert (refused(answer), answer["error"]["retry_after"]) == ("unavailable", 1.0)
            # Whatever needs no database goes on, in the rooms that sockets are in.
            ann.emit("chat:typing_in", {"room": room})
            assert (await bob.receive("chat:typing"))["user"]["name"] == "ann"
            await trio.to_thread.run_sync(server.start)
            await chat.until_stored()
            stored = await ann.call("chat:post", draft)
            assert stored["seq"] == 1
            assert await bob.receive("chat:posted") == stored
            assert await ann.call("chat:post", draft) == stored


async def test_a_newer_token_costs_no_rooms_while_the_database_is_away() -> None:
    with running_postgresql() as server:
        async with open_chat(server.create_database("chat")) as chat:
            person = await chat.person("ann")
            async with chat.socket(person) as ann, chat.user("bob") as bob:
                room = (await ann.call("chat:create", {"name": "hall"}))["room"]["id"]
                await bob.call("chat:join", {"room": room})
                await trio.to_thread.run_sync(server.stop)
                assert "error" not in await ann.call("auth:refresh", {"token": person.token})
                bob.emit("chat:typing_in", {"room": room})
                assert (await ann.receive("chat:typing"))["user"]["name"] == "bob"
