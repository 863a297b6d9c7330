"""The keys of an identity provider, fetched from its JWKS address and kept.

Rule: fetched in a worker thread, one at a time, from that address alone, and never more
often than every ``MIN_INTERVAL``, however many unknown key ids clients make up. While it
cannot be fetched, what is known is used on. Source: RFC 7517.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import jwt
import structlog
import trio

from rtserver.errors import ConfigurationError, RTServerError

log = structlog.get_logger("rtserver.auth.jwks")

MIN_INTERVAL = 30.0
# After a failure nobody may be let in, so it is tried again sooner.
RETRY_AFTER = 5.0
MAX_BYTES = 1_000_000
MAX_KEYS = 100
FETCH_TIMEOUT = 5.0


class KeysUnavailable(RTServerError):
    """No keys have been fetched yet."""


class KeySet:
    """Keys by their id.

    Args:
        url: Of the JWKS document: https, or http on this machine. A redirection is not followed.
        lifetime: Seconds after which the keys are fetched again.
        fetch: Gets the document's bytes; may block, as it runs in a worker thread.

    Raises:
        ConfigurationError: The address is not one that can be trusted.
    """

    def __init__(self, url: str, *, lifetime: float = 3_600.0, fetch: Callable[[str], bytes] | None = None) -> None:
        if not _trusted(url):
            raise ConfigurationError("jwks url", url, "an https address")
        self._url = url
        self._lifetime = lifetime
        self._fetch = fetch or fetch_document
        self._keys: dict[str, jwt.PyJWK] | None = None
        self._stale_at = 0.0
        self._not_before = 0.0
        self._lock: trio.Lock | None = None
        # A fetch that nobody waits for any more keeps its own thread from the next one, and no other.
        self._threads = trio.CapacityLimiter(1)

    async def key(self, kid: str) -> jwt.PyJWK | None:
        """The key with that id, or None if there is no such key.

        Raises:
            KeysUnavailable: There are no keys at all yet, as they could not be fetched.
        """
        keys, now = self._keys, trio.current_time()
        if (keys is None or now >= self._stale_at or kid not in keys) and now >= self._not_before:
            await self._refresh()
        elif keys is None and self._lock is not None:
            # Somebody else is fetching them for the first time.
            async with self._lock:
                pass
        if self._keys is None:
            raise KeysUnavailable("no keys yet")
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        if self._lock is None:
            self._lock = trio.Lock()
        async with self._lock:
            now = trio.current_time()
            if now < self._not_before:
                # Somebody else has just done so.
                return
            # Also for who gives up waiting: the thread goes on for as long as a fetch may take.
            self._not_before = now + RETRY_AFTER
            try:
                document = await trio.to_thread.run_sync(
                    self._fetch, self._url, abandon_on_cancel=True, limiter=self._threads
                )
                self._keys = read_keys(document)
            except Exception as exc:  # noqa: BLE001 - whatever a foreign server or the network does
                log.warning("jwks_fetch_failed", url=self._url, reason=str(exc)[:200])
            else:
                self._not_before = now + MIN_INTERVAL
                self._stale_at = now + self._lifetime


class _NoRedirection(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> None:
        """Not followed: what answers is then the refusal that a redirection is."""


_opener = build_opener(_NoRedirection)


def fetch_document(url: str, *, timeout: float = FETCH_TIMEOUT) -> bytes:
    """What is at ``url``, if it is there in ``timeout`` seconds and not too large.

    Raises:
        OSError: It cannot be reached, answers with another status, or is too slow.
        ValueError: It is too large.
    """
    deadline = time.monotonic() + timeout
    request = Request(url, headers={"Accept": "application/json"})
    try:
        response = _opener.open(request, timeout=timeout)
    except HTTPError as exc:
        exc.close()
        raise OSError(f"status {exc.code}") from None
    with response:
        document = bytearray()
        # As much as is there, so that a server that drips cannot hold the thread.
        while chunk := response.read1(65_536):
            document += chunk
            if len(document) > MAX_BYTES:
                raise ValueError("the key set is too large")
            if time.monotonic() > deadline:
                raise TimeoutError("the key set came too slowly")
    return bytes(document)


def read_keys(document: bytes) -> dict[str, jwt.PyJWK]:
    """The signature keys of a JWKS document that this library understands, by id.

    Raises:
        ValueError: It is not such a document.
    """
    entries = json.loads(document)
    found = entries.get("keys") if isinstance(entries, dict) else None
    if not isinstance(found, list):
        raise ValueError("not a key set")
    keys: dict[str, jwt.PyJWK] = {}
    for entry in found[:MAX_KEYS]:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        # A shared secret has no place in a public document.
        if not isinstance(kid, str) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            continue
        try:
            keys[kid] = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    return keys


def _trusted(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and host in ("127.0.0.1", "::1", "localhost"))
    )
