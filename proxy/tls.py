"""TLS towards clients, with certificates that may be replaced while the proxy runs.

Rule: a certificate that cannot be loaded is an error to whoever starts or reloads the proxy,
and never a reason to let go of the one that works.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog

from proxy.errors import BadSetting
from proxy.settings import Settings

log = structlog.get_logger("proxy")


def load_context(settings: Settings) -> ssl.SSLContext:
    """The context for the certificate of the settings.

    Raises:
        BadSetting: Certificate and key cannot be used.
    """
    assert settings.tls_certificate is not None
    assert settings.tls_key is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # What has been agreed on is not agreed on anew: a client could let us do so again and again.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # One that asks for HTTP/2 only learns that it is not spoken here.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ValueError) as exc:
        allowed = f"a certificate and its key ({exc})"
        raise BadSetting("tls_certificate", str(settings.tls_certificate), allowed) from exc
    return context


class Certificate:
    """The context in use.

    Args:
        settings: Where certificate and key are.

    Raises:
        BadSetting: They cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.context = load_context(settings)
        self._settings = settings
        self._seen = self._stamps()

    def _stamps(self) -> list[tuple[int, int]]:
        paths = [path for path in (self._settings.tls_certificate, self._settings.tls_key) if path is not None]
        return [_stamp(path) for path in paths]

    def renew_if_changed(self) -> None:
        """Load the files again if they are others than before; connections that exist keep what they have."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self.context = load_context(self._settings)
        except BadSetting as exc:
            log.error("certificate_not_loaded", error=str(exc))
        else:
            log.info("certificate_loaded")

    def configure(self, settings: Settings) -> None:
        """Take other files, or the same ones as they are now.

        Raises:
            BadSetting: They cannot be used; what was in use stays.
        """
        self.context = load_context(settings)
        self._settings = settings
        self._seen = self._stamps()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino
