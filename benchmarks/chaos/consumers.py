"""Clients that stop reading in a busy room."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.chaos.cluster import POLLING, Broken, Cluster, usage_of, wait_until
from benchmarks.chaos.judging import end, judge_others, speakers
from benchmarks.chaos.load import opened_load
from benchmarks.chaos.rows import Row
from benchmarks.chaos.sizes import Sizes

CROWD = 20
PADDING = 32_768
SAY_EVERY = 0.1
SLOW_ONES = 6
# Of a node: a full queue of 1 MiB for each slow one, what the frames of the others are for a moment, and fragments.
GROWS_KB = 65_536


def _frame(text: bytes) -> bytes:
    """A masked text frame of a short text. The mask is of zeros, which is one."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


@contextmanager
def slow_websocket(cluster: Cluster) -> Iterator[socket.socket]:
    """Joins the room, and reads nothing of what is said there."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.settimeout(5.0)
        sock.connect(cluster.address)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        if not sock.recv(4_096).startswith(b"HTTP/1.1 101 "):
            raise Broken("no WebSocket for the slow one")
        sock.sendall(_frame(b"40") + _frame(b'42["join"]'))
        yield sock


@contextmanager
def slow_poller(cluster: Cluster) -> Iterator[None]:
    """Joins the room, and never polls for what is said there."""
    connection = http.client.HTTPConnection(*cluster.address, timeout=5.0)
    try:
        connection.request("GET", POLLING)
        sid = json.loads(connection.getresponse().read()[1:])["sid"]
        connection.request("POST", f"{POLLING}&sid={sid}", b'40\x1e42["join"]')
        if connection.getresponse().read() != b"ok":
            raise Broken("no session for the slow one")
        yield
    finally:
        connection.close()


def slow_consumers(cluster: Cluster, sizes: Sizes) -> Row:
    """Some WebSockets and some pollers stop reading, in a room where much is said."""
    row = Row("slow consumers in a busy room", "memory bounded; they alone are closed")
    with opened_load(cluster, CROWD) as load, ExitStack() as slow:
        talkers = speakers(load, cluster)
        load.talk(talkers, ask=sizes.ask_every, say=SAY_EVERY, padding=PADDING)
        time.sleep(sizes.seconds)
        before, most = _memory(cluster), 0
        closed = cluster.metric("rtserver_slow_consumers_total")
        for number in range(SLOW_ONES):
            slow.enter_context(slow_poller(cluster) if number % 2 else slow_websocket(cluster))
        joined = cluster.sessions()

        def all_closed() -> bool:
            nonlocal most
            most = max(most, _memory(cluster))
            return cluster.metric("rtserver_slow_consumers_total") - closed >= SLOW_ONES

        took = wait_until("the slow ones are closed", all_closed)
        reports = end(load, sizes)
        wait_until("their sessions are gone", lambda: cluster.sessions() <= joined - SLOW_ONES)
        after = _memory(cluster)
        counted = int(cluster.metric("rtserver_slow_consumers_total") - closed)
    row.note(
        said=f"{len(talkers) / SAY_EVERY:.0f} messages of {PADDING // 1024} kB a second",
        slow_ones=SLOW_ONES,
        closed=counted,
        after=f"{took:.1f} s",
        memory_of_the_largest_node=f"{before / 1024:.0f} MB, {most / 1024:.0f} at most, {after / 1024:.0f} afterwards",
    )
    row.require(counted == SLOW_ONES, f"{counted} sessions were closed as slow, not {SLOW_ONES}")
    row.require(most - before < GROWS_KB, f"a node grew by {(most - before) / 1024:.0f} MB")
    row.require(not any(one.reasons for one in reports), "somebody else was cut off")
    judge_others(row, reports)
    return row


def _memory(cluster: Cluster) -> int:
    """Of the largest node, in kB."""
    return max(usage_of(pid).rss_kb for pid in cluster.pids().values())
