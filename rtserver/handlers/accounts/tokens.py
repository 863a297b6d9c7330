"""The tokens that accounts issue, and the secret that signs them.

Rule: a token holds for ``LIFETIME`` and can be exchanged for a newer one for ``SESSION``
after the password was given; then it must be given again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jwt
import msgspec

from rtserver import ConfigurationError, EventRefused

ALGORITHM = "HS256"
ISSUER = "rtserver"
AUDIENCE = "rtserver-chat"
LIFETIME = 3_600
SESSION = 30 * 86_400
MIN_SECRET = 32
MAX_TOKEN = 8_192


class Claims(msgspec.Struct, frozen=True):
    """What a token says. Times are seconds since the epoch."""

    sub: str
    name: str
    scope: str
    guest: bool
    iat: int
    exp: int
    auth_time: int
    iss: str = ISSUER
    aud: str = AUDIENCE


@dataclass(frozen=True, slots=True)
class Issued:
    """A token, and until when it holds in seconds since the epoch."""

    token: str
    expires_at: int


class Tokens:
    """Issues tokens and reads those that it has issued.

    Args:
        secret: Signs; at least 32 characters.
        lifetime: Seconds that a token holds.
        clock: Seconds since the epoch.

    Raises:
        ConfigurationError: The secret is too short.
    """

    def __init__(self, secret: str, *, lifetime: int = LIFETIME, clock: Callable[[], float] = time.time) -> None:
        if len(secret) < MIN_SECRET:
            raise ConfigurationError("RTSERVER_CHAT_SECRET", "…", f"at least {MIN_SECRET} characters")
        self._secret = secret
        self._lifetime = lifetime
        self._clock = clock

    def issue(self, user_id: str, name: str, scope: str, *, guest: bool, auth_time: int | None = None) -> Issued:
        """A token for a user.

        Args:
            user_id: Whose.
            name: As others see it.
            scope: What it allows, separated by spaces.
            guest: Whether the user has no password.
            auth_time: When the password was given, in seconds since the epoch; now unless given.
        """
        now = int(self._clock())
        expires_at = now + self._lifetime
        claims = Claims(user_id, name, scope, guest, now, expires_at, now if auth_time is None else auth_time)
        return Issued(jwt.encode(msgspec.to_builtins(claims), self._secret, ALGORITHM), expires_at)

    def read(self, token: str) -> Claims:
        """What a token says.

        Raises:
            EventRefused: With the code ``invalid_token``: it is none of ours, or does not hold any more.
        """
        try:
            if len(token) > MAX_TOKEN:
                raise jwt.InvalidTokenError("too long")
            claims = jwt.decode(token, self._secret, [ALGORITHM], audience=AUDIENCE, issuer=ISSUER)
            known = msgspec.convert(claims, Claims)
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError) as exc:
            raise EventRefused("invalid_token", "sign in again") from exc
        if known.auth_time + SESSION < self._clock():
            raise EventRefused("invalid_token", "sign in again")
        return known


def load_secret(file: Path) -> str:
    """The secret in a file that nobody else may read; made up if there is no such file.

    Several nodes may ask at once: they get the same.

    Raises:
        OSError: The file can be neither read nor made.
        ConfigurationError: What is in it is too short.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        own = file.with_name(f".{file.name}-{secrets.token_hex(8)}")
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as writing:
            writing.write(secrets.token_urlsafe(48))
        # A link, unlike a renaming, does not take the place of what another node has made.
        with contextlib.suppress(FileExistsError):
            os.link(own, file)
        own.unlink()
    secret = file.read_text(encoding="ascii").strip()
    if len(secret) < MIN_SECRET:
        raise ConfigurationError(str(file), "…", f"at least {MIN_SECRET} characters")
    return secret
