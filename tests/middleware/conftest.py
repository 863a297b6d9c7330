"""Servers behind both doors, as the behaviour tests have them."""

from __future__ import annotations

from tests.behaviour.conftest import clock, door, kind, serve

__all__ = ["clock", "door", "kind", "serve"]
