"""The chat through real sockets, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from rtserver.client import ClientSocket, ConnectError
from rtserver.handlers.chat.events import MAX_PAGE, MAX_TEXT
from tests.handlers.support import Chat, open_chat, refused


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with open_chat(database_url) as opened:
        yield opened


async def make_room(owner: ClientSocket, name: str = "hall", *, private: bool = False) -> str:
    state = await owner.call("chat:create", {"name": name, "private": private})
    assert state["role"] == "owner", state
    room: str = state["room"]["id"]
    return room


async def post(socket: ClientSocket, room: str, client_id: str, text: str = "hello") -> dict[str, object]:
    message: dict[str, object] = await socket.call("chat:post", {"room": room, "id": client_id, "text": text})
    return message


async def test_nobody_joins_without_a_token_that_holds(chat: Chat) -> None:
    for auth in ({}, {"token": "nonsense"}):
        with pytest.raises(ConnectError, match="authentication failed"):
            async with chat.server.socket("/chat", auth=auth):
                pass


async def test_a_message_reaches_everybody_else_and_is_acknowledged_as_it_is_stored(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob, chat.user("eve") as eve:
        room = await make_room(ann)
        assert (await bob.call("chat:join", {"room": room}))["role"] == "member"
        joined = await ann.receive("chat:joined")
        assert (joined["user"]["name"], joined["role"]) == ("bob", "member")
        stored = await post(ann, room, "m1")
        assert (stored["seq"], stored["id"], stored["text"], stored["deleted"]) == (1, "m1", "hello", False)
        assert await bob.receive("chat:posted") == stored
        assert (await bob.call("chat:history", {"room": room}))["messages"] == [stored]
        assert refused(await eve.call("chat:history", {"room": room})) == "room_refused"
        assert refused(await post(eve, room, "m1")) == "room_refused"


async def test_a_message_that_is_sent_again_is_stored_once(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob:
        room = await make_room(ann)
        await bob.call("chat:join", {"room": room})
        first = await post(ann, room, "m1")
        assert await post(ann, room, "m1", "another text") == first
        # Ids are a client's own: somebody else's message may have the same.
        assert (await post(bob, room, "m1"))["seq"] == 2
        page = await ann.call("chat:history", {"room": room})
        assert [(one["seq"], one["author"]["name"]) for one in page["messages"]] == [(2, "bob"), (1, "ann")]


async def test_messages_sent_at_once_are_numbered_without_gaps(chat: Chat) -> None:
    ann_person = await chat.person("ann")
    async with chat.socket(ann_person) as ann:
        room = await make_room(ann)

        async def send(name: str) -> None:
            async with chat.socket(ann_person) as socket:
                for number in range(5):
                    await post(socket, room, f"{name}{number}")
                    await post(socket, room, f"same{number}")

        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "c", "d"):
                nursery.start_soon(send, name)
        page = await ann.call("chat:history", {"room": room})
        assert [one["seq"] for one in page["messages"]] == list(range(25, 0, -1))
        assert len({one["id"] for one in page["messages"]}) == 25


async def test_history_is_read_by_page_in_both_directions(chat: Chat) -> None:
    async with chat.user("ann") as ann:
        room = await make_room(ann)
        for number in range(1, 8):
            await post(ann, room, f"m{number}")

        async def page(**query: object) -> tuple[list[int], bool]:
            found = await ann.call("chat:history", {"room": room, **query})
            return [one["seq"] for one in found["messages"]], found["more"]

        assert await page(size=3) == ([7, 6, 5], True)
        assert await page(size=3, before=5) == ([4, 3, 2], True)
        assert await page(size=3, before=2) == ([1], False)
        assert await page(size=3, after=3) == ([4, 5, 6], True)
        assert await page(after=7) == ([], False)
        both = {"room": room, "before": 1, "after": 1}
        assert refused(await ann.call("chat:history", both)) == "invalid_payload"
        assert refused(await ann.call("chat:history", {"room": room, "size": MAX_PAGE + 1})) == "invalid_payload"


async def test_private_rooms_are_for_the_invited(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob, chat.user("eve") as eve:
        den = await make_room(ann, "den", private=True)
        nowhere = refused(await eve.call("chat:join", {"room": "nowhere"}))
        assert refused(await eve.call("chat:join", {"room": den})) == nowhere == "room_refused"
        assert (await eve.call("chat:rooms", {}))["rooms"] == []
        assert (await ann.call("chat:invite", {"room": den, "name": "BOB"}))["name"] == "bob"
        invitation = await bob.receive("chat:invited")
        assert (invitation["room"]["name"], invitation["by"]["name"]) == ("den", "ann")
        assert [one["room"]["id"] for one in (await bob.call("chat:open"))["invitations"]] == [den]
        assert (await bob.call("chat:join", {"room": den}))["room"]["members"] == 2
        assert (await bob.call("chat:open"))["invitations"] == []
        # Members of a private room may not invite, moderators may.
        assert refused(await bob.call("chat:invite", {"room": den, "name": "eve"})) == "not_allowed"
        bob_id = (await bob.call("chat:open"))["user"]["id"]
        await ann.call("chat:set_role", {"room": den, "user": bob_id, "role": "moderator"})
        assert (await bob.receive("chat:role_changed"))["role"] == "moderator"
        assert (await bob.call("chat:invite", {"room": den, "name": "eve"}))["name"] == "eve"
        await eve.receive("chat:invited")
        await eve.call("chat:decline", {"room": den})
        assert refused(await eve.call("chat:join", {"room": den})) == "room_refused"
        assert refused(await ann.call("chat:invite", {"room": den, "name": "nobody"})) == "no_such_user"
        assert refused(await ann.call("chat:invite", {"room": den, "name": "bob"})) == "already_member"


async def test_who_is_removed_hears_nothing_more(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob, chat.user("eve") as eve:
        room = await make_room(ann)
        for one in (bob, eve):
            await one.call("chat:join", {"room": room})
        bob_id = (await bob.call("chat:open"))["user"]["id"]
        assert refused(await eve.call("chat:remove", {"room": room, "user": bob_id})) == "not_allowed"
        await ann.call("chat:remove", {"room": room, "user": bob_id})
        assert await bob.receive("chat:room_gone") == {"room": room, "reason": "removed"}
        assert (await eve.receive("chat:left"))["user"]["name"] == "bob"
        await post(ann, room, "m1")
        await eve.receive("chat:posted")
        heard: list[object] = []
        bob.on("chat:posted")(heard.append)
        assert refused(await bob.call("chat:typing_in", {"room": room})) == "room_refused"
        assert refused(await bob.call("presence:online", {"room": room})) == "room_refused"
        assert refused(await post(bob, room, "m2")) == "room_refused"
        # Whatever was sent to the room came before these answers.
        assert heard == []


async def test_only_the_author_edits_and_moderators_delete(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob:
        room = await make_room(ann)
        await bob.call("chat:join", {"room": room})
        await post(bob, room, "m1")
        await post(ann, room, "m2")
        edit = {"room": room, "seq": 1, "text": "better"}
        assert refused(await ann.call("chat:edit", edit)) == "not_allowed"
        edited = await bob.call("chat:edit", edit)
        assert (edited["text"], edited["edited_at"] >= edited["at"]) == ("better", True)
        assert await ann.receive("chat:edited") == edited
        assert refused(await bob.call("chat:delete", {"room": room, "seq": 2})) == "not_allowed"
        deleted = await ann.call("chat:delete", {"room": room, "seq": 1})
        assert (deleted["text"], deleted["deleted"]) == ("", True)
        assert await bob.receive("chat:deleted") == deleted
        assert refused(await bob.call("chat:edit", edit)) == "no_such_message"
        assert refused(await bob.call("chat:edit", {**edit, "seq": 99})) == "no_such_message"
        assert (await ann.call("chat:history", {"room": room}))["messages"][-1] == deleted


async def test_unread_messages_are_counted_until_they_are_read_on_any_device(chat: Chat) -> None:
    person = await chat.person("bob")
    async with chat.user("ann") as ann, chat.socket(person) as desk, chat.socket(person) as phone:
        room = await make_room(ann)
        await post(ann, room, "m0")
        assert (await desk.call("chat:join", {"room": room}))["unread"] == 0
        opened = await phone.receive("chat:room_opened")
        assert opened["room"]["id"] == room
        for number in range(1, 4):
            await post(ann, room, f"m{number}")
            assert (await phone.receive("chat:posted"))["seq"] == number + 1
        state = (await phone.call("chat:open"))["rooms"][0]
        assert (state["read"], state["unread"], state["room"]["last_seq"]) == (1, 3, 4)
        assert await desk.call("chat:read", {"room": room, "seq": 3}) == {"room": room, "read": 3, "unread": 1}
        assert await phone.receive("chat:was_read") == {"room": room, "read": 3, "unread": 1}
        assert (await desk.call("chat:read", {"room": room, "seq": 1}))["read"] == 3
        assert (await desk.call("chat:read", {"room": room, "seq": 9_999}))["unread"] == 0
        await post(phone, room, "p1")
        assert (await phone.call("chat:open"))["rooms"][0]["unread"] == 0


async def test_an_owner_who_leaves_is_followed_and_an_empty_room_goes(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob, chat.user("eve") as eve:
        room = await make_room(ann)
        for one in (bob, eve):
            await one.call("chat:join", {"room": room})
        eve_id = (await eve.call("chat:open"))["user"]["id"]
        await ann.call("chat:set_role", {"room": room, "user": eve_id, "role": "moderator"})
        await bob.receive("chat:role_changed")
        assert await ann.call("chat:leave", {"room": room}) == {"done": True}
        heir = await bob.receive("chat:role_changed")
        assert (heir["user"]["name"], heir["role"]) == ("eve", "owner")
        assert (await bob.receive("chat:left"))["user"]["name"] == "ann"
        for one in (bob, eve):
            await one.call("chat:leave", {"room": room})
        assert (await ann.call("chat:rooms", {}))["rooms"] == []


async def test_only_the_owner_closes_a_room_and_everybody_is_told(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob, chat.user("eve") as eve:
        room = await make_room(ann)
        await bob.call("chat:join", {"room": room})
        await ann.call("chat:invite", {"room": room, "name": "eve"})
        await post(ann, room, "m1")
        assert refused(await bob.call("chat:close", {"room": room})) == "not_allowed"
        await ann.call("chat:close", {"room": room})
        assert await bob.receive("chat:room_gone") == {"room": room, "reason": "closed"}
        assert await eve.receive("chat:uninvited") == {"room": room}
        assert (await eve.call("chat:open"))["invitations"] == []
        assert refused(await bob.call("chat:history", {"room": room})) == "room_refused"


async def test_an_owner_hands_over_and_is_a_moderator(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob:
        room = await make_room(ann)
        await bob.call("chat:join", {"room": room})
        ids = [(await one.call("chat:open"))["user"]["id"] for one in (ann, bob)]
        role = {"room": room, "role": "owner"}
        assert refused(await bob.call("chat:set_role", {**role, "user": ids[0]})) == "not_allowed"
        assert refused(await ann.call("chat:set_role", {**role, "user": ids[0]})) == "not_allowed"
        assert refused(await ann.call("chat:set_role", {**role, "user": "nobody"})) == "no_such_member"
        assert (await ann.call("chat:set_role", {**role, "user": ids[1]}))["role"] == "owner"
        page = await ann.call("chat:members", {"room": room})
        assert [(one["user"]["name"], one["role"]) for one in page["members"]] == [
            ("ann", "moderator"),
            ("bob", "owner"),
        ]


async def test_rooms_and_members_are_listed_by_page(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob, chat.user("eve") as eve:
        for name in ("Alpha", "beta", "gamma 100%", "Gamma_1"):
            await make_room(ann, name)
        names: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await ann.call("chat:rooms", {"size": 3, "after": after})
            names += [room["name"] for room in page["rooms"]]
            after = page["next"]
        assert names == ["Alpha", "beta", "gamma 100%", "Gamma_1"]
        found = await ann.call("chat:rooms", {"search": "GAMMA"})
        assert [room["name"] for room in found["rooms"]] == ["gamma 100%", "Gamma_1"]
        assert [room["name"] for room in (await ann.call("chat:rooms", {"search": "%"}))["rooms"]] == ["gamma 100%"]
        assert refused(await ann.call("chat:create", {"name": " ALPHA "})) == "name_taken"
        room = found["rooms"][0]["id"]
        for one in (bob, eve):
            await one.call("chat:join", {"room": room})
        first = await bob.call("chat:members", {"room": room, "size": 2})
        rest = await bob.call("chat:members", {"room": room, "size": 2, "after": first["next"]})
        assert [one["user"]["name"] for one in first["members"] + rest["members"]] == ["ann", "bob", "eve"]
        assert rest["next"] is None


async def test_typing_is_seen_by_the_others_in_the_room(chat: Chat) -> None:
    async with chat.user("ann") as ann, chat.user("bob") as bob, chat.user("eve") as eve:
        room = await make_room(ann)
        await bob.call("chat:join", {"room": room})
        ann.emit("chat:typing_in", {"room": room})
        seen = await bob.receive("chat:typing")
        assert (seen["room"], seen["user"]["name"], seen["typing"]) == (room, "ann", True)
        assert refused(await eve.call("chat:typing_in", {"room": room})) == "room_refused"


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("chat:post", {"room": "r", "id": "m", "text": ""}),
        ("chat:post", {"room": "r", "id": "m", "text": "x" * (MAX_TEXT + 1)}),
        ("chat:post", {"room": "r", "id": "m", "text": "a\0b"}),
        ("chat:post", {"room": "r", "id": "m" * 65, "text": "x"}),
        ("chat:post", {"room": "r", "id": "m", "text": 7}),
        ("chat:post", {"room": "../../etc", "id": "m", "text": "x"}),
        ("chat:post", None),
        ("chat:create", {"name": "   "}),
        ("chat:create", {"name": "a\u202eb"}),
        ("chat:create", {"name": "den", "private": 1}),
        ("chat:read", {"room": "r", "seq": True}),
        ("chat:read", {"room": "r", "seq": 2**53}),
        ("chat:read", {"room": "r", "seq": -1}),
        ("chat:members", {"room": "r", "size": 1_000}),
        ("chat:rooms", {"search": "x" * 201}),
        ("chat:set_role", {"room": "r", "user": "u", "role": "king"}),
    ],
)
async def test_what_is_malformed_is_refused(tmp_path: object, event: str, payload: object) -> None:
    async with open_chat(f"sqlite:///{tmp_path}/chat.db") as chat, chat.user("ann") as ann:
        answer = await ann.call(event, payload)
        assert refused(answer) == "invalid_payload"
        assert "xxx" not in answer["error"]["message"]
