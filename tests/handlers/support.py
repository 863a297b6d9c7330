"""The application in this process, and users of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import quart_trio
import trio
from argon2 import PasswordHasher

from rtserver import Server
from rtserver.client import ClientSocket
from rtserver.handlers.accounts.http import AccountRates
from rtserver.handlers.accounts.tokens import Tokens
from rtserver.handlers.app import create_chat
from rtserver.handlers.settings import ChatSettings
from rtserver.testing import InProcessServer, open_server
from rtserver.types import Secret

PATIENCE = 10.0
SECRET = "a secret of the tests, long enough to be one"
# As cheap as Argon2 can be: what these tests are about is not its strength.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
FREELY = AccountRates(new="1000/s", attempts="1000/s", names="1000/s", refreshes="1000/s")


def settings_for(url: str, **more: Any) -> ChatSettings:
    given: dict[str, Any] = {"folder": Path("/nonexistent"), "secret": Secret(SECRET), "rates": FREELY, **more}
    return ChatSettings(database_url=Secret(url), **given)


@dataclass(frozen=True)
class Person:
    """Somebody with an account."""

    id: str
    name: str
    token: str


@dataclass(frozen=True)
class Chat:
    """The application at work."""

    server: InProcessServer

    @property
    def io(self) -> Server:
        return self.server.io

    async def http(
        self, path: str, body: Any = None, *, token: str | None = None, more: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], Any]:
        """POST to the accounts: status, headers (names in lower case) and what was answered."""
        app = self.io.http_app
        assert isinstance(app, quart_trio.QuartTrio)
        given = {"Content-Type": "application/json", **(more or {})}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else json.dumps(body)
        answer = await app.test_client().post(f"/api/accounts/{path}", data=data, headers=given)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status_code, headers, await answer.get_json()

    async def until_stored(self) -> None:
        """Wait until the database answers."""
        # A user who is not there: unavailable until there is somewhere to look.
        probe = tokens().issue("nobody", "Nobody", "", guest=True).token
        with trio.fail_after(PATIENCE):
            while (await self.http("refresh", {}, token=probe))[0] != 401:
                await trio.lowlevel.checkpoint()

    async def person(self, name: str) -> Person:
        """A guest of this name."""
        status, _, session = await self.http("guest", {"name": name})
        assert status == 200, session
        return Person(session["user"]["id"], name, session["token"])

    @asynccontextmanager
    async def socket(self, person: Person, *, opened: bool = True) -> AsyncIterator[ClientSocket]:
        """A device of somebody, by which they have opened the chat."""
        async with self.server.socket("/chat", auth={"token": person.token}) as socket:
            if opened:
                answer = await socket.call("chat:open")
                assert "error" not in answer, answer
            yield socket

    @asynccontextmanager
    async def user(self, name: str) -> AsyncIterator[ClientSocket]:
        async with self.socket(await self.person(name)) as socket:
            yield socket


@asynccontextmanager
async def open_chat(
    url: str, *, settings: ChatSettings | None = None, wait: bool = True, **options: Any
) -> AsyncIterator[Chat]:
    """The application on a database; without ``wait`` not only once that is ready."""
    io = create_chat(settings or settings_for(url), **{"rates": {}, **options})
    async with open_server(io) as server:
        chat = Chat(server)
        if wait:
            await chat.until_stored()
        yield chat


def refused(answer: Any) -> str:
    """The code of a refusal."""
    code: str = answer["error"]["code"]
    return code


def tokens() -> Tokens:
    """Issues what the application takes for its own."""
    return Tokens(SECRET)
