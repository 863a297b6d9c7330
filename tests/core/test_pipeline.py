"""Middleware is an onion, composed once; what is not overridden is not in it."""

from __future__ import annotations

from typing import Any

import pytest

from rtserver import ConfigurationError, EventContext, Middleware, Proceed, Server
from rtserver.core.pipeline import compose, waits


class Wrapping(Middleware):
    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Any:
        self.seen.append(f"{self.name} in")
        result = proceed(context)
        self.seen.append(f"{self.name} out")
        return f"{self.name}({result})"


class Waiting(Middleware):
    async def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Any:
        return proceed(context)


class AsyncEmit(Middleware):
    async def emit(self, context: Any, proceed: Any) -> Any:
        return proceed(context)


def test_the_first_middleware_is_the_outermost() -> None:
    seen: list[str] = []
    chain = compose([Wrapping("a", seen), Wrapping("b", seen)], "event", lambda context: context.event)
    assert chain(EventContext(None, "e", (), True)) == "a(b(e))"
    assert seen == ["a in", "b in", "b out", "a out"]


def test_a_hook_that_nobody_overrides_costs_nothing() -> None:
    def inner(context: Any) -> Any:
        return context

    assert compose([Middleware(), Middleware()], "event", inner) is inner


def test_an_onion_waits_if_one_of_its_hooks_does() -> None:
    assert waits([Middleware(), Waiting()], "event")
    assert not waits([Wrapping("a", [])], "event")


def test_an_emit_hook_must_be_plain() -> None:
    with pytest.raises(ConfigurationError, match="emit hook"):
        Server(middleware=[AsyncEmit()])
    with pytest.raises(ConfigurationError, match="emit hook"):
        Server().use(AsyncEmit())


@pytest.mark.parametrize("given", [Middleware, 7, "auth"])
def test_only_middleware_and_functions_can_be_used(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="middleware"):
        Server().use(given)
