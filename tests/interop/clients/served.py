"""What the commands serve that users type: ``rtserver serve …:io`` and ``hypercorn -k trio …:app``."""

from __future__ import annotations

from quart_trio import QuartTrio

from tests.interop.clients.application import build

io = build("plain", None)
app = QuartTrio("interop")
build("plain", None).mount(app)
