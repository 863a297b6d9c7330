"""Middleware for production: one file (or package) each, on the hooks that everybody has.

Rule: independent of one another, and nothing below imports them. What needs an extra is
imported from its own module, so that the rest does without: ``rtserver.middleware.auth``.
"""

from __future__ import annotations

from rtserver.middleware.origin import AllowedOrigins
from rtserver.middleware.permissions import Permissions, allow, deny
from rtserver.middleware.ratelimit import Rate, RateLimit

__all__ = ["AllowedOrigins", "Permissions", "Rate", "RateLimit", "allow", "deny"]
