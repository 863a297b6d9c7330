"""The bundled application as one server: accounts, chat, presence and the cluster's view.

Rule: this is where domains meet; they know nothing of one another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Unpack

import quart
import trio

from rtserver import Middleware, Server
from rtserver.adapters.base import AdapterFactory
from rtserver.config import Options
from rtserver.handlers import greeting
from rtserver.handlers.accounts.accounts import Accounts
from rtserver.handlers.accounts.http import create_accounts_app, peer_of
from rtserver.handlers.accounts.tokens import ALGORITHM, AUDIENCE, ISSUER, Tokens
from rtserver.handlers.admin import handlers as admin
from rtserver.handlers.admin import official
from rtserver.handlers.chat import handlers as chat
from rtserver.handlers.chat.sockets import name_of, room_key
from rtserver.handlers.presence import handlers as presence
from rtserver.handlers.settings import ChatSettings
from rtserver.handlers.storage.database import Database, Unavailable
from rtserver.middleware import Permissions, Rate, RateLimit, allow
from rtserver.middleware.auth import JWTAuth
from rtserver.middleware.connection_limits import ConnectionLimits
from rtserver.middleware.validation import Validation
from rtserver.pages import serve_pages
from rtserver.transports.forwarded import believe
from rtserver.transports.request import Request

# By user, whatever the number of their devices.
RATES = {
    "chat:open": "30/min",
    "chat:create": "10/min",
    "chat:join": "60/min burst 30",
    "chat:invite": "30/min burst 10",
    "chat:post": "60/min burst 20",
    "chat:edit": "60/min burst 20",
    "chat:history": "10/s burst 40",
    "chat:read": "5/s burst 20",
    "chat:typing_in": "2/s burst 10",
}

# Which rooms a user may enter is for the chat's own guard to say, which knows the members.
RULES = (
    allow("event", ("chat:*", "presence:*")),
    allow("event", "cluster:*", scopes=[admin.SCOPE]),
    allow("enter", room_key("*")),
    allow("emit", room_key("*")),
)
ADMIN_UI, ADMIN_UI_USER = "/admin-ui", "admin"
PER_ADDRESS = 1_000
PER_USER = 20
MAX_SIZE = 20_000
MAX_DEPTH = 4
FORGET_EVERY = 3_600.0


def create_chat(
    settings: ChatSettings | None = None,
    *,
    adapter: AdapterFactory | None = None,
    rates: Mapping[str, Rate | str] = RATES,
    **options: Unpack[Options],
) -> Server:
    """The chat as a server. ``rtserver serve rtserver.handlers.app:io`` serves it.

    Args:
        settings: Where it keeps things; from the environment unless given.
        adapter: The way to other nodes; as for ``Server`` unless given.
        rates: Of events by name, for each user.
        options: Settings of the server.

    Raises:
        ConfigurationError: A setting cannot be used.
        OSError: The secret cannot be kept.
    """
    settings = settings or ChatSettings.from_environment()
    database = Database(settings.where())
    secret = settings.signing_secret()
    accounts = Accounts(database, Tokens(secret))
    auth = JWTAuth(secret, algorithms=(ALGORITHM,), audience=AUDIENCE, issuer=ISSUER)
    permissions = Permissions(RULES)
    middleware: list[Middleware] = [
        ConnectionLimits(per_address=PER_ADDRESS),
        auth,
        ConnectionLimits(per_user=PER_USER, oldest_goes=True),
        RateLimit(rates, by="user"),
        permissions,
        Validation(max_size=MAX_SIZE, max_depth=MAX_DEPTH),
    ]
    options.setdefault("api_title", "rtserver chat")
    options.setdefault("connection_state_recovery", True)
    io = Server(adapter=adapter, middleware=middleware, **options)
    app = create_accounts_app(accounts, rates=settings.rates, address_of=partial(_address_of, io))
    serve_pages(app)
    io.http_app = app
    io.background(database.run)
    io.background(partial(_forget_guests, database, accounts))
    attendance = presence.Attendance(io.of(chat.NAMESPACE), room_key, name_of)
    chat.register(io, chat.ChatServices.of(database), attendance)
    presence.register(io, attendance, room_key)
    greeting.register(io)
    admin.register(io, disconnect_user=io.disconnect_user)
    if settings.admin_ui_password is not None:
        # Its page has a password of its own; whoever comes by it is no user of the chat.
        official.instrument(
            io,
            username=ADMIN_UI_USER,
            password=settings.admin_ui_password.reveal(),
            namespace=ADMIN_UI,
            mode=settings.admin_ui_mode,
            exempt_from=(auth, permissions),
        )
    password = settings.admin_password
    if password is not None:

        @io.background
        async def make_administrator() -> None:
            await _make_administrator(database, accounts, password.reveal())

    return io


def _address_of(io: Server, asked: quart.Request) -> str:
    """From where a request comes: as the proxies that the server trusts tell it, as for Engine.IO."""
    forwarded = {"x-forwarded-for": ", ".join(asked.headers.getlist("X-Forwarded-For"))}
    seen = Request(asked.method, asked.path, "", forwarded, b"")
    seen.peer = peer_of(asked)
    believe(seen, io.config.trusted_proxies)
    return seen.peer


async def _make_administrator(database: Database, accounts: Accounts, password: str) -> None:
    while True:
        await database.ready.wait()
        try:
            await accounts.set_administrator(password)
        except Unavailable:
            await trio.sleep(1)
        else:
            return


async def _forget_guests(database: Database, accounts: Accounts) -> None:
    while True:
        await database.ready.wait()
        # A database that is away has guests for another hour.
        with contextlib.suppress(Unavailable):
            await accounts.forget_guests()
        await trio.sleep(FORGET_EVERY)


io = create_chat
