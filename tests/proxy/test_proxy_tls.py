"""TLS towards clients: nodes and upstreams see plain bytes, and are told that it was TLS."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.behaviour.support import ACCEPT, KEY, HttpClient, sid_of
from tests.cluster.support import eventually, start_node
from tests.proxy.support import HANDSHAKE, Through, Upstream, lines_of, proxied


def write_certificate(folder: Path, name: str) -> dict[str, str]:
    """A certificate for ``localhost``, issued by ``name``, as settings."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for path, content in (
        (folder / "key.pem", private),
        (folder / "certificate.pem", certificate.public_bytes(serialization.Encoding.PEM)),
    ):
        # As a tool for certificates does it: a new file in the place of the old one.
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(path)
    return {"tls_certificate": str(folder / "certificate.pem"), "tls_key": str(folder / "key.pem")}


async def connect(through: Through, folder: Path) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    return await _connect(through, context)


async def _connect(through: Through, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    plain = (await through.http()).stream
    stream = trio.SSLStream(plain, context, server_hostname="localhost", https_compatible=True)
    with trio.fail_after(5):
        await stream.do_handshake()
    return stream


def http_over(stream: trio.SSLStream[trio.SocketStream]) -> HttpClient:
    return HttpClient(stream)  # type: ignore[arg-type]


async def test_sessions_over_tls_live_on_nodes_of_the_machine(tmp_path: Path) -> None:
    seen: list[tuple[str, bool]] = []
    async with trio.open_nursery() as nursery:
        sites = [await start_node(nursery, tmp_path / "run") for _ in range(2)]
        for site in sites:
            site.io.on_connect(lambda socket: seen.append((socket.handshake.address, socket.handshake.secure)))
        files = write_certificate(tmp_path, "one")
        async with proxied(tmp_path / "run", listen="", tls_listen="127.0.0.1:0", **files) as through:
            await through.knows(2)
            client = http_over(await connect(through, tmp_path))
            for _ in range(6):
                opened = await client.request("GET", HANDSHAKE)
                query = f"{HANDSHAKE}&sid={sid_of(opened.text)}"
                assert (await client.request("POST", query, b"40")).facts == (200, "ok")
                assert (await client.request("GET", query)).text.startswith('40{"sid":')
            assert seen == [("127.0.0.1", True)] * 6
            assert (await client.request("GET", f"{HANDSHAKE}&sid=forged")).status == 400
        for site in sites:
            await site.end()


async def test_a_websocket_over_tls_is_a_tunnel_to_its_node(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        files = write_certificate(tmp_path, "one")
        async with proxied(tmp_path / "run", listen="", tls_listen="127.0.0.1:0", **files) as through:
            await through.knows(1)
            client = http_over(await connect(through, tmp_path))
            asked = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", KEY)]
            headers = [*asked, ("Sec-WebSocket-Version", "13")]
            await client.send("GET", "/socket.io/?EIO=4&transport=websocket", headers=headers)
            answer = await client.receive()
            assert (answer.status, answer.header("sec-websocket-accept")) == (101, ACCEPT)
            while b'"sid"' not in client.received:
                client.received += await client.stream.receive_some()
            assert through.counters.tunnels == 1
            await trio.aclose_forcefully(client.stream)
            await eventually(lambda: through.proxy.edge.connections == 0)
        await site.end()


async def test_upstreams_are_told_that_it_was_tls(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        given = {"affinity": "cookie", "upstreams": upstream.address, "probe_path": "/probe"}
        files = write_certificate(tmp_path, "one")
        async with proxied(tmp_path, listen="", tls_listen="127.0.0.1:0", **given, **files) as through:
            await through.knows(1)
            answer = await http_over(await connect(through, tmp_path)).request("GET", "/")
            assert lines_of(upstream.heads[0], "x-forwarded-proto") == ["https"]
            assert str(answer.header("set-cookie")).endswith("; Path=/; HttpOnly; Secure; SameSite=None")
        nursery.cancel_scope.cancel()


async def test_a_new_certificate_is_taken_while_old_connections_live_on(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, "one")
    async with proxied(tmp_path / "run", listen="", tls_listen="127.0.0.1:0", **files) as through:
        old = await connect(through, tmp_path)
        write_certificate(tmp_path, "two")
        context = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        renewed = through.proxy._certificate
        assert renewed is not None
        before = renewed.context
        await eventually(lambda: renewed.context is not before)
        await _connect(through, context)
        assert (await http_over(old).request("GET", HANDSHAKE)).status == 503


async def test_a_certificate_that_is_none_is_not_taken(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, "one")
    async with proxied(tmp_path / "run", listen="", tls_listen="127.0.0.1:0", **files) as through:
        certificate = through.proxy._certificate
        assert certificate is not None
        context = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        (tmp_path / "certificate.pem").write_text("nonsense")
        os.utime(tmp_path / "certificate.pem", (1, 1))
        certificate.renew_if_changed()
        await _connect(through, context)


async def test_who_does_not_speak_tls_is_hung_up_on(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, "one")
    async with proxied(tmp_path / "run", listen="", tls_listen="127.0.0.1:0", head_timeout=0.3, **files) as through:
        assert b"HTTP" not in await through.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        # Somebody who says nothing at all.
        assert await through.raw(b"") == b""
        await eventually(lambda: through.proxy.edge.held == {})
