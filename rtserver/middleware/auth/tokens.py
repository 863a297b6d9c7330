"""Authentication by tokens: signed ones (JWT), and opaque ones that the server knows.

Rule: which algorithms are good is said by the server, never by the token. Source:
RFC 7519, and RFC 8725 for what has gone wrong elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jwt

from rtserver.core.handshake import Handshake
from rtserver.errors import ConfigurationError
from rtserver.middleware.auth.auth import Auth, Denied, Unavailable, User
from rtserver.middleware.auth.binding import Shown, Source
from rtserver.middleware.auth.jwks import KeySet, KeysUnavailable

Keys: TypeAlias = "str | bytes | Mapping[str, str | bytes] | KeySet"

ALGORITHMS = frozenset(
    [
        "HS256",
        "HS384",
        "HS512",
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "ES512",
        "EdDSA",
    ]
)
MAX_TOKEN = 8_192
MIN_SECRET = 32


class JWTAuth(Auth):
    """Users by signed tokens.

    Args:
        keys: A secret or public key (PEM); several by their ``kid``; or a ``KeySet``.
        algorithms: Those that are accepted, of one family: secrets must not verify what keys sign.
        audience: What ``aud`` must hold, if anything.
        issuer: What ``iss`` must be, if anything.
        leeway: Seconds by which clocks may differ.
        sources: Where tokens are looked for, in this order: the ``auth`` of the CONNECT
            packet (``token``), the ``Authorization`` header, or a cookie.
        cookie: The cookie's name. Browsers send cookies along with what any page asks for, so
            they count only for pages of the host itself and of ``cookie_origins``.
        cookie_origins: Other pages whose users are known by the cookie, such as ``https://example.com``.
        options: See ``Auth``.

    Raises:
        ConfigurationError: A key is too short, or an algorithm or source is unknown.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        algorithms: Sequence[str] = ("HS256",),
        audience: str | Sequence[str] | None = None,
        issuer: str | Sequence[str] | None = None,
        leeway: float = 5.0,
        sources: Sequence[Source] = ("auth", "header"),
        cookie: str = "token",
        cookie_origins: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self._keys = _checked_keys(keys, algorithms)
        self._algorithms = list(algorithms)
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        self._sources = _checked_sources(sources)
        self._cookie = Cookie(cookie, frozenset(origin.rstrip("/").lower() for origin in cookie_origins))
        super().__init__(self._who, check_refresh=self._who_now, **options)

    def security_scheme(self) -> dict[str, Any]:
        """How clients authenticate, as AsyncAPI describes it."""
        return {"type": "httpApiKey", "in": "header", "name": "auth.token", "description": "A JSON Web Token"}

    def shown(self, handshake: Handshake) -> Shown | None:
        return shown_with_requests(handshake, self._sources, self._cookie)

    def _who(self, handshake: Handshake) -> User | Awaitable[User]:
        return self._read(find_token(handshake, self._sources, self._cookie).token)

    def _who_now(self, handshake: Handshake) -> User | Awaitable[User]:
        # Headers and cookies are those of the handshake: a newer token comes with the event.
        return self._read(find_token(handshake, ("auth",), self._cookie).token)

    def _read(self, token: str) -> User | Awaitable[User]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as exc:
            raise Denied("malformed token") from exc
        kid = header.get("kid")
        if header.get("alg") not in self._algorithms:
            raise Denied("algorithm not allowed")
        if isinstance(self._keys, KeySet):
            return self._verify_later(token, kid, self._keys)
        key = self._keys.get(kid if isinstance(kid, str) else None)
        if key is None:
            key = self._keys.get(None)
        if key is None:
            raise Denied("unknown key")
        return self._verify(token, key)

    async def _verify_later(self, token: str, kid: object, keys: KeySet) -> User:
        try:
            key = await keys.key(kid) if isinstance(kid, str) else None
        except KeysUnavailable as exc:
            raise Unavailable("the keys could not be fetched yet") from exc
        if key is None:
            raise Denied("unknown key")
        if key.algorithm_name not in self._algorithms:
            raise Denied("algorithm not allowed")
        return self._verify(token, key.key)

    def _verify(self, token: str, key: Any) -> User:
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["sub", "exp"], "verify_aud": self._audience is not None},
            )
        except jwt.PyJWTError as exc:
            raise Denied(f"{type(exc).__name__}") from exc
        except (ValueError, TypeError, OverflowError) as exc:
            raise Denied("malformed token") from exc
        if not isinstance(claims["sub"], str):
            raise Denied("a subject that is no text")
        return User(claims["sub"], _scopes(claims), claims, float(claims["exp"]) + self._leeway)


