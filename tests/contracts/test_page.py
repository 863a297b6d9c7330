"""The page and the document as a node serves them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
import trio
from quart_trio import QuartTrio

from rtserver import Config, ConfigurationError, Event, Server, Socket, event
from rtserver.contracts.asyncapi import asyncapi
from rtserver.contracts.contract import contract_of
from rtserver.contracts.page import page
from tests.contracts import sample


@asynccontextmanager
async def serving(io: Server, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(
            lambda task_status: io.serve("127.0.0.1:0", task_status=task_status, **options)
        )
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            yield http
        io.stop()


class Elements(HTMLParser):
    """The elements of a page, its ids and the places that its links lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(str(value))
            if name == "href":
                self.links.add(str(value))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


async def test_a_node_serves_the_page_and_the_document() -> None:
    io = sample.create()
    async with serving(io) as http:
        answer = await http.get("/asyncapi")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "chat:post" in answer.text
        document = await http.get("/asyncapi.json")
        assert document.headers["content-type"] == "application/json"
        assert document.json() == json.loads(asyncapi(io))


async def test_the_page_may_load_and_run_nothing_but_its_own_style() -> None:
    async with serving(sample.create()) as http:
        answer = await http.get("/asyncapi")
    policy = answer.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    elements = Elements(answer.text)
    assert elements.tags & {"script", "link", "img", "iframe", "form", "object", "base"} == set()
    assert elements.attributes & {"style", "src", "onclick", "onload"} == set()
    assert {link for link in elements.links if not link.startswith("#")} == {"asyncapi.json"}


async def test_an_application_that_keeps_its_events_to_itself_has_neither() -> None:
    io = Server(api_page=False)
    users = QuartTrio("users")

    @users.get("/asyncapi")
    async def own() -> str:
        return "the user's"

    async with serving(io, app=users) as http:
        assert (await http.get("/asyncapi")).text == "the user's"
        assert (await http.get("/asyncapi.json")).status_code == 404


async def test_beside_an_application_both_are_the_servers() -> None:
    async with serving(sample.create(), app=QuartTrio("users")) as http:
        assert (await http.get("/asyncapi")).status_code == 200
        assert (await http.get("/asyncapi.json")).status_code == 200
        assert (await http.get("/asyncapi/other")).status_code == 404


async def test_what_is_registered_while_it_runs_is_there_at_the_next_look() -> None:
    io = Server()
    async with serving(io) as http:
        assert "chat:late" not in (await http.get("/asyncapi")).text
        io.of("/chat").emits("chat:late")
        assert "chat:late" in (await http.get("/asyncapi")).text
        assert "chat:late" in (await http.get("/asyncapi.json")).text


async def test_a_type_without_a_schema_is_said_once_in_the_log(log_output: list[Any]) -> None:
    class Strange:
        pass

    io = Server()
    io.emits(event("it", Strange))
    async with serving(io) as http:
        for path in ("/asyncapi", "/asyncapi.json", "/asyncapi"):
            answer = await http.get(path)
            assert (answer.status_code, answer.text) == (500, "Internal Server Error\n")
    (line,) = [line for line in log_output if line["event"] == "no_asyncapi_document"]
    assert "Strange" in line["reason"]
    assert line["log_level"] == "warning"


def test_whatever_a_name_or_a_docstring_holds_is_text() -> None:
    evil = "<script>alert('it')</script>"
    io = Server(api_title=evil, api_version=evil)
    schema: Any = {"title": evil, "description": evil, "properties": {evil: {"const": evil}}}
    typed: Event[Any, Any] = event(evil, schema)

    @io.on(typed)
    def it(socket: Socket, payload: Any) -> None: ...

    it.__doc__ = evil
    io.of(f"/{evil}").emits(evil)
    elements = Elements(page(contract_of(io)))
    assert "script" not in elements.tags
    assert len([words for words in elements.words if evil in words]) >= 8


def test_every_link_leads_somewhere_and_every_place_is_one() -> None:
    io = sample.create()
    io.of("/types").emits("a b", "a_b")
    io.of("/security").emits("hello")
    io.of("/type-Message").emits("hello")
    elements = Elements(page(contract_of(io)))
    assert {link.removeprefix("#") for link in elements.links if link.startswith("#")} <= set(elements.ids)
    assert "type-Message" in elements.ids
    assert sorted(set(elements.ids)) == sorted(elements.ids)
    assert not [name for name in elements.ids if " " in name]


@pytest.mark.parametrize(
    "words",
    ["any arguments", "Who may come in", "Send a message to a room.", "On the house.", "minimum 1", "maxLength 2000"],
)
def test_it_tells(words: str) -> None:
    assert any(words in said for said in Elements(page(contract_of(sample.io))).words)


@pytest.mark.parametrize("name", ["api_title", "api_version"])
@pytest.mark.parametrize("value", ["", " ", "two\nlines", 5, None])
def test_a_title_or_version_is_one_line(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Server(**{name: value})


def test_title_version_and_page_can_be_set_from_outside() -> None:
    environment = {"RTSERVER_API_TITLE": "Chat", "RTSERVER_API_VERSION": "2", "RTSERVER_API_PAGE": "off"}
    assert Config.from_environment(environment) == {"api_title": "Chat", "api_version": "2", "api_page": False}
