"""How a contract is put into words: the schemas of its types, and their names in TypeScript.

Rule: a name is taken once in a document, whatever payloads are called; a client may get
a refusal from every server, so its schema is always there.
"""

from __future__ import annotations

from rtserver.contracts.contract import Channel, Contract, Message
from rtserver.contracts.expressions import Expressions
from rtserver.contracts.names import Names, channel_key, pascal
from rtserver.contracts.schemas import PREFIX, Schema, Schemas

TO_CLIENT = "ServerToClientEvents"
TO_SERVER = "ClientToServerEvents"
INDENT = "  "
_NULL: Schema = {"type": "null"}
# What TypeScript's text uses beside the types of payloads.
_KNOWN = ("Answer", "Array", "ArrayBuffer", "Binary", "Record", "Uint8Array")
# What cannot be a parameter's name.
_RESERVED = {
    "arguments", "await", "break", "case", "catch", "class", "const", "continue", "debugger", "default", "delete",
    "do", "else", "enum", "eval", "export", "extends", "false", "finally", "for", "function", "if", "implements",
    "import", "in", "instanceof", "interface", "let", "new", "null", "package", "private", "protected", "public",
    "return", "static", "super", "switch", "this", "throw", "true", "try", "typeof", "var", "void", "while", "with",
    "yield",
}  # fmt: skip

REFUSAL: Schema = {
    "title": "Refusal",
    "description": "Why an event was refused. Further fields may say more.",
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "For programs."},
                "message": {"type": "string", "description": "For people."},
                "retry_after": {"type": "number", "description": "Seconds after which to try again."},
            },
            "required": ["code", "message"],
            "additionalProperties": True,
        }
    },
    "required": ["error"],
}


def schemas_of(contract: Contract) -> tuple[Schemas, Schema]:
    """The schemas of every payload and acknowledgement, and a reference to that of a refusal.

    Raises:
        ConfigurationError: A type has none.
    """
    messages = [message for channel in contract.channels for message in channel.messages]
    schemas = Schemas(kind for message in messages for kind in (message.payload, message.ack))
    return schemas, schemas.add("Refusal", REFUSAL)


class Vocabulary:
    """TypeScript's words for a contract.

    Raises:
        ConfigurationError: A type has no JSON Schema.

    Attributes:
        schemas: Of every type.
        refusal: A reference to the schema of a refusal.
        prefixes: Of the names of each channel's event maps.
        names: The type's name for each reference.
        write: Writes types with these names.
    """

    def __init__(self, contract: Contract) -> None:
        self.schemas, self.refusal = schemas_of(contract)
        prefixes = Names()
        self.prefixes = [prefixes.take(_prefix(channel)) for channel in contract.channels]
        names = Names([*_KNOWN, *(prefix + end for prefix in self.prefixes for end in (TO_CLIENT, TO_SERVER))])
        components = self.schemas.components
        self.names = {PREFIX + key: names.take(pascal(_title(key, on))) for key, on in components.items()}
        self.write = Expressions(self.names)

    def of(self, kind: object) -> str:
        """The type of a payload, or of what a client answers."""
        return self.write.of(self.schemas.of(kind), INDENT)

    def answer_of(self, message: Message) -> str:
        """The type of what a server answers. Where a handler returns None, that is nothing, not ``null``."""
        schema = self.schemas.of(message.ack)
        members = schema.get("anyOf", [schema])
        if _NULL not in members:
            return self.of(message.ack)
        nothing = "null | undefined" if message.answers_itself else "undefined"
        return " | ".join([*(self.write.of(member, INDENT) for member in members if member != _NULL), nothing])

    def parameter(self, message: Message) -> str:
        """The payload's name: that of its type, if it has one."""
        reference = self.schemas.of(message.payload).get("$ref")
        name = self.names[reference] if reference is not None else "Payload"
        name = name[:1].lower() + name[1:]
        return "payload" if name in _RESERVED or name == "ack" else name


def _prefix(channel: Channel) -> str:
    return "" if channel.name == "/" else pascal(channel_key(channel.name, channel.dynamic))


def _title(key: str, schema: Schema) -> str:
    """What to call a schema: its key, or the title of which a generic class's was made."""
    title = schema.get("title")
    return title if isinstance(title, str) and "[" in title else key
