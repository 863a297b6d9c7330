"""Schemas of types from several libraries in one document, and what has none."""

from __future__ import annotations

import enum
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from rtserver import ConfigurationError
from rtserver.contracts.docstrings import split_fields
from rtserver.contracts.schemas import Schemas


class Colour(enum.Enum):
    RED = "red"


class Inner(msgspec.Struct):
    colour: Colour


class Outer(BaseModel):
    colour: Colour
    inner: Part


class Part(BaseModel):
    data: bytes = b""


class Whole(BaseModel):
    part: Part


def other_inner() -> Any:
    class Inner(BaseModel):
        other: int

    return Inner


def names_of(*kinds: Any) -> list[str]:
    return list(Schemas(kinds).components)


def test_models_that_say_the_same_are_one_schema() -> None:
    assert names_of(Outer, Whole, Part) == ["Colour", "Outer", "Part", "Whole"]


def test_models_that_only_share_a_name_are_two() -> None:
    kinds = [Inner, other_inner(), {"title": "Inner", "type": "string"}]
    schemas = Schemas(kinds)
    assert list(schemas.components) == ["Colour", "Inner", "Inner2", "Inner3"]
    found = [schemas.components[schemas.of(kind)["$ref"].rpartition("/")[2]] for kind in kinds]
    assert [sorted(schema.get("properties", [])) for schema in found] == [["colour"], ["other"], []]


def test_bytes_are_binary_and_not_base64() -> None:
    binary = {"type": "string", "format": "binary"}
    assert Schemas([bytes]).of(bytes) == binary
    assert Schemas([Part]).components["Part"]["properties"]["data"] == {**binary, "default": ""}


def test_a_schema_that_refers_to_itself_has_a_name() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    schemas = Schemas([tree])
    assert schemas.of(tree) == {"$ref": "#/components/schemas/Payload"}
    items = schemas.components["Payload"]["properties"]["children"]["items"]
    assert items == {"$ref": "#/components/schemas/Payload"}


def test_a_schema_without_a_name_stays_where_it_is() -> None:
    given = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "it", "type": "string", "maxLength": 3}
    schemas = Schemas([given])
    assert schemas.of(given) == {"type": "string", "maxLength": 3}
    assert schemas.components == {}


def test_what_is_no_schema_but_a_value_is_left_alone() -> None:
    value = {"$ref": "#/nowhere", "title": "It", "description": "  It.", "prefixItems": 1}
    given = {"const": value, "default": value, "enum": [value], "examples": [value]}
    assert Schemas([given]).of(given) == given


def test_properties_may_have_the_names_of_keywords() -> None:
    names = ("$ref", "title", "properties", "items", "discriminator", "prefixItems", "description", "contentEncoding")
    given = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    assert Schemas([given]).of(given) == given


@pytest.mark.parametrize("reference", ["https://example.com/it.json", "#/properties/a", "#/$defs/nothing", "it"])
def test_a_reference_to_something_else_is_refused(reference: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\$ref"):
        Schemas([{"type": "array", "items": {"$ref": reference}}])


class Unfinished(msgspec.Struct):
    it: Nowhere  # type: ignore[name-defined]  # noqa: F821


class Strange:
    pass


@pytest.mark.parametrize("kind", [Strange, list[Strange], Unfinished, {1: "not a type"}.keys])
def test_a_type_without_a_schema_is_named(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="payload"):
        Schemas([str, kind, int])


@pytest.mark.parametrize(
    ("docstring", "text", "fields"),
    [
        ("It.", "It.", {}),
        ("It.\n\nArgs:\n    a: On\n        two lines.\n    b: On one.", "It.", {"a": "On two lines.", "b": "On one."}),
        ("It.\n\nAttributes:\n    a (int): First.\n\nMore.", "It.\n\nMore.", {"a": "First."}),
        ("It.\n\nArgs:\n  a: Loosely.", "It.\n\nArgs:\n  a: Loosely.", {}),
        ("It.\n\nRaises:\n    Error: It fails.", "It.\n\nRaises:\n    Error: It fails.", {}),
    ],
)  # fmt: skip
def test_a_docstring_is_text_and_fields(docstring: str, text: str, fields: dict[str, str]) -> None:
    assert split_fields(docstring) == (text, fields)
