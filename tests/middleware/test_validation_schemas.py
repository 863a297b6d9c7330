"""JSON Schemas of payloads: the path and the rule are told, never the value."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver import ConfigurationError, EventRefused, Server, Socket, event
from rtserver.schema import MAX_PATH, converter
from tests.behaviour.support import Kind, Serve

POST = {
    "type": "object",
    "properties": {
        "room": {"type": "string", "minLength": 1, "maxLength": 5},
        "size": {"type": "integer", "maximum": 10},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
        "either": {"type": ["string", "null"]},
        "mood": {"enum": ["calm", "loud"]},
    },
    "required": ["room"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "pattern": "^[a-z]+$"}},
}
NESTED: dict[str, Any] = {"type": "array", "items": {"$ref": "#"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def refusal(schema: Any, value: Any) -> str:
    with pytest.raises(EventRefused) as caught:
        converter(schema)(value)
    assert caught.value.code == "invalid_payload"
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("secret", "expected type object - at `$`"),
        ({}, "missing required `room` - at `$`"),
        ({"room": ""}, "expected minLength 1 - at `$.room`"),
        ({"room": "secret"}, "expected maxLength 5 - at `$.room`"),
        ({"room": "a", "size": True}, "expected type integer - at `$.size`"),
        ({"room": "a", "size": 1.5}, "expected type integer - at `$.size`"),
        ({"room": "a", "size": 11}, "expected maximum 10 - at `$.size`"),
        ({"room": "a", "tags": ["a", "SECRET"]}, "expected pattern ^[a-z]+$ - at `$.tags[1]`"),
        ({"room": "a", "either": 1}, "expected type string or null - at `$.either`"),
        ({"room": "a", "mood": "secret"}, "breaks the rule enum - at `$.mood`"),
        ({"room": "a", "secret": "secret"}, "breaks the rule additionalProperties - at `$`"),
        ({"room": b"secret"}, "expected type string - at `$.room`"),
    ],
)
def test_what_does_not_fit_is_refused_by_path_and_rule(value: Any, message: str) -> None:
    assert refusal(POST, value) == message


@given(JSON)
def test_any_value_fits_or_is_refused(value: Any) -> None:
    seen = set()
    for schema in (POST, NESTED, {"multipleOf": 0.1}, {"uniqueItems": True}):
        try:
            assert converter(schema)(value) is value
        except EventRefused as refused:
            seen.add(refused.code)
    assert seen <= {"invalid_payload"}


def test_depth_and_size_cannot_make_a_check_fail() -> None:
    deep: list[Any] = []
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    assert refusal(NESTED, deep) == "too large or too deep to be checked"
    assert refusal({"multipleOf": 0.5}, 10**400) == "too large or too deep to be checked"


def test_a_long_key_makes_no_long_path() -> None:
    message = refusal({"additionalProperties": {"type": "string"}}, {"x" * 10_000: 1})
    assert len(message) < MAX_PATH + 50


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "strnig"}, "schema"),
        ({"minLength": "many"}, "schema"),
        ({"$ref": "https://example.com/schema.json"}, "own"),
        ({"items": {"$ref": "file:///etc/passwd"}}, "own"),
        ({"not": {"$ref": "#/$defs/nobody"}}, "own"),
    ],
)
def test_what_is_no_schema_of_its_own_is_refused_at_the_start(schema: Any, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        event("say", schema)


def test_without_the_package_a_schema_is_an_error_and_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigurationError, match=r"rtserver\[jsonschema\]"):
        event("say", {"type": "string"})


async def test_an_event_with_a_json_schema_is_checked_where_it_is_decoded(serve: Serve, kind: Kind) -> None:
    io = Server()
    typed = event("post", POST, ack={"type": "integer"})

    @io.on(typed)
    def post(socket: Socket, draft: Any) -> Any:
        return draft["size"] + 1

    site = await serve(io)
    peer = await site.open(kind)
    await peer.join()
    await peer.send('421["post",{"room":"a","size":2}]')
    assert await peer.receive() == "431[3]"
    await peer.send('422["post",{"room":"a","size":true}]')
    error = '{"code":"invalid_payload","message":"expected type integer - at `$.size`"}'
    assert await peer.receive() == f'432[{{"error":{error}}}]'
