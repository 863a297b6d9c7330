"""Servers behind both doors, and a clock that can be put forward."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import quart_trio
import trio
import trio.testing

from rtserver import Server
from tests.behaviour.support import Door, Kind, Serve, Site, start_site


@pytest.fixture(params=["front", "asgi"])
def door(request: pytest.FixtureRequest) -> Door:
    chosen: Door = request.param
    return chosen


@pytest.fixture(params=["polling", "websocket", "upgraded"])
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """Runs as usual, so that sockets work; ``jump`` brings a time-out that is far away."""
    return trio.testing.MockClock(rate=1.0)


@pytest.fixture
async def serve(door: Door) -> AsyncIterator[Serve]:
    """Serves a server behind the test's door, and stops it when the test is over."""
    sites: list[Site] = []
    async with trio.open_nursery() as nursery:

        async def start(io: Server, app: quart_trio.QuartTrio | None = None) -> Site:
            site = await start_site(nursery, io, door, app)
            sites.append(site)
            return site

        yield start
        for site in sites:
            await site.end()
