"""Values against what they were declared to be: a type, or a JSON Schema.

Rule: what is wrong is told by its path and the rule that it breaks, never by its value. A
boolean is no number. JSON Schemas refer to nothing outside themselves.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import msgspec

from rtserver.errors import ConfigurationError, EventRefused

Convert: TypeAlias = Callable[[Any], Any]

CODE = "invalid_payload"
# A path may hold keys that the client has chosen.
MAX_PATH = 200


def converter(kind: Any) -> Convert:
    """A function that gives a value as ``kind`` wants it, or raises ``EventRefused``.

    Args:
        kind: A type that msgspec knows, a pydantic model, or a JSON Schema as a mapping.

    Raises:
        ConfigurationError: It is a mapping that is no JSON Schema, or ``jsonschema`` is not installed.
    """
    if isinstance(kind, Mapping):
        return _json_schema(kind)
    # Pydantic is optional, so its models are known by what they can do.
    if hasattr(kind, "model_validate"):
        return partial(_convert_pydantic, kind)
    return partial(_convert, kind)


def _convert(kind: Any, value: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise EventRefused(CODE, _without_value(str(exc))) from exc


def _convert_pydantic(kind: Any, value: Any) -> Any:
    try:
        return kind.model_validate(value, strict=True)
    except ValueError as exc:
        errors = getattr(exc, "errors", None)
        if errors is None:
            raise EventRefused(CODE, "invalid payload") from exc
        first = errors(include_input=False, include_url=False, include_context=False)[0]
        raise EventRefused(CODE, f"{first['type']} - at `{path_of(first['loc'])}`") from exc


def path_of(parts: Any) -> str:
    """Where in a value, in msgspec's way of writing it: ``$.users[3].name``."""
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return path if len(path) <= MAX_PATH else f"{path[:MAX_PATH]}…"


def _without_value(message: str) -> str:
    """msgspec quotes the value of a wrong enumeration member; a refusal must not."""
    for beginning in ("Invalid enum value", "Invalid value"):
        if message.startswith(f"{beginning} "):
            _, at, path = message.rpartition(" - at ")
            return f"{beginning}{at}{path}" if at else beginning
    return message


# JSON Schemas.


def _json_schema(schema: Mapping[str, Any]) -> Convert:
    try:
        # Optional, and slow to load: only where there is a schema.
        jsonschema = importlib.import_module("jsonschema")
        referencing = importlib.import_module("referencing.jsonschema")
        unresolvable = importlib.import_module("referencing.exceptions").Unresolvable
    except ImportError as exc:
        raise ConfigurationError("schema", dict(schema), "rtserver[jsonschema] to be installed for it") from exc
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as exc:
        raise ConfigurationError("schema", exc.message, f"a JSON Schema, at {path_of(exc.path)}") from exc
    # A registry of its own fetches nothing.
    registry = referencing.EMPTY_REGISTRY
    resource = referencing.Resource.from_contents(schema, referencing.DRAFT202012)
    resolver = registry.with_resource("", resource).resolver()
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except (unresolvable, ValueError) as exc:
            raise ConfigurationError("$ref", reference, "a reference to one of the schema's own $defs") from exc
    return partial(_check, kind(schema, registry=registry, format_checker=kind.FORMAT_CHECKER))


def _references(schema: Any) -> list[str]:
    if isinstance(schema, Mapping):
        own = [schema[key] for key in ("$ref", "$dynamicRef") if isinstance(schema.get(key), str)]
        return own + [found for value in schema.values() for found in _references(value)]
    return [found for value in schema for found in _references(value)] if isinstance(schema, (list, tuple)) else []


def _check(validator: Any, value: Any) -> Any:
    try:
        error = next(validator.iter_errors(value), None)
    except (ArithmeticError, RecursionError) as exc:
        # A number beyond all floats, or more levels than can be followed.
        raise EventRefused(CODE, "too large or too deep to be checked") from exc
    if error is None:
        return value
    # ``error`` quotes the value, so nothing of it goes on but path and rule.
    raise EventRefused(CODE, f"{_rule(error)} - at `{path_of(error.absolute_path)}`") from None


def _rule(error: Any) -> str:
    rule, expected = error.validator, error.validator_value
    if rule is None:
        return "nothing is allowed"
    if rule == "required":
        missing = next(name for name in expected if name not in error.instance)
        return f"missing required `{missing}`"
    simple = isinstance(expected, (str, int, float)) and not isinstance(expected, bool)
    if rule == "type" and not simple:
        return f"expected type {' or '.join(expected)}"
    return f"expected {rule} {expected}" if simple else f"breaks the rule {rule}"
