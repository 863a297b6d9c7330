"""Makes the tables of ``docs/scaling.md``.

usage: python -m benchmarks.simulation           writes them into the document
       python -m benchmarks.simulation --print   prints them
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from benchmarks.simulation.costs import Known, load
from benchmarks.simulation.tables import TABLES

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"
# A table stands between two comments, which a page does not show.
MARKED = re.compile(r"(<!-- table: (?P<name>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, known: Known) -> str:
    """The document with the tables of these costs.

    Raises:
        KeyError: It asks for a table that there is not.
    """
    return MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found['name']](known)}\n\n{found[3]}", text)


def main(given: list[str]) -> int:
    known = load()
    if given == ["--print"]:
        for name, make in TABLES.items():
            print(f"{name}\n\n{make(known)}\n")
    elif given:
        print(__doc__, file=sys.stderr)
        return 2
    else:
        DOCUMENT.write_text(filled(DOCUMENT.read_text(), known))
        print(f"the tables of {DOCUMENT.name} are those of {known.machine}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
