"""Two hosts and a cable between them: network namespaces with a veth pair.

Rule: what is made here is named after this process and is gone with the block, also when a
test fails. Where the kernel does not let us, ``NoHosts`` says why. Source: ip-netns(8), veth(4).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000


class NoHosts(Exception):
    """Namespaces cannot be made on this machine."""


class Host:
    """One host.

    Attributes:
        address: Of its end of the cable.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and processes and sockets that it makes, are on the host for the length of a block."""
        with Path("/proc/thread-self/ns/net").open() as before, Path("/run/netns", self.name).open() as own:
            _enter(own.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def cable(self, state: str) -> None:
        """``down`` pulls it out at this end, ``up`` puts it in again."""
        _ip("-n", self.name, "link", "set", "cable", state)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=10)
    except subprocess.CalledProcessError as exc:
        raise NoHosts(f"ip {' '.join(arguments)}: {exc.stderr.strip()}") from exc


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach one another.

    Raises:
        NoHosts: This user, or this kernel, may not.
    """
    if shutil.which("ip") is None:
        raise NoHosts("there is no ip command")
    if os.geteuid() != 0:
        raise NoHosts("only root may make network namespaces")
    hosts = Host(f"rt{os.getpid()}a", "198.18.0.1"), Host(f"rt{os.getpid()}b", "198.18.0.2")
    with ExitStack() as stack:
        for host in hosts:
            _ip("netns", "add", host.name)
            stack.callback(_ip, "netns", "del", host.name)
        here, there = hosts
        _ip("-n", here.name, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", there.name)
        for host in hosts:
            _ip("-n", host.name, "addr", "add", f"{host.address}/30", "dev", "cable")
            for link in ("lo", "cable"):
                _ip("-n", host.name, "link", "set", link, "up")
        yield hosts
