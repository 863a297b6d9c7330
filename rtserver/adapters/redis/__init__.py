"""Broadcasts and requests between nodes over Redis, in the format of ``@socket.io/redis-adapter``."""

from __future__ import annotations

from rtserver.adapters.redis.relay import RedisAdapter

__all__ = ["RedisAdapter"]