class TokenAuth(Auth):
    """Users by opaque tokens that the server holds, for services.

    Tokens are kept and compared as digests, so how long a comparison takes tells nothing.

    Args:
        users: The users by their tokens.
        options: ``sources`` as for ``JWTAuth``; the rest as for ``Auth``.

    Raises:
        ConfigurationError: A token is shorter than 16 characters.
    """

    def __init__(
        self, users: Mapping[str, User | str], *, sources: Sequence[Source] = ("auth", "header"), **options: Any
    ) -> None:
        if any(len(token) < 16 for token in users):
            raise ConfigurationError("token", "…", "at least 16 characters")
        self._users = {_digest(token): user if isinstance(user, User) else User(user) for token, user in users.items()}
        self._sources = _checked_sources(sources)
        super().__init__(self._who, check_refresh=self._who_now, **options)

    def security_scheme(self) -> dict[str, Any]:
        """How clients authenticate, as AsyncAPI describes it."""
        return {"type": "httpApiKey", "in": "header", "name": "auth.token", "description": "A token of the server's"}

    def shown(self, handshake: Handshake) -> Shown | None:
        return shown_with_requests(handshake, self._sources, Cookie("token"))

    def _who(self, handshake: Handshake) -> User | None:
        return self._users.get(_digest(find_token(handshake, self._sources, Cookie("token")).token))

    def _who_now(self, handshake: Handshake) -> User | None:
        return self._users.get(_digest(find_token(handshake, ("auth",), Cookie("token")).token))


class Cookie(NamedTuple):
    """A cookie that holds a token, and the pages that may send it from elsewhere."""

    name: str
    origins: frozenset[str] = frozenset()


def find_token(handshake: Handshake, sources: Sequence[Source], cookie: Cookie) -> Shown:
    """The token that a client shows.

    Raises:
        Denied: It shows none, or one that is too long.
    """
    for source in sources:
        token: Any = None
        match source:
            case "auth":
                token = handshake.auth.get("token")
            case "header":
                scheme, _, credentials = handshake.headers.get("authorization", "").partition(" ")
                token = credentials.strip() if scheme.lower() == "bearer" else None
            case "cookie":
                token = handshake.cookies.get(cookie.name)
                if token and not handshake.same_origin and (handshake.origin or "").lower() not in cookie.origins:
                    raise Denied("a cookie from another site")
        if token is not None:
            if not isinstance(token, str) or not token or len(token) > MAX_TOKEN or not token.isascii():
                raise Denied("malformed token")
            return Shown(token, source)
    raise Denied("no token")


def shown_with_requests(handshake: Handshake, sources: Sequence[Source], cookie: Cookie) -> Shown | None:
    """The token by which a client is known, if it comes with every request of it."""
    try:
        shown = find_token(handshake, sources, cookie)
    except Denied:
        return None
    return None if shown.source == "auth" else shown


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    given = claims.get("scope", claims.get("scopes", ()))
    scopes = given.split() if isinstance(given, str) else given
    return (
        frozenset(scope for scope in scopes if isinstance(scope, str))
        if isinstance(scopes, list | tuple)
        else frozenset()
    )


def _checked_keys(keys: Keys, algorithms: Sequence[str]) -> KeySet | dict[str | None, str | bytes]:
    if not algorithms or isinstance(algorithms, str) or not ALGORITHMS.issuperset(algorithms):
        raise ConfigurationError("algorithms", algorithms, f"some of {', '.join(sorted(ALGORITHMS))}")
    symmetric = {algorithm.startswith("HS") for algorithm in algorithms}
    if len(symmetric) > 1:
        raise ConfigurationError("algorithms", algorithms, "either those of secrets (HS…) or those of keys")
    if isinstance(keys, KeySet):
        if True in symmetric:
            raise ConfigurationError("algorithms", algorithms, "those of keys, as a key set has no secrets")
        return keys
    named: dict[str | None, str | bytes] = {}
    if isinstance(keys, str | bytes):
        named[None] = keys
    else:
        named.update(keys.items())
    for key in named.values():
        pem = "-----BEGIN" in (key if isinstance(key, str) else key.decode("latin-1"))
        if True in symmetric and (pem or len(key) < MIN_SECRET):
            raise ConfigurationError("keys", "…", f"secrets of at least {MIN_SECRET} characters")
        if False in symmetric and not pem:
            raise ConfigurationError("keys", "…", "public keys in PEM form")
    return named


def _checked_sources(sources: Sequence[Source]) -> tuple[Source, ...]:
    if isinstance(sources, str) or not sources or not {"auth", "header", "cookie"}.issuperset(sources):
        raise ConfigurationError("sources", sources, "some of auth, header, cookie")
    return tuple(sources)
