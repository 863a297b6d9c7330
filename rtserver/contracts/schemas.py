"""The JSON Schemas of payloads and acknowledgements, whatever they were declared with.

Rule: schemas are of draft 07, which is what AsyncAPI's are, and refer only to one
another. Bytes are ``{"type": "string", "format": "binary"}``: they travel beside the
JSON, so no encoding is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from rtserver.contracts.docstrings import clean, split_fields
from rtserver.contracts.names import Names, plain
from rtserver.errors import ConfigurationError

Schema: TypeAlias = dict[str, Any]
Rename: TypeAlias = Callable[[str], str]

PREFIX = "#/components/schemas/"
BINARY: Schema = {"type": "string", "format": "binary"}

_ONE = ("additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then")
_LISTS = ("allOf", "anyOf", "items", "oneOf")
_MAPS = ("patternProperties", "properties")
_LOCAL = re.compile(r"#/(?:\$defs|definitions)/([^/]+)")


class Schemas:
    """Schemas by type, and the named ones that they refer to.

    Args:
        kinds: Types: those that msgspec knows, pydantic models, or JSON Schemas as mappings. They must be
            kept for as long as this is, since a schema is found by its type's identity.

    Raises:
        ConfigurationError: A type has no schema.
    """

    def __init__(self, kinds: Iterable[Any]) -> None:
        self._named: dict[str, Schema] = {}
        self._names = Names()
        self._by_kind: dict[int, Schema] = {}
        distinct = {id(kind): kind for kind in kinds if kind is not None}
        plain_kinds = [kind for kind in distinct.values() if not _is_model(kind) and not isinstance(kind, Mapping)]
        self._add_plain(plain_kinds)
        for kind in distinct.values():
            if _is_model(kind):
                self._by_kind[id(kind)] = self._add_model(kind)
            elif isinstance(kind, Mapping):
                self._by_kind[id(kind)] = self._add_given(kind)

    @property
    def components(self) -> dict[str, Schema]:
        """The named schemas, by name."""
        return dict(sorted(self._named.items()))

    def of(self, kind: Any) -> Schema:
        """The schema of one of the types that were given."""
        return self._by_kind[id(kind)]

    def add(self, name: str, schema: Schema) -> Schema:
        """Name one more schema, by ``name`` or one like it if that is taken; returns the reference to it."""
        taken = self._names.take(name)
        self._named[taken] = schema
        return _reference(taken)

    def resolve(self, schema: Schema) -> Schema:
        """What a schema refers to, or the schema itself."""
        reference = schema.get("$ref")
        return schema if reference is None else self._named[reference.removeprefix(PREFIX)]

    def _add_plain(self, kinds: list[Any]) -> None:
        try:
            schemas, components = msgspec.json.schema_components(kinds, ref_template="{name}")
        except (NameError, TypeError) as exc:
            raise ConfigurationError("payload", _culprit(kinds), "a type that has a JSON Schema") from exc
        names = {name: self._names.take(plain(name)) for name in components}
        rename = names.__getitem__
        for name, schema in components.items():
            self._named[names[name]] = _tidied(schema, rename, named=True)
        for kind, schema in zip(kinds, schemas, strict=True):
            self._by_kind[id(kind)] = _tidied(schema, rename)

    def _add_model(self, kind: Any) -> Schema:
        schema: Schema = dict(kind.model_json_schema(ref_template="{model}"))
        definitions: dict[str, Schema] = schema.pop("$defs", {})
        if "$ref" not in schema:
            definitions[kind.__name__] = schema
            schema = {"$ref": kind.__name__}
        return _tidied(schema, self._add_definitions(definitions, lambda reference: reference))

    def _add_given(self, given: Mapping[str, Any]) -> Schema:
        schema: Schema = dict(given)
        schema.pop("$schema", None)
        schema.pop("$id", None)
        definitions: dict[str, Schema] = {**schema.pop("definitions", {}), **schema.pop("$defs", {})}
        title = str(schema.get("title") or "Payload")

        def target(reference: str) -> str:
            found = _LOCAL.fullmatch(reference)
            name = title if reference == "#" else found[1] if found is not None else None
            if name not in definitions:
                raise ConfigurationError("$ref", reference, "a reference to one of the schema's own $defs")
            return name

        if schema.get("title") or '"#"' in msgspec.json.encode(schema).decode():
            definitions[title] = schema
            schema = {"$ref": "#"}
        return _tidied(schema, self._add_definitions(definitions, target))

    def _add_definitions(self, definitions: dict[str, Schema], target: Rename) -> Rename:
        """Name schemas that refer to one another; one that is there already, and says the same, is not added."""
        names = {name: plain(name) for name in definitions}

        def rename(reference: str) -> str:
            return names[target(reference)]

        for name, schema in definitions.items():
            if self._named.get(names[name]) != _tidied(schema, rename, named=True):
                names[name] = self._names.take(names[name])
        for name, schema in definitions.items():
            self._named[names[name]] = _tidied(schema, rename, named=True)
        return rename


def _is_model(kind: Any) -> bool:
    return hasattr(kind, "model_json_schema")


def _culprit(kinds: list[Any]) -> Any:
    for kind in kinds:
        try:
            msgspec.json.schema(kind)
        except (NameError, TypeError):
            return kind
    return kinds


def _reference(name: str) -> Schema:
    return {"$ref": PREFIX + name}


def _tidy(schema: Any, rename: Rename) -> Any:
    """A schema, which may be just a boolean. See ``_tidied``."""
    return _tidied(schema, rename) if isinstance(schema, Mapping) else schema


def _tidied(schema: Mapping[str, Any], rename: Rename, *, named: bool = False) -> Schema:
    """A schema of whatever draft as one of draft 07, with references to the named ones."""
    tidy: Schema = dict(schema)
    tidy.pop("discriminator", None)
    if not named:
        tidy.pop("title", None)
    if tidy.get("contentEncoding") == "base64":
        return {**BINARY, **_without(tidy, "contentEncoding", "type")}
    if "prefixItems" in tidy:
        _as_tuple(tidy)
    for key in _ONE:
        if key in tidy and not isinstance(tidy[key], list):
            tidy[key] = _tidy(tidy[key], rename)
    for key in _LISTS:
        if isinstance(tidy.get(key), list):
            tidy[key] = [_tidy(member, rename) for member in tidy[key]]
    for key in _MAPS:
        if key in tidy:
            tidy[key] = {name: _tidy(member, rename) for name, member in tidy[key].items()}
    if isinstance(tidy.get("description"), str):
        _describe(tidy)
    if "$ref" in tidy:
        reference = _reference(rename(tidy.pop("$ref")))
        # What stands beside a reference does not count in draft 07.
        return {"allOf": [reference], **tidy} if tidy else reference
    return tidy


def _as_tuple(schema: Schema) -> None:
    members = schema.pop("prefixItems")
    rest = schema.pop("items", schema.get("maxItems") != len(members))
    schema["items"] = list(members)
    if rest is not True:
        schema["additionalItems"] = rest


def _describe(schema: Schema) -> None:
    """Give the fields what a docstring says of them."""
    text, fields = split_fields(clean(schema["description"]))
    properties = schema.get("properties", {})
    if not fields or not properties:
        schema["description"] = clean(schema["description"])
        return
    schema["description"] = text
    for name, about in fields.items():
        if isinstance(properties.get(name), dict):
            properties[name] = _with_description(properties[name], about)


def _with_description(schema: Schema, text: str) -> Schema:
    if "description" in schema:
        return schema
    if "$ref" in schema:
        return {"allOf": [schema], "description": text}
    return {**schema, "description": text}


def _without(schema: Schema, *keys: str) -> Schema:
    return {key: value for key, value in schema.items() if key not in keys}
