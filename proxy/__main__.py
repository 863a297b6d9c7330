"""``python -m proxy``."""

from __future__ import annotations

from proxy.cli import main

main(prog_name="python -m proxy")
