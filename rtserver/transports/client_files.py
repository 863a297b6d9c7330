"""The browser client's files, as the npm package ``socket.io-client`` ships them.

Rule: only names of a fixed list are served, so no path of a client ever reaches
the file system. Source: socket.io 4.8, ``serveClient``.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from rtserver.transports.request import Request, Response

_TYPES = {".js": "application/javascript; charset=utf-8", ".map": "application/json; charset=utf-8"}
_STEMS = ("socket.io.js", "socket.io.min.js", "socket.io.msgpack.min.js", "socket.io.esm.min.js")
NAMES = frozenset([*_STEMS, *(f"{stem}.map" for stem in _STEMS)])


class ClientFiles:
    """Finds and answers with the client's files.

    Args:
        where: A folder, or True to look for ``node_modules`` from the working folder upwards.
    """

    def __init__(self, where: bool | Path) -> None:
        self._folder = where if isinstance(where, Path) else _installed() if where else None

    def find(self, request: Request, base: str) -> Response | None:
        """The answer to a request for one of the files, or None if it is for none."""
        name = request.path[len(base) :]
        if self._folder is None or name not in NAMES or request.method not in ("GET", "HEAD"):
            return None
        found = _load(self._folder / name)
        if found is None:
            return None
        body, etag = found
        headers = [
            ("Content-Type", _TYPES[Path(name).suffix]),
            ("Cache-Control", "public, max-age=0"),
            ("ETag", etag),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if etag in request.headers.get("if-none-match", ""):
            return Response(304, b"", headers)
        return Response(200, body, headers)


@cache
def _load(path: Path) -> tuple[bytes, str] | None:
    try:
        body = path.read_bytes()
    except OSError:
        return None
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _installed() -> Path | None:
    here = Path.cwd()
    for folder in (here, *here.parents):
        candidate = folder / "node_modules" / "socket.io-client" / "dist"
        if candidate.is_dir():
            return candidate
    return None
