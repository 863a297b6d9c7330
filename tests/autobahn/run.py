"""Runs the Autobahn test suite against a node's WebSocket: ``make autobahn WSTEST=/where/is/wstest``.

``wstest`` is the suite's command (on PyPI ``autobahntestsuite``, for Python 2.7). Prints a line
for each section and each case that did not pass; the exit status is 1 if there is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

SERVER = Path(__file__).with_name("echo_server.py")
# What the suite calls a pass: a case may leave a choice, or only ask what a server does.
PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")


def main(wstest: list[str], cases: list[str]) -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, SERVER], stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            specification = Path(folder) / "cases.json"
            specification.write_text(
                json.dumps(
                    {
                        "outdir": folder,
                        "servers": [{"agent": "rtserver", "url": url}],
                        "cases": cases,
                        "exclude-cases": [],
                        "exclude-agent-cases": {},
                    }
                )
            )
            subprocess.run([*wstest, "-m", "fuzzingclient", "-s", specification], check=True, stdout=sys.stderr)
            return tell(json.loads((Path(folder) / "index.json").read_text())["rtserver"])
        finally:
            server.terminate()


def tell(found: dict[str, dict[str, str]]) -> int:
    sections: dict[int, Counter[str]] = {}
    failed = []
    for case, row in found.items():
        sections.setdefault(int(case.split(".")[0]), Counter())[row["behavior"]] += 1
        if row["behavior"] not in PASSED or row["behaviorClose"] not in PASSED:
            failed.append(f"{case}: {row['behavior']}, close {row['behaviorClose']}")
    for section, outcomes in sorted(sections.items()):
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        sys.stdout.write(f"section {section}: {told}\n")
    for line in failed:
        sys.stdout.write(f"FAILED {line}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].split(), sys.argv[2:] or ["*"]))
