"""Mistakes in registering are found when they are made, and say which argument is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rtserver import ConfigurationError, Server, event


def test_an_event_has_one_handler() -> None:
    io = Server()

    @io.on("say")
    def first(socket: Any) -> None: ...

    def second(socket: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="say"):
        io.on("say")(second)


@pytest.mark.parametrize("name", ["connect", "disconnect", 5])
def test_a_reserved_name_has_no_handler(name: Any) -> None:
    def handler(socket: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="event"):
        Server().registry.add(name, handler, False)


def test_a_handler_takes_at_least_the_socket() -> None:
    def nothing() -> None: ...

    with pytest.raises(ConfigurationError, match="socket"):
        Server().on("say")(nothing)


def test_a_typed_handler_takes_one_payload() -> None:
    def two(socket: Any, a: str, b: str) -> None: ...

    with pytest.raises(ConfigurationError, match="payload"):
        Server().on(event("say", str))(two)  # type: ignore[arg-type]


def test_a_plain_handler_cannot_be_concurrent() -> None:
    def plain(socket: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="concurrent"):
        Server().on("say", concurrent=True)(plain)


def test_disconnecting_hooks_are_plain() -> None:
    async def waits(socket: Any, reason: str) -> None: ...

    with pytest.raises(ConfigurationError, match="on_disconnecting"):
        Server().on_disconnecting(waits)


def test_a_hook_fits_what_it_is_called_with() -> None:
    def with_reason(socket: Any, reason: str) -> None: ...

    with pytest.raises(ConfigurationError, match="handler"):
        Server().on_connect(with_reason)


def test_a_namespace_has_one_room_guard() -> None:
    io = Server()
    io.guard_room(lambda socket, room: True)
    with pytest.raises(ConfigurationError, match="guard"):
        io.guard_room(lambda socket, room: True)


@pytest.mark.parametrize("name", ["/a,b", "/a?b"])
def test_a_namespace_has_a_proper_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="namespace"):
        Server().of(name)


def test_a_namespace_is_made_once() -> None:
    io = Server()
    assert io.of("chat") is io.of("/chat")
    assert io.of("/") is io.main


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ping_interval", 0),
        ("ping_timeout", "20"),
        ("max_http_buffer_size", 1.5),
        ("max_depth", 0),
        ("transports", ["carrier-pigeon"]),
        ("transports", "polling"),
        ("path", "socket.io"),
        ("cookie", "a b"),
        ("cors", ["example.com"]),
        ("serve_client", "/nowhere/at/all"),
        ("allow_upgrades", "yes"),
        ("no_such_option", 1),
    ],
)
def test_a_bad_setting_is_named_with_what_was_given(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Server(**{option: value})
    assert caught.value.setting == option
    assert repr(value) in str(caught.value)


def test_what_is_sent_may_be_declared_more_than_once_but_not_with_other_types() -> None:
    io = Server()
    io.emits(event("posted", str), "welcome")
    io.emits(event("posted", str), "welcome")
    for other in (event("posted", int), event("posted", str, ack=str), "posted", event("welcome", str)):
        with pytest.raises(ConfigurationError, match="event"):
            io.emits(other)


@pytest.mark.parametrize("name", ["connect", "disconnect", 5])
def test_a_reserved_name_is_not_sent(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="event"):
        Server().emits(name)


def test_parents_are_named_after_what_they_match() -> None:
    io = Server()

    def rooms(name: str, auth: Any) -> bool:
        return False

    io.of(re.compile(r"^/tenant-\d+$"))
    io.of(rooms)
    names = [parent.registry.name for parent in io.parent_namespaces]
    assert names[0] == r"^/tenant-\d+$"
    assert names[1].endswith("rooms")
