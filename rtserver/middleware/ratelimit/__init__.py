"""Rates: how many events, joins and handshakes a client may have in a time.

``rtserver.middleware.ratelimit.shared`` has the one whose buckets all nodes share; it needs a Redis client.
"""

from __future__ import annotations

from rtserver.core.addresses import group
from rtserver.middleware.ratelimit.buckets import MAX_KEYS, Buckets, By, Rate, rounded
from rtserver.middleware.ratelimit.limit import CODE, MESSAGE, RateLimit, Rates

__all__ = ["CODE", "MAX_KEYS", "MESSAGE", "Buckets", "By", "Rate", "RateLimit", "Rates", "group", "rounded"]
