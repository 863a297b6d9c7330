"""Names for what a document refers to.

Rule: a name is given once; what would get a taken one gets a number behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
# What stands for many characters in a pattern says nothing in a name.
_ESCAPED = re.compile(r"\\[A-Za-z]")
_WORD = re.compile(r"[A-Za-z0-9]+")


class Names:
    """Names that are taken.

    Args:
        taken: From the start.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def take(self, name: str) -> str:
        """``name``, or the first of ``name2``, ``name3``, … that is free."""
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}{number}"
        self._taken.add(free)
        return free


def plain(name: str) -> str:
    """``name`` as a key of AsyncAPI's components: letters, digits, ``_``, ``.`` and ``-``."""
    return _NOT_PLAIN.sub("_", name) or "_"


def pascal(name: str) -> str:
    """``name`` as that of a type: ``Page[Text]`` gives ``PageText``, and a good name stays as it is.

    It begins with a capital, so it is no word of TypeScript's own.
    """
    if is_identifier(name) and not name.endswith("_"):
        return name[:1].upper() + name[1:]
    joined = "".join(word[:1].upper() + word[1:] for word in _WORD.findall(name))
    return joined if joined and not joined[0].isdigit() else f"T{joined}"


def is_identifier(name: str) -> bool:
    """Whether JavaScript can read ``name`` as a property without quotes. Non-ASCII ones are quoted."""
    return _IDENTIFIER.fullmatch(name) is not None


def channel_key(name: str, dynamic: bool) -> str:
    """What a namespace is called where there are no slashes: ``chat`` for ``/chat``, ``main`` for ``/``."""
    words = _ESCAPED.sub("", name).rpartition("<locals>.")[2] if dynamic else name
    return plain(words.strip("/^$").replace("/", ".")).strip("_.-") or "main"
