"""Typed events decode once, and refuse by path and rule, never by value."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from rtserver import ConfigurationError, EventRefused, event


class Colour(enum.Enum):
    RED = "red"


class Post(msgspec.Struct):
    room: str
    text: str
    size: int = 0
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Named(TypedDict):
    name: str


class Model(pydantic.BaseModel):
    name: str
    age: int


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (Post, {"room": "a", "text": "b"}, Post("a", "b")),
        (Point, {"x": 1, "y": 2}, Point(1, 2)),
        (Named, {"name": "n"}, {"name": "n"}),
        (str, "text", "text"),
        (Model, {"name": "n", "age": 3}, Model(name="n", age=3)),
    ],
)
def test_a_payload_is_decoded_to_its_type(kind: Any, given: Any, expected: Any) -> None:
    assert event("e", kind).decode([given]) == expected


@pytest.mark.parametrize(
    ("kind", "given", "path"),
    [
        (Post, {"room": "a", "text": 7}, "$.text"),
        (Post, {"room": "a"}, "text"),
        (Post, {"room": "a", "text": "b", "size": True}, "$.size"),
        (Post, {"room": "a", "text": "b", "colour": "secret"}, "$.colour"),
        (Point, {"x": 1, "y": "secret"}, "$.y"),
        (Named, {"name": None}, "$.name"),
        (int, True, "bool"),
        (Model, {"name": "n", "age": "secret"}, "$.age"),
        (Model, {"name": "n", "age": True}, "$.age"),
    ],
)
def test_a_wrong_payload_is_refused_by_path_and_not_by_value(kind: Any, given: Any, path: str) -> None:
    with pytest.raises(EventRefused) as caught:
        event("e", kind).decode([given])
    assert caught.value.code == "invalid_payload"
    assert path in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("args", [[], ["a", "b"]])
def test_a_payload_is_one_argument(args: list[str]) -> None:
    with pytest.raises(EventRefused, match="expected one payload"):
        event("e", str).decode(args)


def test_an_event_without_payload_carries_nothing() -> None:
    plain = event("e")
    plain.decode([])
    with pytest.raises(EventRefused, match="no payload"):
        plain.decode(["something"])


def test_an_acknowledgement_is_checked_too() -> None:
    typed = event("e", str, ack=int)
    assert typed.decode_ack([3]) == 3
    with pytest.raises(EventRefused):
        typed.decode_ack(["3"])


@pytest.mark.parametrize("name", ["connect", "disconnect", "disconnecting", "newListener", "removeListener"])
def test_a_reserved_name_is_no_event(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        event(name)
