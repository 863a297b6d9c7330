"""Middleware for production: one file (or package) each, on the hooks that everybody has.

Rule: independent of one another, and nothing below imports them. What needs an extra is
imported from its own module, so that the rest does without: ``rtserver.middleware.auth``,
``rtserver.middleware.ratelimit.shared``, ``rtserver.middleware.tracing``.
"""

from __future__ import annotations

from rtserver.middleware.connection_limits import ConnectionLimits
from rtserver.middleware.log import ConnectionLog
from rtserver.middleware.metrics import Metrics
from rtserver.middleware.origin import AllowedOrigins
from rtserver.middleware.permissions import Permissions, allow, deny
from rtserver.middleware.ratelimit import Rate, RateLimit
from rtserver.middleware.validation import Validation

__all__ = [
    "AllowedOrigins",
    "ConnectionLimits",
    "ConnectionLog",
    "Metrics",
    "Permissions",
    "Rate",
    "RateLimit",
    "Validation",
    "allow",
    "deny",
]
