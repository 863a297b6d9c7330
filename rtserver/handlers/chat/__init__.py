"""Rooms with members, and the messages in them."""

from __future__ import annotations
