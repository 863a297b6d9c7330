"""Accounts over HTTP: ``POST /api/accounts/register``, ``sign-in``, ``guest`` and ``refresh``.

Rule: everything is counted before it costs anything, by address, and sign-ins by name as
well. A refusal is ``{"error": {"code", "message", …}}``, as in an acknowledgement.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from quart import Request, Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from rtserver import EventRefused
from rtserver.handlers.accounts.accounts import MAX_NAME, MAX_PASSWORD, Accounts, Session
from rtserver.handlers.storage.names import name_key
from rtserver.middleware.ratelimit import Buckets, Rate, group, rounded

B = TypeVar("B")

PATH = "/api/accounts"
MAX_BODY = 4_096
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
STATUSES = {
    "invalid_credentials": 401,
    "invalid_token": 401,
    "name_taken": 409,
    "unsupported_type": 415,
    "rate_limited": 429,
    "busy": 503,
    "unavailable": 503,
}


class Credentials(msgspec.Struct, frozen=True):
    """What somebody registers or signs in with."""

    name: str
    password: str


class GuestName(msgspec.Struct, frozen=True):
    """What a guest would like to be called."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class AccountRates:
    """How often something may be asked for.

    Args:
        new: Accounts made, by address; guests too.
        attempts: Sign-ins, by address.
        names: Sign-ins with one name, from wherever.
        refreshes: Tokens exchanged, by address.
    """

    new: Rate | str = "30/hour burst 10"
    attempts: Rate | str = "30/min burst 20"
    names: Rate | str = "60/min burst 20"
    refreshes: Rate | str = "120/min"


@dataclass(slots=True)
class _Limits:
    rates: AccountRates
    clock: Callable[[], float]
    _buckets: dict[str, Buckets] = field(init=False)

    def __post_init__(self) -> None:
        names = ("new", "attempts", "names", "refreshes")
        self._buckets = {name: Buckets(Rate.of(name, getattr(self.rates, name))) for name in names}

    def take(self, name: str, key: str) -> None:
        wait = self._buckets[name].take(key, self.clock())
        if wait:
            raise EventRefused("rate_limited", "too many requests", retry_after=rounded(wait))


def peer_of(request: Request) -> str:
    """The other end of the connection."""
    return request.remote_addr or ""


def create_accounts_app(
    accounts: Accounts,
    *,
    rates: AccountRates | None = None,
    address_of: Callable[[Request], str] = peer_of,
    clock: Callable[[], float] = time.monotonic,
) -> QuartTrio:
    """The application that serves accounts.

    Args:
        accounts: What it serves.
        rates: How often.
        address_of: From where a request comes; the other end of the connection unless given.
        clock: Seconds that only go forward.

    Raises:
        ConfigurationError: A rate cannot be read.
    """
    app = QuartTrio("rtserver.accounts")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    limits = _Limits(rates or AccountRates(), clock)

    @app.post(f"{PATH}/register")
    async def register() -> Response:
        async def answer() -> Session:
            limits.take("new", group(address_of(request)))
            given = await _body(request, Credentials)
            return await accounts.register(given.name, given.password)

        return await _answered(answer)

    @app.post(f"{PATH}/guest")
    async def guest() -> Response:
        async def answer() -> Session:
            limits.take("new", group(address_of(request)))
            return await accounts.guest((await _body(request, GuestName)).name)

        return await _answered(answer)

    @app.post(f"{PATH}/sign-in")
    async def sign_in() -> Response:
        async def answer() -> Session:
            limits.take("attempts", group(address_of(request)))
            given = await _body(request, Credentials)
            limits.take("names", name_key(given.name[: MAX_NAME + 1]))
            return await accounts.sign_in(given.name, given.password[: MAX_PASSWORD + 1])

        return await _answered(answer)

    @app.post(f"{PATH}/refresh")
    async def refresh() -> Response:
        async def answer() -> Session:
            limits.take("refreshes", group(address_of(request)))
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            return await accounts.refresh(token.strip() if scheme.lower() == "bearer" else "")

        return await _answered(answer)

    return app


async def _body(request: Request, kind: type[B]) -> B:
    # A page of another site can send a form, but not this without being asked.
    if request.mimetype != "application/json":
        raise EventRefused("unsupported_type", "expected application/json")
    try:
        return msgspec.json.decode(await request.get_data(), type=kind)
    except msgspec.ValidationError as exc:
        raise EventRefused("invalid_payload", str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise EventRefused("invalid_payload", "malformed JSON") from exc


async def _answered(answer: Callable[[], Awaitable[Session]]) -> Response:
    try:
        session = await answer()
    except EventRefused as refused:
        return _refusal(refused)
    except HTTPException as exc:
        if exc.code != 413:
            raise
        return _refusal(EventRefused("too_large", "the request is too large"), 413)
    return _json(msgspec.json.encode(session), 200, {})


def _refusal(refused: EventRefused, status: int | None = None) -> Response:
    error = {"code": refused.code, "message": refused.message, **refused.details}
    wait = refused.details.get("retry_after")
    more = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
    return _json(msgspec.json.encode({"error": error}), status or STATUSES.get(refused.code, 400), more)


def _json(body: bytes, status: int, more: dict[str, str]) -> Response:
    return Response(body, status, headers={**HEADERS, **more}, content_type="application/json")
