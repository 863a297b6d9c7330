"""An application with every kind of event and of type, for the documents to describe."""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
from pydantic import BaseModel, Field

from rtserver import Ack, Middleware, Server, Socket, event

T = TypeVar("T")


class Mood(enum.Enum):
    """How it is meant."""

    CALM = "calm"
    LOUD = "loud"


class Post(msgspec.Struct, forbid_unknown_fields=True):
    """A message to be.

    Args:
        room: Where it goes, by name;
            the room must have been joined.
        text: What it says.
    """

    room: str
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    mood: Mood = Mood.CALM
    mentions: list[str] = []
    reply_to: int | None = None


class Message(msgspec.Struct):
    """A message as it is stored. It ends no comment: */"""

    id: int
    room: str
    text: str
    sent_at: dt.datetime
    position: tuple[int, float]
    counts: dict[str, int]
    kind: Literal["plain", "system", 3] = "plain"
    edited: bool | msgspec.UnsetType = msgspec.UNSET


class Picture(msgspec.Struct, tag="picture"):
    """Something to look at."""

    data: bytes
    caption: str = ""


class Link(msgspec.Struct, tag="link"):
    """Something to follow."""

    url: str
    inner: Picture | Link | None = None


class Page(msgspec.Struct, Generic[T]):
    """A part of a list."""

    items: list[T]
    total: int


class Point(msgspec.Struct, array_like=True):
    """A place, as an array."""

    x: int
    y: int
    z: int = 0


@dataclass
class Reaction:
    emoji: str
    to: int = 0


class Typing(TypedDict):
    room: str
    on: NotRequired[bool]


class Address(BaseModel):
    """Where somebody lives."""

    street: str
    number: int = Field(default=1, ge=1, description="On the house.")


class Profile(BaseModel):
    """Who somebody is."""

    name: str
    home: Address = Field(description="The first one.")
    friend: Profile | None = None


# What is no class is no ``type[P]`` to a type checker.
SHOWN: Any = Picture | Link
FOUND: Any = Message | None
SEARCH: Any = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Search",
    "type": "object",
    "properties": {
        "words": {"type": "array", "items": {"$ref": "#/$defs/word"}},
        "title": {"type": ["string", "null"]},
    },
    "required": ["words"],
    "additionalProperties": False,
    "$defs": {"word": {"type": "string", "minLength": 2}},
}

POST = event("chat:post", Post, ack=Message)
POSTED = event("chat:posted", Message)
TYPING = event("chat:typing", Typing)
SHOW = event("chat:show", SHOWN, ack=bool)
LIST = event("chat:list", int, ack=Page[Message])
FIND = event("chat:find", str, ack=FOUND)
SEARCHED = event("chat:search", SEARCH, ack=list[Message])
LEAVE = event("chat:leave")
MOVE = event("game:move", Point)
REACT = event("chat:react", Reaction)
UPLOAD = event("upload", bytes, ack=str)
PROFILE = event("profile", Profile, ack=Address)
ASK = event("ask", str, ack=bool)


class Door(Middleware):
    """Lets in who has a key."""

    def security_scheme(self) -> Mapping[str, Any]:
        return {"type": "httpApiKey", "in": "header", "name": "X-Key"}


def create() -> Server:
    """The application."""
    io = Server(api_title="Sample", api_version="1.2.3")
    chat = io.of("/chat")
    tenants = io.of(re.compile(r"^/tenant-\d+$"))
    chat.use(Door())
    chat.emits(POSTED, TYPING, ASK, "chat:notice")

    @chat.on(POST)
    async def post(socket: Socket, draft: Post) -> Message:
        """Send a message to a room.

        Everybody else in the room gets ``chat:posted``.
        """
        raise NotImplementedError

    @chat.on(TYPING)
    def typing(socket: Socket, state: Typing) -> None:
        """Tell that somebody is typing."""

    @chat.on(FIND)  # type: ignore[arg-type]
    def find(socket: Socket, words: str, ack: Ack) -> Any:
        """Find a message."""

    for typed in (SHOW, LIST, SEARCHED, REACT, PROFILE):
        chat.on(typed)(_nothing)

    @chat.on(LEAVE)
    def leave(socket: Socket) -> None:
        """Leave every room."""

    @io.on("echo")
    def echo(socket: Socket, *args: Any) -> Any:
        """Say the same."""

    io.emits("welcome")
    tenants.on(MOVE)(_nothing)
    tenants.on(UPLOAD)(_nothing)
    return io


def _nothing(socket: Socket, payload: Any) -> Any:
    return None


io = create()
