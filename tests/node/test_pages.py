from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from quart_trio import QuartTrio

from rtserver.pages import Pages, serve_pages


@pytest.fixture
def app(tmp_path: Path) -> QuartTrio:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<!doctype html><meta property="csp-nonce" nonce="RTSERVER_NONCE">')
    (folder / "assets" / "index-1a2b.js").write_text("export {}")
    (folder / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    app = QuartTrio("test")

    @app.get("/api/hello")
    async def hello() -> str:
        return "hello"

    serve_pages(app, Pages(folder))
    return app


@pytest.mark.parametrize("path", ["/", "/cluster", "/playground"])
async def test_every_view_is_the_same_document_and_is_never_cached(app: QuartTrio, path: str) -> None:
    answer = await app.test_client().get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_each_answer_has_a_nonce_of_its_own_and_a_strict_policy(app: QuartTrio) -> None:
    seen = set()
    for _ in range(2):
        answer = await app.test_client().get("/")
        text = await answer.get_data(as_text=True)
        policy = answer.headers["Content-Security-Policy"]
        nonce = re.search(r'nonce="([\w-]{20,})"', text)
        assert nonce is not None
        assert f"'nonce-{nonce[1]}'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        seen.add(nonce[1])
    assert len(seen) == 2


async def test_hashed_files_are_cached_for_ever_and_others_for_an_hour(app: QuartTrio) -> None:
    client = app.test_client()
    script = await client.get("/assets/index-1a2b.js")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert script.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert script.headers["X-Content-Type-Options"] == "nosniff"
    icon = await client.get("/favicon.svg")
    assert icon.headers["Content-Type"] == "image/svg+xml"
    assert icon.headers["Cache-Control"] == "public, max-age=3600"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e%5csecret.txt",
        "//etc/passwd",
        "/assets//index-1a2b.js",
        "/link.txt",
        "/index.html",
        "/assets",
        "/nothing",
        "/%00",
    ],
)
async def test_nothing_else_is_served(app: QuartTrio, path: str) -> None:
    answer = await app.test_client().get(path)
    assert answer.status_code in (404, 308)
    assert b"secret" not in await answer.get_data()


async def test_other_routes_of_the_application_come_first(app: QuartTrio) -> None:
    answer = await app.test_client().get("/api/hello")
    assert await answer.get_data(as_text=True) == "hello"


async def test_without_a_build_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    app = QuartTrio("test")
    serve_pages(app, Pages(tmp_path / "nowhere"))
    answer = await app.test_client().get("/")
    assert answer.status_code == 404
    assert "make webui" in await answer.get_data(as_text=True)


@pytest.fixture
def built() -> Pages:
    pages = Pages()
    if not pages.files:
        pytest.skip("the web UI has not been built: make webui")
    return pages


def test_the_first_page_is_small(built: Pages) -> None:
    document = built.files["index.html"].body.decode()
    named = re.findall(r'(?:src|href)="/([^"]+)"', document)
    loaded = sum(len(gzip.compress(built.files[name].body)) for name in named)
    assert loaded <= 200_000, f"{loaded} bytes"


def test_nothing_is_loaded_from_elsewhere(built: Pages) -> None:
    document = built.files["index.html"].body.decode()
    assert re.findall(r'(?:src|href)="(?!/)[^"]*"', document) == []
    assert "RTSERVER_NONCE" in document
    styles = b"".join(file.body for name, file in built.files.items() if name.endswith(".css"))
    assert re.findall(rb"url\((?!data:|#)[^)]*\)", styles) == []
