"""Processes that run out of file descriptors."""

from __future__ import annotations

import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.chaos.cluster import Cluster, usage_of, wait_until
from benchmarks.chaos.judging import end, judge_others, speakers
from benchmarks.chaos.load import opened_load
from benchmarks.chaos.rows import Row
from benchmarks.chaos.sizes import Sizes

# Of every process of the cluster.
FILES = 128
COME = 3 * FILES + 100
TALKING = 20
ANSWER_WITHIN = 5.0
WATCHED = 3.0
# Of one processor; what the talking costs is in it.
BUSY = 0.5
SERVED_WITHIN = 1.0


def out_of_descriptors(cluster: Cluster, sizes: Sizes) -> Row:
    """More clients than the nodes have descriptors for; then a proxy that has none left at all."""
    row = Row("out of file descriptors", "refused with 503, never a spin or a crash; served again within 1 s")
    pids = {**cluster.pids(), -1: cluster.proxy_pid()}
    with opened_load(cluster, TALKING) as load:
        load.talk(speakers(load, cluster), ask=sizes.ask_every, say=sizes.say_every)
        with visitors(cluster, COME) as (outcomes, answers):
            full, last = _busiest(list(pids.values())), _visit(cluster)
            last.close()
        again = wait_until("a new client is served", cluster.serves)
        with no_more_files(pids[-1]), visitors(cluster, 20) as (_, at_the_proxy):
            starved = _busiest([pids[-1]])
        afterwards = wait_until("a new client is served", cluster.serves)
        reports = end(load, sizes)
        alive = {**cluster.pids(), -1: cluster.proxy_pid()} == pids
    row.note(
        descriptors_of_a_process=FILES,
        came=COME,
        answers=_told(answers),
        slowest_answer=f"{max(outcomes):.2f} s",
        busiest_process_while_full=f"{full:.0%}",
        served_again_after=f"{again:.2f} s",
        proxy_without_any=_told(at_the_proxy),
        busy_meanwhile=f"{starved:.0%}",
        served_after_that=f"{afterwards:.2f} s",
    )
    row.require(alive, "a process has died")
    row.require(answers["200"] > 0, "nobody was let in")
    row.require(answers["503"] > 0, "nobody was refused with 503")
    row.require(set(answers) == {"200", "503"}, "somebody got no proper answer")
    row.require(max(full, starved) < BUSY, "a process spins")
    row.require(max(again, afterwards) < SERVED_WITHIN, "nobody was served when there was room again")
    row.require(not any(one.reasons for one in reports), "a client that was there before was cut off")
    judge_others(row, reports)
    return row


def _told(answers: Counter[str]) -> str:
    return ", ".join(f"{count} × {answer}" for answer, count in sorted(answers.items()))


@contextmanager
def visitors(cluster: Cluster, count: int) -> Iterator[tuple[list[float], Counter[str]]]:
    """So many who ask for a session and stay; how long each waited, and the statuses that they got."""
    socks, waits, answers = [], [], Counter[str]()
    try:
        for _ in range(count):
            begun = time.monotonic()
            sock = _visit(cluster)
            answers[_answer(sock)] += 1
            waits.append(time.monotonic() - begun)
            socks.append(sock)
        yield waits, answers
    finally:
        for sock in socks:
            sock.close()


def _visit(cluster: Cluster) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(ANSWER_WITHIN)
    sock.connect(cluster.address)
    sock.sendall(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return sock


def _answer(sock: socket.socket) -> str:
    """The status; 503 only with ``Retry-After``."""
    try:
        head = sock.recv(4_096).decode("latin-1").partition("\r\n\r\n")[0]
    except TimeoutError:
        return "no answer"
    except OSError:
        return "reset"
    if not head:
        return "closed"
    status = head.split(" ")[1]
    if status == "503" and "retry-after:" not in head.lower():
        return "503 without Retry-After"
    return status


@contextmanager
def no_more_files(pid: int) -> Iterator[None]:
    """A process cannot open anything for the length of a block."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(highest + 1, before[0]), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def _busiest(pids: list[int]) -> float:
    """The share of a processor that the busiest process takes, over a while."""
    before = [usage_of(pid).cpu for pid in pids]
    time.sleep(WATCHED)
    return max(usage_of(pid).cpu - cpu for pid, cpu in zip(pids, before, strict=True)) / WATCHED
