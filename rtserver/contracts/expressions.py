"""JSON Schemas as TypeScript types.

Rule: a type is never narrower than its schema; what TypeScript cannot say (lengths,
bounds, patterns) becomes a tag in the comment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rtserver.contracts.names import is_identifier
from rtserver.contracts.schemas import Schema

_PLAIN = {"boolean": "boolean", "integer": "number", "null": "null", "number": "number", "string": "string"}
_TAGS = (
    "default", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems", "maxLength", "maximum", "minItems",
    "minLength", "minimum", "multipleOf", "pattern", "uniqueItems",
)  # fmt: skip


class Expressions:
    """Writes types.

    Args:
        names: The type's name for each reference.

    Attributes:
        uses_binary: Whether ``Binary`` has been written.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self.uses_binary = False

    def of(self, schema: Schema | bool, indent: str = "") -> str:
        """The type that values of ``schema`` have."""
        if isinstance(schema, bool):
            return "unknown" if schema else "never"
        if "$ref" in schema:
            return self._names[schema["$ref"]]
        if "const" in schema:
            return literal(schema["const"])
        if "enum" in schema:
            return union(literal(value) for value in schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return union(self.of(member, indent) for member in schema[key])
        if "allOf" in schema:
            return " & ".join(_grouped(self.of(member, indent)) for member in schema["allOf"])
        kinds = schema.get("type", [])
        if isinstance(kinds, list):
            return union(self._kind(kind, schema, indent) for kind in kinds) if kinds else self._guessed(schema, indent)
        return self._kind(kinds, schema, indent)

    def declaration(self, reference: str, schema: Schema) -> str:
        """The exported declaration of a named schema."""
        name = self._names[reference]
        about = comment(*_about(schema))
        body = self.of(schema)
        if body.startswith("{\n") and body.endswith("}") and "properties" in schema:
            return f"{about}export interface {name} {body}\n"
        return f"{about}export type {name} = {body};\n"

    def _guessed(self, schema: Schema, indent: str) -> str:
        if "properties" in schema or "additionalProperties" in schema:
            return self._object(schema, indent)
        return self._array(schema, indent) if "items" in schema else "unknown"

    def _kind(self, kind: str, schema: Schema, indent: str) -> str:
        if kind == "string" and schema.get("format") == "binary":
            self.uses_binary = True
            return "Binary"
        if kind == "object":
            return self._object(schema, indent)
        if kind == "array":
            return self._array(schema, indent)
        return _PLAIN.get(kind, "unknown")

    def _array(self, schema: Schema, indent: str) -> str:
        items = schema.get("items", True)
        if not isinstance(items, list):
            return f"{_grouped(self.of(items, indent))}[]"
        least = schema.get("minItems", 0)
        members = [
            self.of(item, indent) if index < least else f"{_grouped(self.of(item, indent))}?"
            for index, item in enumerate(items)
        ]
        rest = schema.get("additionalItems", True)
        if rest is not False:
            members.append(f"...{_grouped(self.of(rest, indent))}[]")
        return f"[{', '.join(members)}]"

    def _object(self, schema: Schema, indent: str) -> str:
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        if not properties:
            if "properties" in schema and not rest:
                return "Record<string, never>"
            return f"Record<string, {self.of(True if rest is None else rest, indent)}>"
        inner = f"{indent}  "
        members = "".join(self._property(name, on, schema, inner) for name, on in properties.items())
        if rest:
            # Whatever else there is must not contradict the known fields.
            members += f"{inner}[name: string]: unknown;\n"
        return f"{{\n{members}{indent}}}"

    def _property(self, name: str, schema: Schema | bool, owner: Schema, indent: str) -> str:
        key = name if is_identifier(name) else literal(name)
        mark = "" if name in owner.get("required", ()) else "?"
        about = comment(*_about(schema), indent=indent) if isinstance(schema, dict) else ""
        return f"{about}{indent}{key}{mark}: {self.of(schema, indent)};\n"


def _about(schema: Schema) -> Iterator[str]:
    if schema.get("description"):
        yield schema["description"]
    if tags := tags_of(schema):
        yield "\n".join(f"@{tag}" for tag in tags)


def tags_of(schema: Mapping[str, Any]) -> list[str]:
    """What TypeScript cannot say: ``maxLength 20``, ``minimum 1``. That of a tuple is in its type."""
    shown = _TAGS if not isinstance(schema.get("items"), list) else ()
    return [f"{tag} {_value(schema[tag])}" for tag in shown if schema.get(tag) not in (None, "binary")]


def _value(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() and value else literal(value)


def literal(value: Any) -> str:
    """A JSON value as TypeScript."""
    return json.dumps(value)


def union(members: Iterable[str]) -> str:
    """Alternatives, each once."""
    distinct = list(dict.fromkeys(members))
    if "unknown" in distinct:
        return "unknown"
    return " | ".join(distinct) if distinct else "never"


def comment(*paragraphs: str, indent: str = "") -> str:
    """A JSDoc comment with its line's end; nothing for no text."""
    text = "\n".join(paragraphs).replace("*/", "*\\/").strip()
    if not text:
        return ""
    lines = text.splitlines()
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    body = "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines)
    return f"{indent}/**\n{body}{indent} */\n"


def _grouped(expression: str) -> str:
    return f"({expression})" if " | " in expression or " & " in expression else expression
