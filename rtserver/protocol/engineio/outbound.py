"""A message on its way out, made ready once for any number of recipients.

Rule: ``frames`` is all that a WebSocket needs and is made at once; what polling
or compression need is made when first asked for, and kept.
"""

from __future__ import annotations

import base64
import copy

from rtserver.protocol.websocket.deflate import deflate
from rtserver.protocol.websocket.frames import binary_frame, text_frame

# Compressing less than this costs more than it saves. Source: engine.io, ``perMessageDeflate.threshold``.
COMPRESS_FROM = 1_024


class Outbound:
    """A Socket.IO packet: its text, if any, and its binary attachments.

    Args:
        text: UTF-8, without the Engine.IO packet type.
        attachments: Binary messages that follow.
        compress: Whether it may be compressed.

    Attributes:
        frames: The WebSocket frames of all of it.
        count: How many Engine.IO packets it is.
    """

    __slots__ = ("_deflated", "_parts", "attachments", "compress", "count", "frames", "text")

    def __init__(self, text: bytes | None, attachments: tuple[bytes, ...] = (), *, compress: bool = True) -> None:
        self.text = text
        self.attachments = attachments
        self.compress = compress
        self._parts: tuple[bytes, ...] | None = None
        self._deflated: dict[int, bytes] | None = None
        if text is not None and not attachments:
            self.frames = text_frame(b"4" + text)
            self.count = 1
        else:
            frames = [] if text is None else [text_frame(b"4" + text)]
            frames += map(binary_frame, attachments)
            self.frames = b"".join(frames)
            self.count = len(frames)

    def rest(self, sent: int) -> Outbound:
        """What a WebSocket still has to send once ``sent`` bytes of the frames have gone. It is no packet more."""
        rest = copy.copy(self)
        rest.frames = self.frames[sent:]
        rest.compress = False
        rest.count = 0
        return rest

    def parts(self) -> tuple[bytes, ...]:
        """The packets as a polling payload has them."""
        if self._parts is None:
            text = () if self.text is None else (b"4" + self.text,)
            self._parts = (*text, *(b"b" + base64.b64encode(attachment) for attachment in self.attachments))
        return self._parts

    def packets(self) -> list[str | bytes]:
        """The packets as a WebSocket library takes them, one by one."""
        text = [] if self.text is None else ["4" + self.text.decode()]
        return [*text, *self.attachments]

    def deflated(self, window_bits: int) -> bytes:
        """The frames, compressed where that is worth it, for a window of this size."""
        if self._deflated is None:
            self._deflated = {}
        frames = self._deflated.get(window_bits)
        if frames is None:
            frames = self._deflated[window_bits] = self._deflate(window_bits)
        return frames

    def _deflate(self, window_bits: int) -> bytes:
        frames = []
        if self.text is not None:
            payload = b"4" + self.text
            small = len(payload) < COMPRESS_FROM
            frames.append(text_frame(payload) if small else text_frame(deflate(payload, window_bits), rsv1=True))
        for payload in self.attachments:
            small = len(payload) < COMPRESS_FROM
            frames.append(binary_frame(payload) if small else binary_frame(deflate(payload, window_bits), rsv1=True))
        return b"".join(frames)
