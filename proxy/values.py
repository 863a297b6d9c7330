"""From what an operator wrote to the value of a setting, or one line that says what is wrong.

Rule: each function takes the name under which the value was given and the value, text from
a flag or a variable, or what TOML has; and raises ``BadSetting`` for whatever is not one.
"""

from __future__ import annotations

import ipaddress
import math
import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, NamedTuple

from proxy.errors import BadSetting
from rtserver.protocol.sid import MIN_SECRET_BYTES

LOG_LEVELS = ("debug", "info", "warning", "error")

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TARGET = re.compile(r"/[!\"$-~]*")

AffinityKind = Literal["sid", "cookie", "address", "header"]


class Affinity(NamedTuple):
    """How a request finds its upstream; ``header`` is the name of one, in lower case, for that kind."""

    kind: AffinityKind
    header: bytes = b""


BY_SID = Affinity("sid")


class Address(NamedTuple):
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class StaticUpstream(NamedTuple):
    """A server that is listed; ``slot`` if it is a node that is known to have that one."""

    address: Address
    slot: int | None = None


def read_address(text: str) -> Address | None:
    """``host:port`` or ``[ipv6]:port``; None for anything else."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > 0xFFFF:
        return None
    return Address(found[1] or found[2], int(found[3]))


def _parts(where: str, value: object, allowed: str) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return [str(part).strip() for part in value]
    raise BadSetting(where, value, allowed)


def addresses(where: str, value: object) -> tuple[str, ...]:
    allowed = "addresses such as 0.0.0.0:8080 or [::]:8080"
    found = _parts(where, value, allowed)
    for part in found:
        if read_address(part) is None:
            raise BadSetting(where, part, allowed)
    return tuple(found)


def upstreams(where: str, value: object) -> tuple[StaticUpstream, ...]:
    allowed = "upstreams such as 10.0.0.1:8000 or, with a node's slot, 3=10.0.0.1:8000"
    found = []
    for part in _parts(where, value, allowed):
        slot, sign, rest = part.rpartition("=")
        address = read_address(rest.removeprefix("http://").rstrip("/"))
        sound = not sign or (slot.isascii() and slot.isdigit() and int(slot) <= 0xFFFF)
        if address is None or not address.port or not sound:
            raise BadSetting(where, part, allowed)
        found.append(StaticUpstream(address, int(slot) if sign else None))
    if len({one.address for one in found}) != len(found):
        raise BadSetting(where, value, "each upstream once")
    return tuple(found)


def admin(where: str, value: object) -> str:
    allowed = "a path of a Unix socket, or a loopback address such as 127.0.0.1:9000"
    text = line(where, value)
    if not text or "/" in text:
        return text
    address = read_address(text)
    try:
        if address is not None and (address.host == "localhost" or ipaddress.ip_address(address.host).is_loopback):
            return text
    except ValueError:
        pass
    raise BadSetting(where, value, allowed)


def networks(where: str, value: object) -> tuple[IPv4Network | IPv6Network, ...]:
    allowed = "networks such as 10.0.0.0/8"
    found = []
    for part in _parts(where, value, allowed):
        try:
            found.append(ipaddress.ip_network(part))
        except ValueError as exc:
            raise BadSetting(where, part, allowed) from exc
    return tuple(found)


def secret(where: str, value: object) -> tuple[str, ...]:
    allowed = f"{MIN_SECRET_BYTES} bytes or more that nobody can guess"
    if not isinstance(value, str | list | tuple):
        raise BadSetting(where, None, allowed)
    found = _parts(where, value, allowed) if all(isinstance(part, str) for part in value) else []
    if not found or any(len(part.encode("utf-8", "replace")) < MIN_SECRET_BYTES for part in found):
        raise BadSetting(where, None, allowed)
    return tuple(found)


def redis_url(where: str, value: object) -> str | None:
    if value == "":
        return None
    if not isinstance(value, str) or value.partition("://")[0] not in ("redis", "rediss", "unix"):
        # It may hold a password.
        raise BadSetting(where, None, "a URL such as redis://localhost:6379/0")
    return value


def affinity(where: str, value: object) -> Affinity:
    match value:
        case "sid" | "cookie" | "address":
            return Affinity(value)
        case str() if value.startswith("header:") and _TOKEN.fullmatch(value.removeprefix("header:")):
            return Affinity("header", value.removeprefix("header:").lower().encode())
        case _:
            raise BadSetting(where, value, "sid, cookie, address or header:NAME")


def cors(where: str, value: object) -> tuple[str, ...] | Literal["*"]:
    if value == "*":
        return "*"
    allowed = '"*" or origins such as https://example.com'
    found = _parts(where, value, allowed)
    for part in found:
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", part.rstrip("/").lower()) or not part.isascii():
            raise BadSetting(where, part, allowed)
    return tuple(part.rstrip("/").lower() for part in found)


def truth(where: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.lower() in ("0", "false", "no", "off", ""):
        return False
    raise BadSetting(where, value, "true or false")


def count(where: str, value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadSetting(where, value, "a whole number of at least 1")
    return value


def optional_count(where: str, value: object) -> int | None:
    return None if value == "" else count(where, value)


def seconds(where: str, value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as exc:
            raise BadSetting(where, value, "seconds above 0") from exc
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BadSetting(where, value, "seconds above 0")
    return float(value)


def line(where: str, value: object) -> str:
    if not isinstance(value, str) or (value and not value.isprintable()):
        raise BadSetting(where, value, "one line of text")
    return value


def token(where: str, value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise BadSetting(where, value, "letters, digits, dashes and underscores")
    return value


def level(where: str, value: object) -> str:
    if value not in LOG_LEVELS:
        raise BadSetting(where, value, ", ".join(LOG_LEVELS))
    return str(value)


def path(where: str, value: object) -> Path | None:
    text = line(where, value)
    return Path(text) if text else None


def file(where: str, value: object) -> Path | None:
    found = path(where, value)
    if found is not None and not found.is_file():
        raise BadSetting(where, value, "a file")
    return found


def request_target(where: str, value: object) -> str:
    if not isinstance(value, str) or not _TARGET.fullmatch(value):
        raise BadSetting(where, value, "a path such as /readyz")
    return value


def target(where: str, value: object) -> str:
    found = request_target(where, value)
    if "?" in found or "%" in found:
        raise BadSetting(where, value, "a path such as /socket.io/")
    return found.rstrip("/") + "/"
