"""The example does what it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.chat import io, token
from rtserver.client import ConnectError
from rtserver.testing import open_server
from tests.handlers.support import refused

ROOT = Path(__file__).parents[2]


async def test_every_middleware_of_the_example_has_its_say() -> None:
    async with open_server(io) as server:
        with pytest.raises(ConnectError, match="authentication failed"):
            async with server.socket(auth={"token": "nonsense"}):
                pass
        ann, bob = {"token": token("ann", "staff")}, {"token": token("bob")}
        async with server.socket(auth=ann) as staff, server.socket(auth=bob) as visitor:
            for socket in (staff, visitor):
                assert await socket.call("enter", "lobby") == "welcome"
            assert await staff.call("enter", "staff") == "welcome"
            assert refused(await visitor.call("enter", "staff")) == "room_refused"
            posted = {"room": "lobby", "text": "hello"}
            assert await staff.call("post", posted) == posted
            assert await visitor.receive("posted") == posted
            assert refused(await visitor.call("post", {"room": "staff", "text": "hello"})) == "not_in_room"
            assert refused(await visitor.call("post", {"room": "lobby", "text": ""})) == "invalid_payload"
            assert refused(await visitor.call("post", {"room": "lobby", "text": "x" * 3_000})) == "invalid_payload"
            answers = [await staff.call("post", posted) for _ in range(5)]
            assert answers[-1]["error"]["code"] == "rate_limited"
            assert 0 < answers[-1]["error"]["retry_after"] <= 2


def test_the_example_starts() -> None:
    program = [sys.executable, "-u", str(ROOT / "examples" / "chat.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ann of the staff: ey")
            assert process.stdout.readline().startswith("bob, a visitor:   ey")
        finally:
            process.kill()
