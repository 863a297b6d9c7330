"""The AsyncAPI document: valid, complete, true, and the same whenever it is made."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rtserver import ConnectContext, Event, EventRefused, Middleware, Proceed, Server, Socket, event
from rtserver.contracts.asyncapi import asyncapi
from rtserver.demo import create_demo
from rtserver.middleware.auth import JWTAuth, TokenAuth
from rtserver.testing import open_server
from tests.contracts import sample

ROOT = Path(__file__).parents[2]
SPECIFICATION = json.loads((Path(__file__).parent / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_text())


def document_of(io: Server) -> Any:
    """The document, which is valid."""
    document = json.loads(asyncapi(io))
    jsonschema.Draft7Validator(SPECIFICATION).validate(document)
    return document


@pytest.fixture(scope="module")
def document() -> Any:
    return document_of(sample.io)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def found(document: Any, reference: str) -> Any:
    for key in reference.removeprefix("#/").split("/"):
        document = document[key]
    return document


class Door(Middleware):
    """Lets in who has a key of some kind."""

    def __init__(self, scheme: Mapping[str, Any]) -> None:
        self._scheme = scheme

    def security_scheme(self) -> Mapping[str, Any]:
        return self._scheme


BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
KEY = {"type": "httpApiKey", "in": "header", "name": "X-Key"}


@pytest.mark.parametrize("io", [Server(), create_demo(), sample.create()])
def test_it_is_valid(io: Server) -> None:
    document_of(io)


def test_a_document_that_is_not_valid_is_found() -> None:
    document = json.loads(asyncapi(sample.io))
    document["operations"]["chat.receive.chat_post"]["action"] = "hear"
    assert not jsonschema.Draft7Validator(SPECIFICATION).is_valid(document)


def test_every_reference_leads_somewhere(document: Any) -> None:
    assert all(found(document, reference) is not None for reference in references(document))


def test_it_is_the_same_in_every_process() -> None:
    program = "from tests.contracts import sample; from rtserver.contracts.asyncapi import asyncapi"
    command = [sys.executable, "-c", f"{program}; print(asyncapi(sample.io), end='')"]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ran.stdout == asyncapi(sample.io)


def test_it_does_not_depend_on_the_order_of_registration() -> None:
    def made(names: list[str]) -> str:
        io = Server()
        for name in names:
            io.of(name).emits(*names)
            io.of(re.compile(f"^{name}$")).emits(*names)
        return asyncapi(io)

    assert made(["/b", "/a", "/c"]) == made(["/c", "/a", "/b"])


def test_a_namespace_is_a_channel(document: Any) -> None:
    assert {key: channel["address"] for key, channel in document["channels"].items()} == {
        "main": "/",
        "chat": "/chat",
        "tenant": None,
    }
    assert document["channels"]["tenant"]["description"] == r"Every namespace whose name matches `^/tenant-\d+$`."


async def test_what_clients_bring_about_changes_nothing() -> None:
    io = sample.create()
    before = asyncapi(io)
    await _join(io, "/tenant-7")
    assert asyncapi(io) == before


async def _join(io: Server, name: str) -> None:
    child = io.find_namespace(name, {})
    assert child is io.namespaces[name]


def test_what_clients_send_is_received_and_replied_to(document: Any) -> None:
    operation = document["operations"]["chat.receive.chat_post"]
    assert operation["action"] == "receive"
    assert operation["channel"] == {"$ref": "#/channels/chat"}
    assert operation["summary"] == "Send a message to a room"
    assert operation["description"].endswith("Everybody else in the room gets ``chat:posted``.")
    (message,) = [found(document, one["$ref"]) for one in operation["messages"]]
    assert message == {"name": "chat:post", "payload": {"$ref": "#/components/schemas/Post"}}
    ack, refused = [found(document, one["$ref"]) for one in operation["reply"]["messages"]]
    assert ack["payload"] == {"$ref": "#/components/schemas/Message"}
    assert found(document, refused["$ref"])["payload"] == {"$ref": "#/components/schemas/Refusal"}


def test_what_is_declared_as_emitted_is_sent(document: Any) -> None:
    operation = document["operations"]["chat.send.chat_posted"]
    assert operation["action"] == "send"
    assert "reply" not in operation
    asked = document["operations"]["chat.send.ask"]
    (ack,) = [found(document, one["$ref"]) for one in asked["reply"]["messages"]]
    assert ack["payload"] == {"type": "boolean"}


def test_an_event_that_goes_both_ways_is_one_message_if_it_carries_the_same() -> None:
    io = Server()
    typing = event("typing", str)
    io.emits(typing, event("moved", int))
    io.on(typing)(lambda socket, payload: None)
    io.on(event("moved", str))(lambda socket, payload: None)
    messages = document_of(io)["channels"]["main"]["messages"]
    assert sorted(messages) == ["moved", "moved2", "refused", "typing"]


def test_an_event_without_types_says_so(document: Any) -> None:
    message = document["channels"]["main"]["messages"]["echo"]
    assert (message["payload"], message["x-untyped"]) == ({}, True)


def test_an_event_without_a_payload_has_none(document: Any) -> None:
    assert "payload" not in document["channels"]["chat"]["messages"]["chat_leave"]


def test_names_that_are_alike_are_told_apart() -> None:
    io = Server()
    for name in ("/a.b", "/a/b", "/main", "/"):
        io.of(name).emits("it:is", "it is", "it_is", "refused", "é")
    document = document_of(io)
    assert sorted(document["channels"]) == ["a.b", "a.b2", "main", "main2"]
    assert len(document["operations"]) == 20
    assert len(document["channels"]["main"]["messages"]) == 5


def test_title_version_and_path_are_the_settings() -> None:
    document = document_of(Server(api_title="Chat", api_version="2.1", path="/live/"))
    assert (document["info"]["title"], document["info"]["version"]) == ("Chat", "2.1")
    assert document["servers"]["node"]["pathname"] == "/live/"


def test_a_scheme_of_one_namespace_is_needed_for_its_operations(document: Any) -> None:
    needed = [{"$ref": "#/components/securitySchemes/Door"}]
    assert document["components"]["securitySchemes"] == {"Door": KEY}
    for name, operation in document["operations"].items():
        assert operation.get("security") == (needed if name.startswith("chat.") else None)
    assert "security" not in document["servers"]["node"]


def test_a_scheme_of_every_namespace_is_the_servers() -> None:
    io = Server(middleware=[Door(BEARER)])
    io.of("/chat").emits("hello")
    io.of("/news").emits("hello")
    document = document_of(io)
    assert document["servers"]["node"]["security"] == [{"$ref": "#/components/securitySchemes/Door"}]
    assert document["components"]["securitySchemes"] == {"Door": BEARER}


def test_schemes_of_one_class_that_differ_have_names_of_their_own() -> None:
    io = Server(middleware=[Door(BEARER)])
    io.of("/chat").use(Door(KEY))
    io.of("/chat").emits("hello")
    document = document_of(io)
    assert document["components"]["securitySchemes"] == {"Door": BEARER, "Door2": KEY}


def test_middleware_that_has_no_scheme_is_not_mentioned() -> None:
    class Silent(Door):
        def security_scheme(self) -> Any:
            return None

    io = Server(middleware=[Silent({}), Middleware()])
    io.emits("hello")
    assert "securitySchemes" not in document_of(io)["components"]


class Answering(Middleware):
    """Hears of an event in whatever namespace somebody joins."""

    def receives(self) -> list[Event[Any, Any] | str]:
        return [event("renew", str), "forget"]

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Any:
        registry = context.socket.namespace.registry
        if "renew" not in registry.handlers:
            registry.add(event("renew", str), self.renew, False)
        return proceed(context)

    def renew(self, socket: Socket, word: str) -> None:
        """Not for the document: whether it is there depends on who has connected."""


async def test_events_that_middleware_answers_are_there_before_and_after_anybody_joins() -> None:
    io = Server(middleware=[Answering()])
    before = document_of(io)
    assert [one["title"] for one in before["operations"].values()] == ["forget", "renew"]
    async with open_server(io) as server, server.socket() as socket:
        assert await socket.call("renew", "now") is None
        assert document_of(io) == before


@pytest.mark.parametrize("auth", [JWTAuth("k" * 32), TokenAuth({"a token that is long": "ann"})])
def test_the_ways_to_authenticate_are_valid_schemes(auth: Middleware) -> None:
    name = type(auth).__name__
    assert list(document_of(Server(middleware=[auth]))["components"]["securitySchemes"]) == [name]


POST = {"room": "lobby", "text": "hello"}
PAYLOADS: list[tuple[Event[Any, Any], Any, bool]] = [
    (sample.POST, POST, True),
    (sample.POST, {**POST, "mood": "loud", "mentions": ["ann"], "reply_to": None}, True),
    (sample.POST, {"room": "lobby"}, False),
    (sample.POST, {**POST, "text": ""}, False),
    (sample.POST, {**POST, "mood": "sad"}, False),
    (sample.POST, {**POST, "mentions": "ann"}, False),
    (sample.POST, {**POST, "colour": "red"}, False),
    (sample.SHOW, {"type": "link", "url": "https://example.com"}, True),
    (sample.SHOW, {"type": "link", "url": "a", "inner": {"type": "link", "url": "b", "inner": None}}, True),
    (sample.SHOW, {"type": "film", "url": "https://example.com"}, False),
    (sample.SHOW, {"url": "https://example.com"}, False),
    (sample.MOVE, [1, 2], True),
    (sample.MOVE, [1, 2, 3], True),
    (sample.MOVE, [1], False),
    (sample.MOVE, [1, "2"], False),
    (sample.TYPING, {"room": "lobby"}, True),
    (sample.TYPING, {"on": True}, False),
    (sample.REACT, {"emoji": "+1"}, True),
    (sample.REACT, {"emoji": 1}, False),
    (sample.PROFILE, {"name": "Ann", "home": {"street": "Main"}}, True),
    (sample.PROFILE, {"name": "Ann", "home": {"street": "Main", "number": 0}}, False),
    (sample.PROFILE, {"name": "Ann", "home": None}, False),
]


@pytest.mark.parametrize(("typed", "payload", "fits"), PAYLOADS)
def test_a_schema_allows_what_the_server_takes(document: Any, typed: Event[Any, Any], payload: Any, fits: bool) -> None:
    messages = [one for channel in document["channels"].values() for one in channel["messages"].values()]
    (schema,) = [one["payload"] for one in messages if one.get("name") == typed.name]
    valid = jsonschema.Draft7Validator({**schema, "components": document["components"]}).is_valid(payload)
    try:
        typed.decode([payload])
        taken = True
    except EventRefused:
        taken = False
    assert (valid, taken) == (fits, fits)


def test_handlers_that_are_no_functions_describe_nothing() -> None:
    class Handler:
        """Of no interest to clients."""

        def __call__(self, socket: Socket) -> None: ...

    io = Server()
    io.on("it")(Handler())
    assert "summary" not in document_of(io)["operations"]["main.receive.it"]
