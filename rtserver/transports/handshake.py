"""What an Engine.IO request asks for, and the answers to those that cannot have it.

Rule: every refusal is one row of the table in the reference's answers, made once.
Source: engine.io 6.6, ``Server.errorMessages`` and ``verify``.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_plus

import msgspec

from rtserver.config import Config, Cookie
from rtserver.types import TransportName

JSON = ("Content-Type", "application/json")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the reference's error table."""

    code: int
    message: str
    status: int = 400

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"code": self.code, "message": self.message})


UNKNOWN_TRANSPORT = Refusal(0, "Transport unknown")
UNKNOWN_SID = Refusal(1, "Session ID unknown")
BAD_HANDSHAKE_METHOD = Refusal(2, "Bad handshake method")
BAD_REQUEST = Refusal(3, "Bad request")
FORBIDDEN = Refusal(4, "Forbidden", 403)
UNSUPPORTED_VERSION = Refusal(5, "Unsupported protocol version")

# What a repeated parameter reads as: no transport, version or sid is called so.
REPEATED = "\0repeated"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The query parameters that the engine looks at; None for those that are missing."""

    version: str | None
    transport: str | None
    sid: str | None


def read_parameters(query: str) -> Parameters:
    """Find the engine's parameters in a query, in one pass."""
    found: dict[str, str | None] = {"EIO": None, "transport": None, "sid": None}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in found:
            found[name] = value if found[name] is None else REPEATED
    return Parameters(found["EIO"], found["transport"], found["sid"])


def read_query(query: str) -> dict[str, str]:
    """Every parameter of a query, decoded; the last of a repeated one."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


def open_packet(config: Config, sid: str, transport: TransportName) -> str:
    """The first packet of a session.

    Source: Engine.IO protocol v4, "Handshake": exactly these keys.
    """
    upgradable = transport == "polling" and config.allow_upgrades and "websocket" in config.transports
    upgrades = '["websocket"]' if upgradable else "[]"
    interval, timeout = round(config.ping_interval * 1000), round(config.ping_timeout * 1000)
    return (
        f'{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":{interval},'
        f'"pingTimeout":{timeout},"maxPayload":{config.max_http_buffer_size}}}'
    )


def set_cookie(cookie: Cookie, sid: str) -> tuple[str, str]:
    """The ``Set-Cookie`` header of a polling handshake."""
    parts = [f"{cookie.name}={sid}"]
    if cookie.max_age is not None:
        parts.append(f"Max-Age={cookie.max_age}")
    parts.append(f"Path={cookie.path}")
    if cookie.http_only:
        parts.append("HttpOnly")
    if cookie.secure:
        parts.append("Secure")
    parts.append(f"SameSite={cookie.same_site.capitalize()}")
    return ("Set-Cookie", "; ".join(parts))
