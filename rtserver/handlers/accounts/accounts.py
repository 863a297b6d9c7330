"""Accounts: registered with a name and a password, or as a guest.

Rule: a name belongs to one account whatever the case of its letters, and says nothing that
cannot be seen. Who signs in with a wrong name is told the same as with a wrong password, and
after the same work.
"""

from __future__ import annotations

import time
import unicodedata

import msgspec
from sqlalchemy import Connection, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from rtserver import EventRefused
from rtserver.entropy import random_id
from rtserver.handlers.accounts.passwords import Passwords
from rtserver.handlers.accounts.tokens import SESSION, Issued, Tokens
from rtserver.handlers.storage.database import Database
from rtserver.handlers.storage.names import name_key
from rtserver.handlers.storage.tables import members, messages, users

MIN_NAME = 2
MAX_NAME = 32
MIN_PASSWORD = 8
MAX_PASSWORD = 256
FORGET_AT_ONCE = 500
# The name of the account that ``set_administrator`` makes; nobody can register it.
ADMINISTRATOR = "admin"
ADMIN_SCOPE = "admin"


class Account(msgspec.Struct, frozen=True):
    """An account, as its owner sees it."""

    id: str
    name: str
    scopes: list[str]
    guest: bool


class Session(msgspec.Struct, frozen=True):
    """Somebody has signed in: the token, until when it holds in seconds since the epoch, and who they are."""

    token: str
    expires_at: int
    user: Account


class Accounts:
    """All accounts.

    Every method raises ``EventRefused`` with a code, ``Unavailable`` among them.

    Args:
        database: Where they are.
        tokens: Issues what a session holds.
        passwords: Hashes.
    """

    def __init__(self, database: Database, tokens: Tokens, passwords: Passwords | None = None) -> None:
        self._database = database
        self._tokens = tokens
        self._passwords = passwords or Passwords()

    async def register(self, name: str, password: str) -> Session:
        """Make an account.

        Raises:
            EventRefused: ``invalid_name``, ``invalid_password`` or ``name_taken``.
        """
        name = checked_name(name)
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise EventRefused("invalid_password", f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        _check_encodable(password)
        return await self._create(name, await self._passwords.hash(password))

    async def guest(self, name: str) -> Session:
        """Make an account without a password, which ends with its session.

        Args:
            name: One that nobody has; made up if empty.

        Raises:
            EventRefused: ``invalid_name`` or ``name_taken``.
        """
        return await self._create(checked_name(name) if name.strip() else f"guest-{random_id(6)}", None)

    async def sign_in(self, name: str, password: str) -> Session:
        """Begin a session by password.

        Raises:
            EventRefused: ``invalid_credentials``.
        """
        key = name_key(name)

        def read(connection: Connection) -> tuple[Account, str | None] | None:
            row = connection.execute(select(users).where(users.c.name_key == key)).one_or_none()
            return (
                None if row is None else (_account(row.id, row.name, row.scopes, row.password_hash), row.password_hash)
            )

        found = None
        if len(name) <= MAX_NAME and len(password) <= MAX_PASSWORD and "\0" not in name:
            _check_encodable(name + password)
            found = await self._database.read(read)
        known = None if found is None else found[1]
        right, newer = await self._passwords.check(password[:MAX_PASSWORD], known)
        if found is None or not right:
            raise EventRefused("invalid_credentials", "the name or the password is wrong")
        if newer is not None:
            await self._set(found[0].id, password_hash=newer)
        return self._session(found[0])

    async def refresh(self, token: str) -> Session:
        """Exchange a token that still holds for a newer one, with what the account may do by now.

        Raises:
            EventRefused: ``invalid_token``.
        """
        claims = self._tokens.read(token)

        def read(connection: Connection) -> Account | None:
            row = connection.execute(select(users).where(users.c.id == claims.sub)).one_or_none()
            return None if row is None else _account(row.id, row.name, row.scopes, row.password_hash)

        account = await self._database.read(read)
        if account is None:
            raise EventRefused("invalid_token", "sign in again")
        return self._session(account, claims.auth_time)

    async def set_administrator(self, password: str) -> None:
        """See to it that there is an account ``admin`` with the scope of that name and this password."""
        hashed = await self._passwords.hash(password)
        try:
            await self._create(ADMINISTRATOR, hashed, ADMIN_SCOPE)
        except EventRefused as refused:
            if refused.code != "name_taken":
                raise

            def change(connection: Connection) -> None:
                chosen = update(users).where(users.c.name_key == ADMINISTRATOR)
                connection.execute(chosen.values(password_hash=hashed, scopes=ADMIN_SCOPE))

            await self._database.write(change)

    async def forget_guests(self) -> int:
        """Free the names of guests whose sessions are over and who have left nothing behind: how many.

        At most ``FORGET_AT_ONCE`` of them, the oldest.
        """
        gone = (time.time_ns() // 1_000_000_000 - SESSION) * 1_000

        def change(connection: Connection) -> int:
            old = select(users.c.id).where(users.c.password_hash.is_(None), users.c.created_at < gone)
            old = old.where(~exists().where(messages.c.author_id == users.c.id))
            old = old.where(~exists().where(members.c.user_id == users.c.id))
            found = connection.execute(old.order_by(users.c.created_at).limit(FORGET_AT_ONCE)).scalars().all()
            connection.execute(delete(users).where(users.c.id.in_(found)))
            return len(found)

        return await self._database.write(change)

    async def _create(self, name: str, password_hash: str | None, scopes: str = "") -> Session:
        user_id = random_id(15)
        values = {"id": user_id, "name": name, "name_key": name_key(name), "password_hash": password_hash}
        row = insert(users).values(**values, scopes=scopes, created_at=time.time_ns() // 1_000_000)
        try:
            await self._database.write(lambda connection: connection.execute(row))
        except IntegrityError as exc:
            raise EventRefused("name_taken", "somebody has this name") from exc
        return self._session(_account(user_id, name, scopes, password_hash))

    async def _set(self, user_id: str, **values: str) -> None:
        chosen = update(users).where(users.c.id == user_id).values(**values)
        await self._database.write(lambda connection: connection.execute(chosen))

    def _session(self, account: Account, auth_time: int | None = None) -> Session:
        scope = " ".join(account.scopes)
        issued: Issued = self._tokens.issue(account.id, account.name, scope, guest=account.guest, auth_time=auth_time)
        return Session(issued.token, issued.expires_at, account)


def checked_name(name: str) -> str:
    """A name for a new account.

    Raises:
        EventRefused: It is too short or long, holds what cannot be seen, or is not to be had.
    """
    name = unicodedata.normalize("NFKC", " ".join(name.split()))
    if not MIN_NAME <= len(name) <= MAX_NAME or not name.isprintable():
        raise EventRefused("invalid_name", f"a name has {MIN_NAME} to {MAX_NAME} characters that can be seen")
    if name_key(name) == ADMINISTRATOR:
        raise EventRefused("name_taken", "somebody has this name")
    return name


def _check_encodable(text: str) -> None:
    """JSON can hold halves of characters, which no hash and no database takes."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise EventRefused("invalid_payload", "a text holds what cannot be stored") from exc


def _account(user_id: str, name: str, scopes: str, password_hash: str | None) -> Account:
    return Account(user_id, name, scopes.split(), password_hash is None)
