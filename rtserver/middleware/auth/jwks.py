"""The keys of an identity provider, fetched from its JWKS address and kept.

Rule: fetched in a worker thread, one at a time, and never more often than every
``MIN_INTERVAL``, however many unknown key ids clients make up. While it cannot be
fetched, what is known is used on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.request import Request, urlopen

import jwt
import structlog
import trio

from rtserver.errors import ConfigurationError

log = structlog.get_logger("rtserver.auth.jwks")

MIN_INTERVAL = 30.0
MAX_BYTES = 1_000_000
MAX_KEYS = 100
FETCH_TIMEOUT = 5.0


class KeySet:
    """Keys by their id.

    Args:
        url: Of the JWKS document: https, or http on this machine.
        lifetime: Seconds after which the keys are fetched again.
        fetch: Gets the document's bytes; may block, as it runs in a worker thread.

    Raises:
        ConfigurationError: The address is not one that can be trusted.
    """

    def __init__(self, url: str, *, lifetime: float = 3_600.0, fetch: Callable[[str], bytes] | None = None) -> None:
        local = url.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]"))
        if not url.startswith("https://") and not local:
            raise ConfigurationError("jwks url", url, "an https address")
        self._url = url
        self._lifetime = lifetime
        self._fetch = fetch or fetch_document
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._lock: trio.Lock | None = None

    async def key(self, kid: str) -> jwt.PyJWK | None:
        """The key with that id, or None if there is no such key."""
        now = trio.current_time()
        stale = self._fetched_at is None or now - self._fetched_at >= self._lifetime
        if stale or (kid not in self._keys and self._may_fetch(now)):
            await self._refresh()
        return self._keys.get(kid)

    def _may_fetch(self, now: float) -> bool:
        return self._fetched_at is None or now - self._fetched_at >= MIN_INTERVAL

    async def _refresh(self) -> None:
        if self._lock is None:
            self._lock = trio.Lock()
        async with self._lock:
            now = trio.current_time()
            if not self._may_fetch(now):
                # Somebody else has just done so.
                return
            self._fetched_at = now
            try:
                document = await trio.to_thread.run_sync(self._fetch, self._url, abandon_on_cancel=True)
                self._keys = read_keys(document)
            except Exception as exc:  # noqa: BLE001 - whatever a foreign server or the network does
                log.warning("jwks_fetch_failed", url=self._url, reason=str(exc)[:200])


def fetch_document(url: str) -> bytes:
    """Raises ``OSError`` or ``ValueError``."""
    request = Request(url, headers={"Accept": "application/json"})
    with urlopen(request, timeout=FETCH_TIMEOUT) as response:
        document: bytes = response.read(MAX_BYTES + 1)
    if len(document) > MAX_BYTES:
        raise ValueError("the key set is too large")
    return document


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
