"""A contract as TypeScript: event maps for ``Socket`` of ``socket.io-client``, and the types that they name.

Rule: types only, nothing to import and nothing that runs; made of the same schemas as
the AsyncAPI document. Event maps are type aliases, because only those fit where an
index signature is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from rtserver.contracts.contract import Contract, Message, contract_of
from rtserver.contracts.expressions import comment, literal
from rtserver.contracts.schemas import PREFIX
from rtserver.contracts.vocabulary import INDENT, TO_CLIENT, TO_SERVER, Vocabulary
from rtserver.server import Server

_BINARY = "export type Binary = ArrayBuffer | Uint8Array;\n"
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
        self._words = Vocabulary(contract)

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
        for prefix, channel in zip(self._words.prefixes, self._contract.channels, strict=True):
            where = f"namespaces that match `{channel.name}`" if channel.dynamic else f"`{channel.name}`"
            to_client = [self._sent(message) for message in channel.sent]
            to_server = [self._received(message) for message in channel.received]
            yield _map(f"{prefix}{TO_CLIENT}", f"What a client hears in {where}.", to_client)
            yield _map(f"{prefix}{TO_SERVER}", f"What a client may send in {where}.", to_server)

    def _sent(self, message: Message) -> str:
        answer = "" if message.ack is None else f"(answer: {self._words.of(message.ack)}) => void"
        return self._member(message, answer)

    def _received(self, message: Message) -> str:
        if message.ack is None:
            # Of what a handler answers nobody has said anything.
            return self._member(message, "(answer?: unknown) => void", optional=True)
        return self._member(message, f"(answer: Answer<{self._words.answer_of(message)}>) => void")

    def _member(self, message: Message, ack: str, *, optional: bool = False) -> str:
        if message.event is None:
            parameters = "...args: any[]"
        else:
            payload = (
                []
                if message.payload is None
                else [f"{self._words.parameter(message)}: {self._words.of(message.payload)}"]
            )
            parameters = ", ".join([*payload, *([f"ack{'?' if optional else ''}: {ack}"] if ack else [])])
        about = comment(message.description, indent=INDENT) if message.description else ""
        return f"{about}{INDENT}{literal(message.name)}: ({parameters}) => void;\n"

    def _payload(self, message: Message) -> Iterator[str]:
        if message.payload is not None:
            yield f"{self._words.parameter(message)}: {self._words.of(message.payload)}"

    def _answer(self) -> Iterator[str]:
        refusal = self._words.write.of(self._words.refusal)
        about = "What acknowledges an event: its answer, or why it was refused."
        yield f"{comment(about)}export type Answer<T> = T | {refusal};\n"

    def _declarations(self) -> Iterator[str]:
        declared = [
            self._words.write.declaration(PREFIX + key, on) for key, on in self._words.schemas.components.items()
        ]
        if self._words.write.uses_binary:
            yield f"{comment('Bytes. Browsers get an ArrayBuffer, Node a Buffer.')}{_BINARY}"
        yield from declared


def _map(name: str, about: str, members: list[str]) -> str:
    if not members:
        return f"{comment(about)}export type {name} = {{}};\n"
    body = "\n".join(members) if any("/**" in member for member in members) else "".join(members)
    return f"{comment(about)}export type {name} = {{\n{body}}};\n"
