"""Log lines, those that a client can cause at a bounded rate, and the access log.

Rule: one fact is one line with fields. No line bears a query, for the sid in it opens the
session to whoever reads it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from proxy.errors import BadSetting

_log = structlog.get_logger("proxy")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Access lines wait for company until they are so many bytes, or for the next tick.
_FLUSH_BYTES = 65_536


def configure_logs(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Tracebacks without the values of variables: those are what clients have sent.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class LimitedLog:
    """Writes at most one line of each kind every second, and says how many it held back."""

    def __init__(self, interval: float = 1.0) -> None:
        self._interval = interval
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def warning(self, kind: str, **fields: object) -> None:
        """Write a line of ``kind``, a fixed name, unless there was one just now."""
        now = time.monotonic()
        last = self._last.get(kind)
        if last is not None and now - last < self._interval:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        self._last[kind] = now
        held = self._held.pop(kind, 0)
        if held:
            fields["held_back"] = held
        _log.warning(kind, **fields)


class AccessLog:
    """A line of JSON for each request that the proxy has read.

    Args:
        target: A file, which is opened anew after a reload; ``-`` for the standard output.

    Raises:
        BadSetting: It cannot be written.
    """

    def __init__(self, target: str) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._encode = msgspec.json.Encoder().encode
        self._write: Callable[[bytes], object] = sys.stdout.buffer.write
        self._close: Callable[[], object] = sys.stdout.buffer.flush
        if target != "-":
            try:
                file = Path(target).open("ab", buffering=0)  # noqa: SIM115 - closed with the log
            except OSError as exc:
                raise BadSetting("access_log", target, f"a file that can be written ({exc.strerror})") from exc
            self._write, self._close = file.write, file.close

    def add(self, **fields: object) -> None:
        """Note a request. Path and peer, never the query."""
        line = self._encode({"time": round(time.time(), 3), **fields}) + b"\n"
        self._lines.append(line)
        self._size += len(line)
        if self._size > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits. A full disk loses lines, not clients."""
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            try:
                self._write(b"".join(lines))
            except OSError as exc:
                _log.error("access_log_failed", error=exc.strerror)

    def close(self) -> None:
        self.flush()
        self._close()
