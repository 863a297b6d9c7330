"""Sequenced-packet Unix sockets between processes of one machine and one user.

Rule: both ends ask the kernel who the other one is before they say or hear anything; file
descriptors that arrive in a way that is not agreed are closed and never leak.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from rtserver.errors import ProtocolError
from rtserver.protocol.handoff import MAX_DATAGRAM

# More than one is against the rules; what does not fit is dropped by the kernel, which says so.
_MAX_FDS = 8
_CREDENTIALS = struct.Struct("3i")
_BACKLOG = 128


def is_ours(sock: socket.socket) -> bool:
    """Whether the other end is a process of our own user."""
    wire = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(wire)[1]
    return uid == os.geteuid()


def listen_at(path: Path) -> socket.socket:
    """A listening socket in the place of whatever was left there. Only who holds the slot may call this.

    Raises:
        OSError: It cannot be listened on; the message names the path.
    """
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        sock.bind(os.fspath(path))
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"cannot listen on {path}: {exc.strerror}") from exc
    return sock


def connect_to(path: Path) -> socket.socket | None:
    """A connection to whoever listens there; None when nobody does, or somebody else's process."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        sock.connect(os.fspath(path))
        if is_ours(sock):
            return sock
    except OSError:
        pass
    sock.close()
    return None


def receive(sock: socket.socket) -> tuple[bytes, socket.socket | None]:
    """The next datagram, and the socket that came with it. An empty one is the end.

    Raises:
        BlockingIOError: None is waiting.
        ProtocolError: What came with it is not exactly one socket, or the kernel had to drop something.
        OSError: The connection is broken.
    """
    data, fds, flags, _ = socket.recv_fds(sock, MAX_DATAGRAM, _MAX_FDS, socket.MSG_CMSG_CLOEXEC)
    if not fds and not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
        return data, None
    if len(fds) == 1 and not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
        try:
            return data, socket.socket(fileno=fds[0])
        except OSError:
            flags = 0
    for fd in fds:
        os.close(fd)
    what = "is cut short" if flags else f"brings {len(fds)} descriptors that are not one socket"
    raise ProtocolError(f"a datagram {what}")


def send(sock: socket.socket, datagram: bytes, passed: socket.socket) -> None:
    """Send a datagram and a socket with it.

    Raises:
        BlockingIOError: The other end has enough to do.
        OSError: The connection is broken.
    """
    socket.send_fds(sock, [datagram], [passed.fileno()])
