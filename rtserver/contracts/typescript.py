"""A contract as TypeScript: event maps for ``Socket`` of ``socket.io-client``, and the types that they name.

Rule: types only, nothing to import and nothing that runs; made of the same schemas as
the AsyncAPI document. Event maps are type aliases, because only those fit where an
index signature is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from rtserver.contracts.answers import REFUSAL
from rtserver.contracts.asyncapi import channel_key
from rtserver.contracts.contract import Channel, Contract, Message, contract_of
from rtserver.contracts.expressions import Expressions, comment, literal
from rtserver.contracts.names import Names, pascal
from rtserver.contracts.schemas import PREFIX, Schema, Schemas
from rtserver.server import Server

_TO_CLIENT = "ServerToClientEvents"
_TO_SERVER = "ClientToServerEvents"
_BINARY = "export type Binary = ArrayBuffer | Uint8Array;\n"
_INDENT = "  "
# What the text uses beside the types of payloads.
_KNOWN = ("Answer", "Array", "ArrayBuffer", "Binary", "Record", "Uint8Array")
# What cannot be a parameter's name.
_RESERVED = {
    "arguments", "await", "break", "case", "catch", "class", "const", "continue", "debugger", "default", "delete",
    "do", "else", "enum", "eval", "export", "extends", "false", "finally", "for", "function", "if", "implements",
    "import", "in", "instanceof", "interface", "let", "new", "null", "package", "private", "protected", "public",
    "return", "static", "super", "switch", "this", "throw", "true", "try", "typeof", "var", "void", "while", "with",
    "yield",
}  # fmt: skip
_UNTYPED = "@typescript-eslint/no-explicit-any"
_EMPTY = "@typescript-eslint/no-empty-object-type"


def typescript(server: Server) -> str:
    """The TypeScript types of a server's events, as the text of a module.

    Raises:
        ConfigurationError: A payload's type has no JSON Schema.
    """
    return _Module(contract_of(server)).text()


class _Module:
    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        messages = [message for channel in contract.channels for message in channel.messages]
        self._schemas = Schemas(kind for message in messages for kind in (message.payload, message.ack))
        self._refusal = self._schemas.add("Refusal", REFUSAL)
        prefixes = Names()
        self._prefixes = [prefixes.take(_prefix(channel)) for channel in contract.channels]
        names = Names([*_KNOWN, *(prefix + map_ for prefix in self._prefixes for map_ in (_TO_CLIENT, _TO_SERVER))])
        components = self._schemas.components
        self._names = {PREFIX + key: names.take(pascal(_title(key, on))) for key, on in components.items()}
        self._write = Expressions(self._names)

    def text(self) -> str:
        """The whole module."""
        parts = [*self._maps(), *self._answer(), *self._declarations()]
        about = f"The events of {self._contract.title}, version {self._contract.version}."
        title = comment(f"{about} Made by `rtserver typescript`: do not edit.")
        return self._exceptions() + title + "\n" + "\n".join(parts)

    def _exceptions(self) -> str:
        """What a linter should not mind, if there is any of it."""
        channels = self._contract.channels
        untyped = any(message.event is None for channel in channels for message in channel.messages)
        empty = any(not channel.sent or not channel.received for channel in channels)
        rules = [*([_UNTYPED] if untyped else []), *([_EMPTY] if empty else [])]
        return f"/* eslint-disable {', '.join(rules)} */\n" if rules else ""

    def _maps(self) -> Iterator[str]:
        for prefix, channel in zip(self._prefixes, self._contract.channels, strict=True):
            where = f"namespaces that match `{channel.name}`" if channel.dynamic else f"`{channel.name}`"
            to_client = [self._sent(message) for message in channel.sent]
            to_server = [self._received(message) for message in channel.received]
            yield _map(f"{prefix}{_TO_CLIENT}", f"What a client hears in {where}.", to_client)
            yield _map(f"{prefix}{_TO_SERVER}", f"What a client may send in {where}.", to_server)

    def _sent(self, message: Message) -> str:
        answer = "" if message.ack is None else f"(answer: {self._of(message.ack)}) => void"
        return self._member(message, answer)

    def _received(self, message: Message) -> str:
        if message.ack is None:
            # Of what a handler answers nobody has said anything.
            return self._member(message, "(answer?: unknown) => void", optional=True)
        return self._member(message, f"(answer: Answer<{self._answer_of(message)}>) => void")

    def _answer_of(self, message: Message) -> str:
        """The acknowledgement of a handler that returns None has no argument."""
        schema = self._schemas.of(message.ack)
        members = [member for member in schema.get("anyOf", [schema]) if member.get("type") != "null"]
        if len(members) == len(schema.get("anyOf", [schema])):
            return self._write.of(schema, _INDENT)
        nothing = "null | undefined" if message.answers_itself else "undefined"
        return " | ".join([*(self._write.of(member, _INDENT) for member in members), nothing])

    def _member(self, message: Message, ack: str, *, optional: bool = False) -> str:
        if message.event is None:
            parameters = "...args: any[]"
        else:
            payload = [] if message.payload is None else [f"{self._parameter(message)}: {self._of(message.payload)}"]
            parameters = ", ".join([*payload, *([f"ack{'?' if optional else ''}: {ack}"] if ack else [])])
        about = comment(message.description, indent=_INDENT) if message.description else ""
        return f"{about}{_INDENT}{literal(message.name)}: ({parameters}) => void;\n"

    def _parameter(self, message: Message) -> str:
        """The payload's name: that of its type, if it has one."""
        reference = self._schemas.of(message.payload).get("$ref")
        name = self._names[reference] if reference is not None else "Payload"
        name = name[:1].lower() + name[1:]
        return "payload" if name in _RESERVED or name == "ack" else name

    def _of(self, kind: object) -> str:
        return self._write.of(self._schemas.of(kind), _INDENT)

    def _answer(self) -> Iterator[str]:
        refusal = self._write.of(self._refusal)
        about = "What acknowledges an event: its answer, or why it was refused."
        yield f"{comment(about)}export type Answer<T> = T | {refusal};\n"

    def _declarations(self) -> Iterator[str]:
        declared = [self._write.declaration(PREFIX + key, on) for key, on in self._schemas.components.items()]
        if self._write.uses_binary:
            yield f"{comment('Bytes. Browsers get an ArrayBuffer, Node a Buffer.')}{_BINARY}"
        yield from declared


def _prefix(channel: Channel) -> str:
    return "" if channel.name == "/" else pascal(channel_key(channel))


def _title(key: str, schema: Schema) -> str:
    """What to call a schema: its key, or the title of which a generic class's was made."""
    title = schema.get("title")
    return title if isinstance(title, str) and "[" in title else key


def _map(name: str, about: str, members: list[str]) -> str:
    if not members:
        return f"{comment(about)}export type {name} = {{}};\n"
    body = "\n".join(members) if any("/**" in member for member in members) else "".join(members)
    return f"{comment(about)}export type {name} = {{\n{body}}};\n"
