"""Session ids that say which node of a cluster holds the session.

Rule: only who knows the secret can mint a sid or learn anything from one; everybody
else sees 34 random characters. Nodes and proxies share this module and need no table.

A sid is URL-safe base64 without padding of 25 bytes::

    version (4 bits, 1) + key id (4 bits) | masked slot u16 | masked incarnation u16 | random 12 B | tag 8 B

The key id is public, so that a secret can be replaced while sids of the old one live.
The mask is a keyed hash of the random part: neither topology nor restarts show.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from hashlib import blake2s
from typing import NamedTuple

SID_LENGTH = 34
RANDOM_BYTES = 12
MIN_SECRET_BYTES = 16

_VERSION = 1
_UNSIGNED_BYTES = 17
_TAG_BYTES = 8
_MASK_BYTES = 4
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class Owner(NamedTuple):
    """The node that holds a session.

    Args:
        slot: Which node of the cluster, 0 to 65535.
        incarnation: Which life of that node, 0 to 65535; sessions die with it.
    """

    slot: int
    incarnation: int


class _Key:
    """What one secret gives: a public id, and keyed hashes for the mask and the tag."""

    def __init__(self, secret: str) -> None:
        text = secret.encode("utf-8")
        if len(text) < MIN_SECRET_BYTES:
            # The text is not named: it may be most of the real one.
            raise ValueError(f"a secret of fewer than {MIN_SECRET_BYTES} bytes")
        key = blake2s(text, person=b"rtssid").digest()
        self.first = _VERSION << 4 | blake2s(text, person=b"rtskeyid").digest()[0] & 0x0F
        self._mask = blake2s(key=key, person=b"rtsmask")
        self._tag = blake2s(key=key, person=b"rtstag")

    def masked(self, place: bytes, random: bytes) -> bytes:
        """``place`` (4 bytes) under the mask of ``random``, or freed from it."""
        state = self._mask.copy()
        state.update(random)
        mask = state.digest()[:_MASK_BYTES]
        return (int.from_bytes(place, "big") ^ int.from_bytes(mask, "big")).to_bytes(_MASK_BYTES, "big")

    def tag(self, unsigned: bytes) -> bytes:
        state = self._tag.copy()
        state.update(unsigned)
        return state.digest()[:_TAG_BYTES]


class SidCodec:
    """Mints sids and reads them.

    Args:
        secrets: The first one mints, all of them verify. Each has 16 bytes or more as UTF-8.

    Raises:
        ValueError: There is no secret, or one is too short. The message does not repeat it.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ValueError("no secret")
        self._keys = [_Key(secret) for secret in secrets]

    def mint(self, owner: Owner, random: bytes) -> str:
        """A new sid.

        Args:
            owner: The node that will hold the session.
            random: 12 bytes that nobody can guess and that are used once.

        Raises:
            ValueError: ``random`` has another length, or ``owner`` is out of range.
        """
        if len(random) != RANDOM_BYTES:
            raise ValueError(f"{len(random)} random bytes instead of {RANDOM_BYTES}")
        if not (0 <= owner.slot <= 0xFFFF and 0 <= owner.incarnation <= 0xFFFF):
            raise ValueError(f"{owner!r} does not fit into a sid")
        key = self._keys[0]
        place = (owner.slot << 16 | owner.incarnation).to_bytes(_MASK_BYTES, "big")
        unsigned = bytes((key.first,)) + key.masked(place, random) + random
        return base64.urlsafe_b64encode(unsigned + key.tag(unsigned)).rstrip(b"=").decode("ascii")

    def read(self, sid: str) -> Owner | None:
        """Who holds the session; None when the sid was not minted under one of the secrets.

        Never raises, and compares in constant time.
        """
        if len(sid) != SID_LENGTH or not _ALPHABET.issuperset(sid):
            return None
        # 34 characters of the alphabet always decode.
        wire = base64.urlsafe_b64decode(sid + "==")
        unsigned, tag = wire[:_UNSIGNED_BYTES], wire[_UNSIGNED_BYTES:]
        found: _Key | None = None
        for key in self._keys:
            # All are asked, so that how long it takes does not say which one has minted.
            if hmac.compare_digest(key.tag(unsigned), tag) and key.first == unsigned[0]:
                found = key
        if found is None or base64.urlsafe_b64encode(wire)[:SID_LENGTH].decode("ascii") != sid:
            # The last character has bits that stand for nothing: one sid has one spelling.
            return None
        place = found.masked(unsigned[1:5], unsigned[5:])
        return Owner(int.from_bytes(place[:2], "big"), int.from_bytes(place[2:], "big"))
