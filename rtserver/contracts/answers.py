"""What a client gets when an event is refused: the same for every server."""

from __future__ import annotations

from rtserver.contracts.schemas import Schema

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
