"""How much of everything there may be."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from sqlalchemy import update

from rtserver import EventRefused
from rtserver.handlers.accounts.accounts import Accounts
from rtserver.handlers.chat.events import MAX_INVITATIONS, MAX_MEMBERS, MAX_ROOMS, InviteByName, NewRoom
from rtserver.handlers.chat.handlers import ChatServices
from rtserver.handlers.storage.database import Database
from rtserver.handlers.storage.tables import rooms
from tests.handlers.support import open_chat, tokens


async def test_rooms_invitations_and_members_are_bounded(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'chat.db'}")
    accounts, chat = Accounts(database, tokens()), ChatServices.of(database)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run)
        await database.ready.wait()
        ann, bob, eve = [(await accounts.guest(name)).user.id for name in ("ann", "bob", "eve")]
        for number in range(MAX_ROOMS):
            made = await chat.rooms.create(ann, NewRoom(f"room {number}"))
            await chat.invitations.invite(ann, InviteByName(made.state.room.id, "bob"))
        assert len((await chat.rooms.state(ann)).rooms) == MAX_ROOMS
        assert len((await chat.rooms.state(bob)).invitations) == MAX_INVITATIONS
        hall = (await chat.rooms.create(eve, NewRoom("hall"))).state.room.id
        with pytest.raises(EventRefused, match="which is the most"):
            await chat.rooms.create(ann, NewRoom("one more"))
        with pytest.raises(EventRefused, match="which is the most"):
            await chat.rooms.join(ann, hall)
        with pytest.raises(EventRefused, match="too many invitations"):
            await chat.invitations.invite(eve, InviteByName(hall, "bob"))
        full = update(rooms).where(rooms.c.id == hall).values(member_count=MAX_MEMBERS)
        await database.write(lambda connection: connection.execute(full))
        with pytest.raises(EventRefused, match="members at most"):
            await chat.rooms.join(bob, hall)
        nursery.cancel_scope.cancel()


async def test_rates_hold_for_a_user_whatever_the_number_of_tabs(tmp_path: Path) -> None:
    async with open_chat(f"sqlite:///{tmp_path / 'chat.db'}", rates={"chat:create": "3/min"}) as chat:
        person = await chat.person("ann")
        async with chat.socket(person) as desk, chat.socket(person) as phone, chat.user("bob") as bob:
            answers = [
                await (desk, phone)[number % 2].call("chat:create", {"name": f"r{number}"}) for number in range(4)
            ]
            assert ["error" in answer for answer in answers] == [False, False, False, True]
            assert answers[3]["error"]["code"] == "rate_limited"
            assert 0 < answers[3]["error"]["retry_after"] <= 20
            assert "error" not in await bob.call("chat:create", {"name": "hers"})
