"""The opening handshake, and what is agreed on with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from rtserver.protocol.websocket.deflate import deflate, negotiate
from rtserver.protocol.websocket.handshake import UpgradeRefused, accept_value, check_upgrade, upgrade_response

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": KEY,
}


def test_the_example_of_the_rfc() -> None:
    assert accept_value(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert check_upgrade(GOOD) == KEY
    assert upgrade_response(KEY, [("X-Extra", "1")]) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Extra: 1\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"connection": "keep-alive"}, 400),
        ({"upgrade": "h2c"}, 400),
        ({"sec-websocket-version": "8"}, 426),
        ({"sec-websocket-key": "short"}, 400),
        ({"sec-websocket-key": "c2hvcnQ="}, 400),
        ({"sec-websocket-key": "ü" * 24}, 400),
        ({"sec-websocket-key": f"{KEY}, {KEY}"}, 400),
        ({"content-length": "5"}, 400),
        ({"transfer-encoding": "chunked"}, 400),
    ],
)
def test_anything_else_is_refused(change: dict[str, str], status: int) -> None:
    with pytest.raises(UpgradeRefused) as caught:
        check_upgrade({**GOOD, **change})
    assert caught.value.status == status
    assert (("Sec-WebSocket-Version", "13") in caught.value.headers) == (status == 426)


@pytest.mark.parametrize(
    ("offer", "response"),
    [
        ("permessage-deflate", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover"),
        (
            "permessage-deflate; client_max_window_bits=10; server_max_window_bits=12; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=10",
        ),
        (
            'Permessage-Deflate; server_max_window_bits="9"',
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
        ),
        (
            "x-webkit-frame, permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "permessage-deflate; server_no_context_takeover",
        ),
        (
            'x-other; a="b"; c, , permessage-deflate ; client_max_window_bits = "8",',
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=8",
        ),
    ],
)
def test_an_offer_is_accepted(offer: str, response: str) -> None:
    agreement = negotiate(offer)
    assert agreement is not None
    assert agreement.response == response


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=abc",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; unknown",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate;",
        'permessage-deflate; client_max_window_bits="10',
        'permessage-deflate; server_max_window_bits=""10""',
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=010",
        'x-other; a="b, permessage-deflate, c"',
        "x other, permessage-deflate",
        "permessage-deflate, ;",
        ",,",
    ],
)
def test_an_offer_is_declined(offer: str) -> None:
    assert negotiate(offer) is None


@given(st.text())
def test_a_malformed_header_is_declined_and_raises_nothing(header: str) -> None:
    negotiate(header)
    negotiate(f"permessage-deflate; {header}")


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_websockets_agrees_and_inflates_what_we_deflate(bits: int) -> None:
    factory = ClientPerMessageDeflateFactory(server_max_window_bits=bits, client_max_window_bits=True)
    offer = "permessage-deflate; " + "; ".join(
        name if value is None else f"{name}={value}" for name, value in factory.get_request_params()
    )
    agreement = negotiate(offer)
    assert agreement is not None
    parameters = [part.strip().partition("=") for part in agreement.response.split(";")[1:]]
    peer = factory.process_response_params([(name, value or None) for name, _, value in parameters], [])
    message = b'{"json": [1, 2, 3]}' * 200
    for _ in range(2):
        frame = Frame(Opcode.TEXT, deflate(message, agreement.server_max_window_bits), rsv1=True)
        assert bytes(peer.decode(frame).data) == message
