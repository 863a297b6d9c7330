"""What a node counts while it moves bytes: plain integers, read when somebody asks."""

from __future__ import annotations


class Counters:
    """Shared by the engine, its doors and its connections.

    Attributes:
        bytes_in: Read from raw sockets.
        bytes_out: Written to raw sockets.
        packets_out: Engine.IO packets sent or queued.
    """

    __slots__ = ("bytes_in", "bytes_out", "packets_out")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.packets_out = 0
