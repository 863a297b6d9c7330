"""A contract as a page for people: every event with what it carries and what acknowledges it.

Rule: one document without scripts that loads nothing; whatever a docstring or a name
holds is text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from rtserver.contracts.contract import Channel, Contract, Message
from rtserver.contracts.expressions import tags_of
from rtserver.contracts.names import Names, channel_key, plain
from rtserver.contracts.schemas import PREFIX, Schema
from rtserver.contracts.vocabulary import Vocabulary

_HERE = Path(__file__).parent
_NAME = re.compile(r'"(?:[^"\\]|\\.)*"|\w+')
_CODE = re.compile(r"``([^`]+)``")
STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: dict[str, str] = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What the page is answered with."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An event. ``payload`` and ``answer`` are types; empty where there is none."""

    anchor: str
    name: str
    paragraphs: list[Markup]
    typed: bool
    payload: Markup
    answer: Markup
    refusable: bool


@dataclass(frozen=True, slots=True)
class _Section:
    """A namespace."""

    anchor: str
    channel: Channel
    received: list[_Entry]
    sent: list[_Entry]


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: Markup
    required: bool
    description: Markup
    tags: list[str]


@dataclass(frozen=True, slots=True)
class _Type:
    """A named type: its fields, or what it stands for."""

    name: str
    paragraphs: list[Markup]
    fields: list[_Field]
    type: Markup
    tags: list[str]


def page(contract: Contract) -> str:
    """The page, as HTML text.

    Raises:
        ConfigurationError: A payload's type has no JSON Schema.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    writer = _Writer(contract)
    return environment.get_template("page.html").render(
        contract=contract, sections=list(writer.sections()), types=list(writer.types()), style=Markup(STYLE)
    )


class _Writer:
    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._words = Vocabulary(contract)
        self._known = set(self._words.names.values())

    def sections(self) -> Iterator[_Section]:
        anchors = Names(["security", "types", *(f"type-{name}" for name in self._known)])
        for channel in self._contract.channels:
            anchor = anchors.take(channel_key(channel.name, channel.dynamic))
            received = [self._entry(message, anchors, f"{anchor}.receive", True) for message in channel.received]
            sent = [self._entry(message, anchors, f"{anchor}.send", False) for message in channel.sent]
            yield _Section(anchor, channel, received, sent)

    def _entry(self, message: Message, anchors: Names, prefix: str, refusable: bool) -> _Entry:
        payload, answer = "", ""
        if message.payload is not None:
            payload = self._words.of(message.payload)
        if message.ack is not None:
            answer = self._words.answer_of(message) if refusable else self._words.of(message.ack)
        return _Entry(
            anchors.take(f"{prefix}.{plain(message.name)}"),
            message.name,
            _paragraphs(message.description),
            message.event is not None,
            self._linked(payload),
            self._linked(answer),
            refusable,
        )

    def types(self) -> Iterator[_Type]:
        for key, schema in self._words.schemas.components.items():
            name = self._words.names[PREFIX + key]
            paragraphs = _paragraphs(schema.get("description", ""))
            properties = schema.get("properties", {})
            if properties and schema.get("type", "object") == "object":
                required = schema.get("required", ())
                fields = [self._field(field, on, field in required) for field, on in properties.items()]
                yield _Type(name, paragraphs, fields, Markup(), [])
            else:
                yield _Type(name, paragraphs, [], self._linked(self._words.write.of(schema)), tags_of(schema))

    def _field(self, name: str, schema: Schema | bool, required: bool) -> _Field:
        about: Mapping[str, Any] = schema if isinstance(schema, dict) else {}
        kind = self._linked(self._words.write.of(schema))
        return _Field(name, kind, required, Markup(" ").join(_paragraphs(about.get("description", ""))), tags_of(about))

    def _linked(self, expression: str) -> Markup:
        """A type whose names lead to where they are explained."""

        def link(found: re.Match[str]) -> str:
            return f'<a href="#type-{found[0]}">{found[0]}</a>' if found[0] in self._known else str(escape(found[0]))

        parts: list[str] = []
        end = 0
        for found in _NAME.finditer(expression):
            parts += [str(escape(expression[end : found.start()])), link(found)]
            end = found.end()
        return Markup("".join([*parts, str(escape(expression[end:]))]))


def _paragraphs(text: str) -> list[Markup]:
    """A docstring's paragraphs, with what is in double backquotes as code."""
    paragraphs = [str(escape(paragraph)) for paragraph in text.split("\n\n") if paragraph.strip()]
    return [Markup(_CODE.sub(r"<code>\1</code>", paragraph)) for paragraph in paragraphs]
