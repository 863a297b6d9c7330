"""Several Redis servers of our own that belong together: a cluster of three masters, a master that sentinels watch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis
import redis.crc

from tests.services.redis import RedisServer, free_port, running_redis, until

NAME = "mymaster"
SLOTS: int = redis.crc.REDIS_CLUSTER_HASH_SLOTS


class RedisCluster:
    """Three masters, and a replica of each with ``replicas``."""

    def __init__(self, masters: list[RedisServer], replicas: list[RedisServer]) -> None:
        self.masters = masters
        self.replicas = replicas
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in masters)

    def move(self, slot: int, to: RedisServer) -> None:
        """Give an empty slot to another master, as ``redis-cli --cluster`` does."""
        with to.client() as client:
            name = client.execute_command("CLUSTER MYID")
        for server in [to, *(master for master in self.masters if master is not to)]:
            with server.client() as client:
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", name)

    def agrees(self) -> bool:
        """Whether every master takes itself for part of a working cluster."""
        with ExitStack() as stack:
            return all(_info(stack.enter_context(server.client()))["cluster_state"] == "ok" for server in self.masters)

    def owner(self, channel: bytes) -> RedisServer:
        """The master that a channel belongs to."""
        with self.masters[0].client() as client:
            for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER SLOTS"):
                if first <= redis.crc.key_slot(channel) <= last:
                    return next(server for server in (*self.masters, *self.replicas) if server.port == port)
        raise LookupError(channel)


@contextmanager
def running_cluster(directory: Path, *, replicas: bool = False) -> Iterator[RedisCluster]:
    """A cluster for the length of a block."""
    with ExitStack() as stack:
        servers = []
        for number in range(6 if replicas else 3):
            folder = directory / f"cluster-{number}"
            folder.mkdir()
            lines = ("cluster-enabled yes", "cluster-node-timeout 1000", "cluster-replica-validity-factor 0")
            servers.append(stack.enter_context(running_redis(folder, (*lines, f"cluster-port {free_port()}"))))
        masters, others = servers[:3], servers[3:]
        with ExitStack() as clients:
            talk: dict[RedisServer, Any] = {server: clients.enter_context(server.client()) for server in servers}
            for number, server in enumerate(masters):
                first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
                talk[server].execute_command("CLUSTER ADDSLOTSRANGE", first, last)
                talk[server].execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            for server in servers[1:]:
                bus = int(talk[servers[0]].config_get("cluster-port")["cluster-port"])
                talk[server].execute_command("CLUSTER MEET", "127.0.0.1", servers[0].port, bus)
            until(lambda: all(_info(talk[server])["cluster_known_nodes"] == str(len(servers)) for server in servers))
            for master, replica in zip(masters, others, strict=False):
                name = talk[master].execute_command("CLUSTER MYID")
                until(partial(_replicate, talk[replica], name))
            until(lambda: all(_info(talk[server])["cluster_state"] == "ok" for server in servers))
            until(lambda: all(talk[one].info("replication")["master_link_status"] == "up" for one in others))
        yield RedisCluster(masters, others)


def _info(client: Any) -> dict[str, str]:
    answer: Any = client.execute_command("CLUSTER INFO")
    if isinstance(answer, dict):
        return answer
    return dict(line.split(":", 1) for line in answer.decode().split("\r\n") if ":" in line)


def _replicate(client: Any, name: bytes) -> bool:
    try:
        client.execute_command("CLUSTER REPLICATE", name)
    except redis.ResponseError:
        # It has not heard of its master yet.
        return False
    return True


class WatchedRedis:
    """A master and a replica, and the sentinel that watches them."""

    def __init__(self, master: RedisServer, replica: RedisServer, sentinel: RedisServer) -> None:
        self.master = master
        self.replica = replica
        self.sentinel = sentinel
        self.url = f"redis+sentinel://127.0.0.1:{sentinel.port}/{NAME}"


@contextmanager
def watched_redis(directory: Path) -> Iterator[WatchedRedis]:
    """A watched master for the length of a block."""
    with ExitStack() as stack:
        folders = [directory / name for name in ("master", "replica", "sentinel")]
        for folder in folders:
            folder.mkdir()
        master = stack.enter_context(running_redis(folders[0]))
        replica = stack.enter_context(running_redis(folders[1], (f"replicaof 127.0.0.1 {master.port}",)))
        lines = (
            f"sentinel monitor {NAME} 127.0.0.1 {master.port} 1",
            f"sentinel down-after-milliseconds {NAME} 1000",
            f"sentinel failover-timeout {NAME} 5000",
        )
        sentinel = stack.enter_context(running_redis(folders[2], lines, sentinel=True))
        with sentinel.client() as client:
            until(lambda: client.execute_command("SENTINEL REPLICAS", NAME))
        yield WatchedRedis(master, replica, sentinel)
