"""Who is online in a room, on whatever node."""

from __future__ import annotations
