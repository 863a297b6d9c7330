"""What the commands serve that users type: ``rtserver serve …:plain`` and ``hypercorn -k trio …:plain_app``."""

from __future__ import annotations

from quart_trio import QuartTrio

from rtserver import Server
from tests.interop.application import build


def mounted(io: Server) -> QuartTrio:
    app = QuartTrio("interop")
    io.mount(app)
    return app


plain = build("plain", None)
msgpack = build("msgpack", None)
fast = build("fast", None)
plain_app = mounted(build("plain", None))
msgpack_app = mounted(build("msgpack", None))
fast_app = mounted(build("fast", None))
