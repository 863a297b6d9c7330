"""Sessions of servers that are not ours: a plain Node server, by a cookie or by a hash."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from rtserver.protocol.sid import Owner, SidCodec
from tests.cluster.support import SECRET, eventually
from tests.proxy.support import Through, Upstream, proxied

# Where the npm packages are.
INTEROP = Path(__file__).parents[1] / "interop"
PLAIN_SERVER = """
    import { createServer } from "node:http";
    import { Server } from "socket.io";

    const http = createServer((request, response) => response.end("well"));
    const io = new Server(http);
    io.on("connection", (socket) => {
      socket.emit("welcome");
      socket.on("echo", (value, ack) => ack(value));
    });
    http.listen(0, "127.0.0.1", () => console.log(http.address().port));
"""
QUICKLY = {"probe_path": "/probe", "probe_interval": 0.05, "slow_start": 0.001}


async def hits(through: Through, upstreams: list[Upstream], **headers: str) -> int:
    """The upstream that gets a request with these headers."""
    before = [len(one.heads) for one in upstreams]
    lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
    assert (await through.request("GET", "/", headers=lines)).status == 200
    (hit,) = [number for number, one in enumerate(upstreams) if len(one.heads) > before[number]]
    return hit


def given(upstreams: list[Upstream], affinity: str) -> dict[str, Any]:
    listed = ",".join(one.address for one in upstreams)
    return {"affinity": affinity, "upstreams": listed, **QUICKLY}


async def test_a_cookie_brings_a_client_back_to_its_upstream(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstreams = [await Upstream().start(nursery) for _ in range(4)]
        async with proxied(tmp_path, **given(upstreams, "cookie")) as through:
            await through.knows(4)
            answer = await through.request("GET", "/")
            cookie, _, attributes = str(answer.header("set-cookie")).partition("; ")
            assert attributes == "Path=/; HttpOnly; SameSite=Lax"
            hit = await hits(through, upstreams, Cookie=f"other=1; {cookie}")
            for _ in range(10):
                assert await hits(through, upstreams, Cookie=cookie) == hit
            # Who has it is not told again.
            client = await through.http()
            assert (await client.request("GET", "/", headers=[("Cookie", cookie)])).header("set-cookie") is None
            # It tells nothing of addresses.
            assert upstreams[hit].address.rpartition(":")[2] not in cookie
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("forged", ["", "1", "127.0.0.1:1", "a" * 5_000])
async def test_a_cookie_that_names_nobody_is_replaced(tmp_path: Path, forged: str) -> None:
    async with trio.open_nursery() as nursery:
        upstreams = [await Upstream().start(nursery)]
        async with proxied(tmp_path, **given(upstreams, "cookie")) as through:
            await through.knows(1)
            answer = await through.request("GET", "/", headers=[("Cookie", f"rtproxy={forged}")])
            assert str(answer.header("set-cookie")).startswith("rtproxy=")
        nursery.cancel_scope.cancel()


async def test_a_client_whose_upstream_is_down_gets_another_one(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstreams = [await Upstream().start(nursery) for _ in range(2)]
        async with proxied(tmp_path, **given(upstreams, "cookie")) as through:
            await through.knows(2)
            answer = await through.request("GET", "/")
            cookie = str(answer.header("set-cookie")).partition("; ")[0]
            first = await hits(through, upstreams, Cookie=cookie)
            upstreams[first].health = "ill"
            await through.knows(1)
            moved = await through.request("GET", "/", headers=[("Cookie", cookie)])
            assert not str(moved.header("set-cookie")).startswith(cookie)
            assert await hits(through, upstreams, Cookie=cookie) == 1 - first
        nursery.cancel_scope.cancel()


async def test_a_header_chooses_and_few_move_when_one_goes(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstreams = [await Upstream().start(nursery) for _ in range(3)]
        async with proxied(tmp_path, **given(upstreams, "header:X-Room")) as through:
            await through.knows(3)
            before = {room: await hits(through, upstreams, X_Room=room) for room in map(str, range(30))}
            assert {await hits(through, upstreams, X_Room="7") for _ in range(5)} == {before["7"]}
            assert set(before.values()) == {0, 1, 2}
            upstreams[0].health = "ill"
            await through.knows(2)
            after = {room: await hits(through, upstreams, X_Room=room) for room in before}
            moved = {room for room in before if before[room] != after[room]}
            assert moved == {room for room in before if before[room] == 0}
        nursery.cancel_scope.cancel()


async def test_an_address_chooses(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstreams = [await Upstream().start(nursery) for _ in range(3)]
        async with proxied(tmp_path, **given(upstreams, "address")) as through:
            await through.knows(3)
            assert len({await hits(through, upstreams) for _ in range(10)}) == 1
        nursery.cancel_scope.cancel()


async def test_a_listed_node_of_ours_is_found_by_its_slot(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstreams = [await Upstream().start(nursery) for _ in range(2)]
        listed = f"3={upstreams[0].address},4={upstreams[1].address}"
        async with proxied(tmp_path, upstreams=listed, probe_path="/probe") as through:
            await through.knows(2)
            for slot, upstream in zip((3, 4), upstreams, strict=True):
                sid = SidCodec([SECRET]).mint(Owner(slot, 9), bytes(12))
                answer = await through.request("GET", f"/socket.io/?sid={sid}")
                assert answer.facts == (200, "hello")
                assert len(upstream.heads) == 1
        nursery.cancel_scope.cancel()


@contextmanager
def plain_server() -> Iterator[int]:
    """A Node server that knows nothing of us; its port."""
    command = ["node", "--input-type=module", "-e", PLAIN_SERVER]
    with subprocess.Popen(command, cwd=INTEROP, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("affinity", ["cookie", "address"])
@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="-".join)
async def test_a_plain_node_server_works_behind_it(tmp_path: Path, affinity: str, transports: list[str]) -> None:
    with ExitStack() as stack:
        ports = [stack.enter_context(plain_server()) for _ in range(2)]
        listed = ",".join(f"127.0.0.1:{port}" for port in ports)
        client = f"""
            import {{ io }} from "socket.io-client";
            const options = {{
              transports: {json.dumps(transports)}, withCredentials: true, reconnection: false, forceNew: true,
            }};
            for (let round = 0; round < 6; round++) {{
              const socket = io(process.argv[1], options);
              await new Promise((resolve, reject) => {{
                socket.on("welcome", resolve);
                socket.on("connect_error", reject);
              }});
              for (let n = 0; n < 5; n++) if ((await socket.emitWithAck("echo", n)) !== n) throw new Error("no echo");
              if ({json.dumps(len(transports) > 1)} && socket.io.engine.transport.name !== "websocket")
                await new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
              if ((await socket.emitWithAck("echo", "x".repeat(5000))).length !== 5000) throw new Error("no echo");
              socket.disconnect();
            }}
            console.log("all well");
        """
        chosen = {"affinity": affinity, "upstreams": listed}
        async with proxied(tmp_path, **chosen) as through:
            await through.knows(2)
            ran = await trio.run_process(
                ["node", "--input-type=module", "-e", client, f"http://{through.addresses[0]}"],
                cwd=INTEROP,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            assert (ran.stdout, ran.stderr) == (b"all well\n", b"")
            await eventually(lambda: through.proxy.edge.connections == 0)
            assert through.counters.answered == {}
