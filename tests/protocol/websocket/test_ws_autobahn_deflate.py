"""The Autobahn test suite's sections 12 and 13: permessage-deflate, against the implementation of ``websockets``.

Two or four messages a case instead of a thousand, and data made here instead of the suite's files.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from rtserver.protocol.websocket.deflate import Agreement, Inflater, deflate, negotiate
from rtserver.protocol.websocket.frames import binary_frame, text_frame
from rtserver.protocol.websocket.receiver import Receiver

# (bytes of a message, bytes of a fragment; 0 is unfragmented)
SIZES = [
    *((16 * 4**power, 0) for power in range(5)),
    *((8_192 * 2**power, 0) for power in range(5)),
    *((8_192 * 2**power, 256) for power in range(5)),
    (131_072, 1_024),
    (131_072, 4_096),
    (131_072, 32_768),
]

chance = random.Random(7)
WORDS = ["".join(chance.choices("enisratdhulcgmobwfkzpvßäöü", k=chance.randrange(2, 11))) for _ in range(900)]
PROSE = " ".join(chance.choices(WORDS, k=40_000)).encode()
BITMAP = bytes((x * y >> 9) + chance.randrange(3) & 0xFF for y in range(512) for x in range(512))
DOCUMENT = b"".join(chance.randbytes(900) + b"\nendstream endobj\n" * 9 for _ in range(250))
RECORDS = json.dumps(
    [{"id": number, "name": chance.choice(WORDS), "at": chance.random()} for number in range(4_000)]
).encode()
PAGE = b"".join(
    b'<li class="item-%d"><a href="/%d">%x</a></li>\n' % (n % 7, n, chance.getrandbits(40)) for n in range(4_000)
)
DATA = [(PROSE, True), (BITMAP, True), (DOCUMENT, True), (RECORDS, False), (PAGE, False)]
# (server_no_context_takeover, server_max_window_bits) of each offer
OFFERS: list[list[tuple[bool, int | None]]] = [
    [(False, None)],
    [(True, None)],
    [(False, 9)],
    [(False, 15)],
    [(True, 9)],
    [(True, 15)],
    [(True, 9), (True, None), (False, None)],
]


def offer(no_context: bool, bits: int | None) -> str:
    return (
        "permessage-deflate; client_max_window_bits"
        + ("; server_no_context_takeover" if no_context else "")
        + (f"; server_max_window_bits={bits}" if bits else "")
    )


def peer_of(agreement: Agreement, first: tuple[bool, int | None]) -> PerMessageDeflate:
    """The client's side, as far as it takes our answer for one to its first offer."""
    factory = ClientPerMessageDeflateFactory(
        server_no_context_takeover=first[0], server_max_window_bits=first[1], client_max_window_bits=True
    )
    pairs = [part.strip().partition("=") for part in agreement.response.split(";")[1:]]
    return factory.process_response_params([(name, value or None) for name, _, value in pairs], [])


def sent_by(peer: PerMessageDeflate, opcode: Opcode, payload: bytes, piece: int) -> Iterator[bytes]:
    step = piece or len(payload)
    for at in range(0, len(payload), step):
        part = Frame(Opcode.CONT if at else opcode, payload[at : at + step], fin=at + step >= len(payload))
        yield part.serialize(mask=True, extensions=[peer])


def read_by(peer: PerMessageDeflate, wire: bytes) -> Frame:
    stream = StreamReader()
    stream.feed_data(wire)
    reading = Frame.parse(stream.read_exact, mask=False, extensions=[peer])
    with pytest.raises(StopIteration) as done:
        next(reading)
    frame: Frame = done.value.value
    return Frame(frame.opcode, bytes(frame.data), fin=frame.fin)


def converse(offers: list[tuple[bool, int | None]], data: bytes, binary: bool, size: int, piece: int) -> None:
    agreement = negotiate(", ".join(itertools.starmap(offer, offers)))
    assert agreement is not None
    peer = peer_of(agreement, offers[0])
    # What cannot be compressed takes a few bytes more than it is.
    receiver = Receiver(size + 64, inflater=Inflater(agreement, size))
    opcode = Opcode.BINARY if binary else Opcode.TEXT
    for number in range(4 if size < 10_000 else 2):
        message = data[number * size % len(data) :][:size].ljust(size, b"*")
        wire = b"".join(sent_by(peer, opcode, message, piece))
        assert receiver.feed(wire) == [message if binary else message.decode()]
        write = binary_frame if binary else text_frame
        packed = deflate(message, agreement.server_max_window_bits)
        assert read_by(peer, write(packed, rsv1=True)) == Frame(opcode, message)


@pytest.mark.parametrize(
    ("medium", "case"), [pytest.param(m, c, id=f"12.{m + 1}.{c + 1}") for m in range(5) for c in range(18)]
)
def test_messages_of_every_medium_pass_compressed(medium: int, case: int) -> None:
    converse([(False, None)], *DATA[medium], *SIZES[case])


@pytest.mark.parametrize(
    ("offers", "case"), [pytest.param(o, c, id=f"13.{o + 1}.{c + 1}") for o in range(7) for c in range(18)]
)
def test_messages_pass_under_every_agreement(offers: int, case: int) -> None:
    converse(OFFERS[offers], *DATA[3], *SIZES[case])
