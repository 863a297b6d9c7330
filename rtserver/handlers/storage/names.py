"""What names are compared and sorted by."""

from __future__ import annotations

import unicodedata


def name_key(name: str) -> str:
    """The same for names that look alike: in letters of either case, or compatible characters."""
    return unicodedata.normalize("NFKC", name).casefold()
