"""The codecs at work, one after another, for whoever counts instructions.

usage: codecs.py, which calls ``getpgid`` before and after each

Rule: nothing here depends on time, on chance or on what ran before, so that a count is the same each time. Each work
is done often enough beforehand for the interpreter to have specialised its code.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from itertools import repeat

from rtserver.protocol.engineio.payload import decode_payload, encode_payload
from rtserver.protocol.socketio.json_parser import IncompletePacket, JSONParser
from rtserver.protocol.socketio.msgpack_parser import MsgpackParser
from rtserver.protocol.socketio.packet import Packet
from rtserver.protocol.websocket.frames import BINARY, TEXT, client_frame
from rtserver.protocol.websocket.receiver import Receiver

BEFORE, COUNTED = 100, 200  # times
MASK = b"\x37\xfa\x21\x3d"
TEXT_64 = "x" * 64
RECORD = {"id": 7, "user": "somebody", "tags": ["a", "b"], "at": 1.5, "text": TEXT_64}
BINARY_1K = bytes(1_024)
PACKETS = 10  # of a polling payload

json, msgpack = JSONParser(), MsgpackParser()
receiver = Receiver(1_000_000)
frame_small = client_frame(TEXT, f'420["m","{TEXT_64}"]'.encode(), MASK)
frame_large = client_frame(BINARY, bytes(16_384), MASK)
event_text = f'20["m","{TEXT_64}"]'
event_record = json.encode_event("/chat", ["m", RECORD], 5).text or b""
event_binary = json.encode_event("/", ["m", BINARY_1K])
event_msgpack = msgpack.encode_event("/chat", ["m", RECORD], 5).attachments[0]
payload = "\x1e".join([f"4{event_text}"] * PACKETS)
parts = [f"4{event_text}".encode()] * PACKETS


def read_binary_event() -> Packet | None:
    waiting = json.decode_text((event_binary.text or b"").decode())
    return waiting.add(event_binary.attachments[0]) if isinstance(waiting, IncompletePacket) else None


WORKS: dict[str, Callable[[], object]] = {
    "websocket: read 64 B text": lambda: receiver.feed(frame_small),
    "websocket: read 16 kB binary": lambda: receiver.feed(frame_large),
    "engine.io: read 10 packets": lambda: decode_payload(payload, max_packets=1_000),
    "engine.io: write 10 packets": lambda: encode_payload(parts),
    "socket.io: read event, 64 B": lambda: json.decode_text(event_text),
    "socket.io: read event, record": lambda: json.decode_text(event_record.decode()),
    "socket.io: read event, 1 kB binary": read_binary_event,
    "socket.io: write ack, 64 B": lambda: json.encode_ack("/", [TEXT_64], 5),
    "socket.io: write event, record": lambda: json.encode_event("/chat", ["m", RECORD], 5),
    "socket.io: write event, 1 kB binary": lambda: json.encode_event("/", ["m", BINARY_1K]),
    "msgpack: read event, record": lambda: msgpack.decode_binary(event_msgpack),
    "msgpack: write event, record": lambda: msgpack.encode_event("/chat", ["m", RECORD], 5),
}


def run_all() -> None:
    gc.disable()
    for work in WORKS.values():
        for _ in repeat(None, BEFORE):
            work()
        os.getpgid(0)
        for _ in repeat(None, COUNTED):
            work()
        os.getpgid(0)


if __name__ == "__main__":
    run_all()
