"""Sids: what they say to those who know the secret, and that they say nothing to others."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtserver.protocol.sid import Owner, SidCodec

SECRET = "a secret of some length"
OTHER = "another secret, as long"
RANDOM = bytes(range(12))
u16 = st.integers(0, 0xFFFF)

# Fixed for ever: a node of one version must read what a proxy of another has passed on.
ROWS = [
    ((SECRET, Owner(0, 0), bytes(12)), "FrPCtL0AAAAAAAAAAAAAAAC5OFl8b9rwpQ"),
    ((SECRET, Owner(3, 7), RANDOM), "FqXARPsAAQIDBAUGBwgJCgucGOooKF_DFQ"),
    ((OTHER, Owner(0xFFFF, 0xFFFF), RANDOM), "GT3TFZsAAQIDBAUGBwgJCgsRl-lrLdqR5Q"),
]


@pytest.mark.parametrize(("given_", "sid"), ROWS)
def test_a_sid_is_minted_and_read_as_it_always_was(given_: tuple[str, Owner, bytes], sid: str) -> None:
    secret, owner, random = given_
    codec = SidCodec([secret])
    assert codec.mint(owner, random) == sid
    assert codec.read(sid) == owner


@given(owner=st.builds(Owner, u16, u16), random=st.binary(min_size=12, max_size=12))
def test_every_sid_is_34_url_safe_characters_and_names_its_owner(owner: Owner, random: bytes) -> None:
    codec = SidCodec([SECRET])
    sid = codec.mint(owner, random)
    assert re.fullmatch(r"[A-Za-z0-9_-]{34}", sid)
    assert codec.read(sid) == owner


def test_a_sid_shows_neither_its_node_nor_that_two_share_one() -> None:
    codec = SidCodec([SECRET])
    wires = [base64.urlsafe_b64decode(codec.mint(Owner(1, 1), bytes([n]) * 12) + "==") for n in range(64)]
    assert len({wire[1:5] for wire in wires}) == 64
    assert not any(wire[1:3] == b"\x00\x01" for wire in wires)


@given(position=st.integers(0, 33), character=st.sampled_from("ABMZabmz059-_"))
def test_a_sid_with_one_other_character_is_nobodys(position: int, character: str) -> None:
    codec = SidCodec([SECRET])
    sid = codec.mint(Owner(3, 7), RANDOM)
    forged = sid[:position] + character + sid[position + 1 :]
    assert codec.read(forged) == (Owner(3, 7) if forged == sid else None)


def test_only_one_spelling_of_a_sid_is_known() -> None:
    codec = SidCodec([SECRET])
    sid = codec.mint(Owner(3, 7), RANDOM)
    wire = base64.urlsafe_b64decode(sid + "==")
    others = [sid[:-1] + last for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
    same_bytes = [other for other in others if base64.urlsafe_b64decode(other + "==") == wire]
    assert len(same_bytes) == 16
    assert [other for other in same_bytes if codec.read(other) is not None] == [sid]


def test_a_secret_can_be_replaced_while_sids_of_the_old_one_live() -> None:
    old, new = SidCodec([SECRET]), SidCodec([OTHER, SECRET])
    sid = old.mint(Owner(3, 7), RANDOM)
    assert new.read(sid) == Owner(3, 7)
    assert old.read(new.mint(Owner(3, 7), RANDOM)) is None
    assert SidCodec([OTHER]).read(new.mint(Owner(3, 7), RANDOM)) == Owner(3, 7)


def test_the_version_and_the_key_id_are_signed_too() -> None:
    codec = SidCodec([SECRET])
    wire = bytearray(base64.urlsafe_b64decode(codec.mint(Owner(3, 7), RANDOM) + "=="))
    assert wire[0] >> 4 == 1
    wire[0] ^= 0x30
    assert codec.read(base64.urlsafe_b64encode(bytes(wire)).decode().rstrip("=")) is None


@given(st.text(max_size=40) | st.text("ABab01-_", min_size=34, max_size=34))
@example("+" * 34)
@example("/" * 34)
@example("é" * 34)
@example("")
def test_text_that_was_never_minted_is_nobodys(text: str) -> None:
    assert SidCodec([SECRET, OTHER]).read(text) is None


@pytest.mark.parametrize("secrets", [[], [""], ["fifteen bytes.."], [SECRET, "short"]])
def test_secrets_that_can_be_guessed_are_refused_without_being_repeated(secrets: list[str]) -> None:
    with pytest.raises(ValueError, match="secret") as refused:
        SidCodec(secrets)
    assert not any(secret and secret in str(refused.value) for secret in secrets)


@pytest.mark.parametrize(
    ("owner", "random"),
    [
        (Owner(0x10000, 0), RANDOM),
        (Owner(0, 0x10000), RANDOM),
        (Owner(-1, 0), RANDOM),
        (Owner(0, -1), RANDOM),
        (Owner(0, 0), bytes(11)),
    ],
)
def test_what_does_not_fit_is_not_minted(owner: Owner, random: bytes) -> None:
    with pytest.raises(ValueError, match=r"fit|random"):
        SidCodec([SECRET]).mint(owner, random)
