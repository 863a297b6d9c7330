"""Docstrings in Google's style, as far as documents need them: the text, and what it says of each field.

Rule: a docstring that is not in this style is all text.
"""

from __future__ import annotations

import inspect
import re

_SECTION = re.compile(r"(Args|Attributes|Fields):")
_FIELD = re.compile(r"(\w+)(?: \([^)]*\))?: (.*)")


def clean(docstring: str) -> str:
    """A docstring without its indentation."""
    return inspect.cleandoc(docstring)


def split_fields(docstring: str) -> tuple[str, dict[str, str]]:
    """The text of a clean docstring without its section of fields, and the fields.

    Returns:
        The text, and for each field's name one line about it.
    """
    kept: list[str] = []
    fields: dict[str, str] = {}
    inside = False
    name = ""
    for line in docstring.splitlines():
        if _SECTION.fullmatch(line):
            inside = True
        elif inside and (not line or line.startswith(" ")):
            found = _FIELD.fullmatch(line[4:])
            if found is not None and line.startswith("    "):
                name = found[1]
                fields[name] = found[2].strip()
            elif line and name:
                fields[name] += " " + line.strip()
        else:
            inside = False
            kept.append(line)
    return ("\n".join(kept).strip(), fields) if fields else (docstring, {})
