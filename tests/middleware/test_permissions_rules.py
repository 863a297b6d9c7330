"""What rules say, without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver import ConfigurationError
from rtserver.middleware import Permissions, allow, deny
from rtserver.middleware.auth import User

ANN = User("ann", frozenset(["chat", "staff"]))
BOB = User("bob", frozenset(["chat"]))


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("room", "room", True),
        ("room", "rooms", False),
        ("room", "Room", False),
        ("*", "", True),
        ("*", "anything\n\0", True),
        ("room:*", "room:", True),
        ("room:*", "room", False),
        ("*:room", "a:room", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "acb", False),
        ("a*b*b", "ab", False),
        ("a**c", "abc", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("user:{user}", "user:ann", True),
        ("user:{user}", "user:bob", False),
        ("user:{user}:*", "user:ann:inbox", True),
        ("{user}-{user}", "ann-ann", True),
        ("{user}", "{user}", False),
    ],
)
def test_names_have_stars_and_the_user_and_nothing_else(pattern: str, name: str, fits: bool) -> None:
    assert allow("enter", pattern).fits(ANN, name) is fits


def test_a_star_in_the_id_of_a_user_is_no_star() -> None:
    rule = allow("enter", "user:{user}")
    assert rule.fits(User("*"), "user:*")
    assert not rule.fits(User("*"), "user:ann")
    assert not rule.fits(User("{user}*"), "user:ann")


def test_rules_about_users_speak_of_nobody_who_is_not_known() -> None:
    for rule in (allow("enter", "{user}"), allow("enter", users=["ann"]), allow("enter", scopes=["chat"])):
        assert not rule.fits(None, "None")
        assert not rule.fits(None, "")
        assert not rule.fits(object(), "")


def test_every_scope_that_is_named_is_needed() -> None:
    rule = allow("enter", scopes=["chat", "staff"])
    assert rule.fits(ANN, "x")
    assert not rule.fits(BOB, "x")


def decide(rules: list[Any], user: Any, action: Any, name: str) -> Any:
    permissions = Permissions(rules)
    return permissions._decide(action, user, name, permissions._rules)


def test_the_first_rule_that_fits_decides_and_none_refuses() -> None:
    rules = [
        deny("enter", "room:closed"),
        allow("enter", "room:staff", scopes=["staff"]),
        deny("enter", "room:staff"),
        allow("enter", "room:*"),
    ]
    assert decide(rules, ANN, "enter", "room:staff") is True
    assert decide(rules, BOB, "enter", "room:staff") is False
    assert decide(rules, ANN, "enter", "room:closed") is False
    assert decide(rules, BOB, "enter", "room:open") is True
    assert decide(rules, ANN, "enter", "hall") is None
    assert decide(rules, ANN, "emit", "room:open") is None


@given(st.lists(st.sampled_from(["a", "b", "*", "ab", "{user}"]), max_size=6).map("".join), st.text("abn*", max_size=8))
def test_what_is_kept_of_rules_about_an_event_says_the_same(pattern: str, name: str) -> None:
    rules = [
        deny("event", pattern, users=["bob"]),
        allow("enter"),
        allow("event", pattern),
        deny("event", "b*"),
        allow("event", scopes=["staff"]),
    ]
    permissions = Permissions(rules)
    for user in (ANN, BOB, None):
        kept = permissions._about_event(name)
        assert permissions._decide("event", user, name, kept) is decide(rules, user, "event", name)


@pytest.mark.parametrize(
    ("setting", "make"),
    [
        ("action", lambda: allow("leave")),  # type: ignore[arg-type]
        ("names", lambda: allow("enter", [])),
        ("users", lambda: allow("enter", users="ann")),
        ("scopes", lambda: deny("enter", scopes="staff")),
        ("rules", lambda: Permissions([("enter", "*")])),  # type: ignore[list-item]
    ],
)
def test_rules_that_say_nothing_are_refused(setting: str, make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{setting}: "):
        make()
