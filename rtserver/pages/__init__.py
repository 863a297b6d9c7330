"""The web UI as files that a node serves: chat, cluster and playground.

Rule: only what was in the folder at the start is served, found by its whole name,
so no path can lead anywhere else. ``make webui`` builds the folder; a wheel has it.
"""

from __future__ import annotations

import mimetypes
import secrets
from dataclasses import dataclass
from pathlib import Path

from quart import Quart, Response

BUILT = Path(__file__).parent / "static"
INDEX = "index.html"
# The pages that the script draws by itself: each is answered with the same document.
VIEWS = ("", "cluster", "playground")
# What the build has put where the nonce of each answer belongs.
NONCE = b"RTSERVER_NONCE"
# The names of what the build puts here contain a hash of the content.
HASHED = "assets/"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'{elsewhere}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the web UI."""

    body: bytes
    content_type: str
    hashed: bool


class Pages:
    """The files of a folder.

    Args:
        folder: What the build has made; read once.
        connect_to: Origins that the playground may talk to, besides the page's own.

    Attributes:
        files: By name, with slashes. Empty if the web UI was not built.
    """

    def __init__(self, folder: Path = BUILT, connect_to: tuple[str, ...] = ()) -> None:
        self.files: dict[str, PageFile] = {}
        self._elsewhere = "".join(f" {origin}" for origin in connect_to)
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and not path.is_symlink():
                name = path.relative_to(folder).as_posix()
                self.files[name] = PageFile(path.read_bytes(), _content_type(name), name.startswith(HASHED))

    def find(self, name: str) -> Response | None:
        """The answer for a path without its first slash; None if there is no such file."""
        if name in VIEWS:
            return self._document()
        file = self.files.get(name)
        if file is None or name == INDEX:
            return None
        cached = "public, max-age=31536000, immutable" if file.hashed else "public, max-age=3600"
        return Response(file.body, content_type=file.content_type, headers={**SAFE, "Cache-Control": cached})

    def _document(self) -> Response | None:
        index = self.files.get(INDEX)
        if index is None:
            return None
        nonce = secrets.token_urlsafe(16)
        policy = POLICY.format(nonce=nonce, elsewhere=self._elsewhere)
        headers = {**SAFE, "Cache-Control": "no-store", "Content-Security-Policy": policy, "X-Frame-Options": "DENY"}
        return Response(index.body.replace(NONCE, nonce.encode()), content_type=index.content_type, headers=headers)


def serve_pages(app: Quart, pages: Pages | None = None) -> None:
    """Let ``app`` serve the web UI at ``/``; what it routes otherwise comes first."""
    served = pages or Pages()

    @app.get("/")
    @app.get("/<path:name>")
    async def page(name: str = "") -> Response:
        found = served.find(name)
        if found is not None:
            return found
        if name in VIEWS:
            return Response("The web UI has not been built: make webui\n", 404, content_type="text/plain")
        return Response("Not Found\n", 404, content_type="text/plain", headers=SAFE)


def _content_type(name: str) -> str:
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
