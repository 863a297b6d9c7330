"""Listening sockets, by the address that they are asked for.

Rule: loads little, for programs that only listen use it too.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtserver.errors import ConfigurationError

BACKLOG = 4_096


@contextmanager
def open_listener(address: str) -> Iterator[socket.socket]:
    """A listening socket for ``address``.

    Raises:
        ConfigurationError: It cannot be read.
        OSError: It cannot be listened on; the message names the address.
    """
    if address.startswith("unix:"):
        with _unix_listener(Path(address.removeprefix("unix:"))) as sock:
            yield sock
        return
    host, port = read_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(host, port, family if host else 0, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as exc:
        raise ConfigurationError("address", address, "an address of this machine") from exc
    family, kind, protocol, _, bound = found[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(bound)
        except OSError as exc:
            raise OSError(exc.errno, f"cannot listen on {address}: {exc.strerror}") from exc
        sock.listen(BACKLOG)
        yield sock


def read_address(address: str) -> tuple[str, int]:
    """``host:port`` as a pair; an IPv6 host is in brackets.

    Raises:
        ConfigurationError: It is no such thing.
    """
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigurationError("address", address, "host:port, [ipv6]:port, or unix:/path")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError("address", address, "host:port, [ipv6]:port, or unix:/path")
    return host, int(port)


@contextmanager
def _unix_listener(path: Path) -> Iterator[socket.socket]:
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
        # Left behind by a process that died; a living one would have answered.
        path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.bind(os.fspath(path))
        except OSError as exc:
            raise OSError(exc.errno, f"cannot listen on unix:{path}: {exc.strerror}") from exc
        sock.listen(BACKLOG)
        try:
            yield sock
        finally:
            path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True
