"""A contract as an AsyncAPI 3 document.

Rule: the document is the server's: what it ``receive``s, clients send. A message's
payload is the one argument of its event; an acknowledgement is a reply. The same
contract gives the same text.

Source: AsyncAPI specification 3.0.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from rtserver.contracts.contract import Channel, Contract, Message, contract_of
from rtserver.contracts.names import Names, channel_key, plain
from rtserver.contracts.schemas import Schema, Schemas
from rtserver.contracts.vocabulary import schemas_of
from rtserver.server import Server

Document: TypeAlias = dict[str, Any]

REFUSED = "refused"
HOW_TO_READ = """\
Each channel is a Socket.IO namespace, each message an event with its one argument as the payload.

An event that a client sends may be acknowledged: the reply is the argument of the acknowledgement. \
Where the server refuses an event, the acknowledgement is a `Refusal` instead."""


def asyncapi(server: Server) -> str:
    """The AsyncAPI document of a server, as JSON text.

    Raises:
        ConfigurationError: A payload's type has no JSON Schema.
    """
    return json.dumps(document(contract_of(server)), indent=2, ensure_ascii=False) + "\n"


def document(contract: Contract) -> Document:
    """The AsyncAPI document of a contract. Raises as ``asyncapi`` does."""
    schemas, refusal = schemas_of(contract)
    names = Names()
    keys = [names.take(channel_key(channel.name, channel.dynamic)) for channel in contract.channels]
    sections = [_Section(key, channel, schemas) for key, channel in zip(keys, contract.channels, strict=True)]
    found: Document = {
        "asyncapi": "3.0.0",
        "info": {"title": contract.title, "version": contract.version, "description": HOW_TO_READ},
        "defaultContentType": "application/json",
        "servers": {"node": _server(contract)},
        "channels": {section.key: section.channel() for section in sections},
        "operations": {key: operation for section in sections for key, operation in section.operations()},
        "components": {
            "messages": {REFUSED: {"name": REFUSED, "summary": "The event is refused", "payload": refusal}},
            "schemas": schemas.components,
        },
    }
    if contract.security_schemes:
        found["components"]["securitySchemes"] = {key: dict(on) for key, on in contract.security_schemes.items()}
    return found


def _server(contract: Contract) -> Document:
    server: Document = {
        "host": "{host}",
        "protocol": "socketio",
        "protocolVersion": "5",
        "pathname": contract.path,
        "description": "Socket.IO over Engine.IO 4, by WebSocket or HTTP long-polling.",
        "variables": {"host": {"default": "localhost:8000", "description": "Where a node listens."}},
    }
    everywhere = [name for name in contract.security_schemes if all(name in on.security for on in contract.channels)]
    if everywhere:
        server["security"] = _security(everywhere)
    return server


def _security(names: Iterable[str]) -> list[Document]:
    return [{"$ref": f"#/components/securitySchemes/{name}"} for name in names]


class _Section:
    """One channel with its operations."""

    def __init__(self, key: str, channel: Channel, schemas: Schemas) -> None:
        self.key = key
        self._channel = channel
        self._schemas = schemas
        names = Names([REFUSED])
        self._received = [(names.take(plain(message.name)), message) for message in channel.received]
        self._sent = [(self._key_of_sent(message, names), message) for message in channel.sent]

    def _key_of_sent(self, message: Message, names: Names) -> str:
        """An event that goes both ways is one message, if it carries the same."""
        for key, received in self._received:
            if received.name == message.name and received.event == message.event:
                return key
        return names.take(plain(message.name))

    def channel(self) -> Document:
        channel = self._channel
        found: Document = {"address": channel.name, "title": channel.name}
        if channel.dynamic:
            found = {
                "address": None,
                "title": channel.name,
                "description": f"Every namespace whose name matches `{channel.name}`.",
            }
        found["messages"] = dict(self._messages())
        return found

    def _messages(self) -> Iterator[tuple[str, Document]]:
        for key, message in {**dict(self._sent), **dict(self._received)}.items():
            yield key, self._message(message)
            if message.ack is not None:
                name = f"{message.name} acknowledged"
                yield f"{key}.ack", {"name": name, "payload": self._schemas.of(message.ack)}
        if self._received:
            yield REFUSED, {"$ref": f"#/components/messages/{REFUSED}"}

    def _message(self, message: Message) -> Document:
        found: Document = {"name": message.name}
        if message.event is None:
            found["summary"] = "Any arguments: nobody has described them"
            found["payload"] = {}
            found["x-untyped"] = True
        elif message.payload is None:
            found["summary"] = "No argument"
        else:
            found["payload"] = self._schemas.of(message.payload)
        return found

    def operations(self) -> Iterator[tuple[str, Document]]:
        for key, message in self._received:
            replies = [*([f"{key}.ack"] if message.ack is not None else []), REFUSED]
            yield f"{self.key}.receive.{key}", self._operation("receive", key, message, replies)
        for key, message in self._sent:
            replies = [f"{key}.ack"] if message.ack is not None else []
            yield f"{self.key}.send.{key}", self._operation("send", key, message, replies)

    def _operation(self, action: str, key: str, message: Message, replies: list[str]) -> Document:
        channel: Schema = {"$ref": f"#/channels/{self.key}"}
        found: Document = {"action": action, "channel": channel, "title": message.name}
        if message.description:
            found["summary"] = message.summary
            if len(message.description.splitlines()) > 1:
                found["description"] = message.description
        found["messages"] = [self._reference(key)]
        if replies:
            found["reply"] = {"channel": channel, "messages": [self._reference(reply) for reply in replies]}
        if self._channel.security:
            found["security"] = _security(self._channel.security)
        return found

    def _reference(self, key: str) -> Schema:
        return {"$ref": f"#/channels/{self.key}/messages/{key}"}
