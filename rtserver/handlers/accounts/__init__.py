"""Who users are: names, passwords and tokens, over HTTP."""

from __future__ import annotations
