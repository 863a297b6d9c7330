"""``rtserver cluster``: a whole cluster on one machine.

Rule: what is not given is made up, for this run alone: a secret, a run directory, a Redis
with a password on a free port. Honcho runs the processes; told to end, all of them end,
and that is a success.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import httpx

from rtserver.cli.orphans import end_with_parent

BUNDLED = "rtserver.handlers.app:io"
BUNDLED_NEEDS = ("alembic", "argon2", "jwt", "sqlalchemy")
# Seconds that the other nodes have when one is ready.
REST_WITHIN = 15.0
READY_EVERY = 0.2
# The repository's ``Procfile`` says the same, for those who run honcho themselves.
PROCFILE = """\
redis: exec rtserver keep rtserver redis
node: exec rtserver keep rtserver serve --host 127.0.0.1 --port 0 $RTSERVER_APP
proxy: exec rtserver keep --listen ${RTSERVER_PROXY_LISTEN:-127.0.0.1:8000} python -m proxy
"""


@click.command()
@click.argument("target", metavar="[MODULE:SERVER]", required=False)
@click.option("--nodes", type=click.IntRange(1, 1_000), default=2, show_default=True, help="How many.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the proxy.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="Port of the proxy.")
@click.option(
    "--procfile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What to run instead of a Redis, nodes and the proxy.",
)
def cluster(target: str | None, nodes: int, host: str, port: int, procfile: Path | None) -> None:
    """Run a Redis, nodes that serve MODULE:SERVER, and the proxy; print one URL.

    Without MODULE:SERVER the nodes serve the bundled chat, if what it needs is installed.
    """
    with _own_terminal(), tempfile.TemporaryDirectory(prefix="rtserver-") as directory:
        listen = f"{f'[{host}]' if ':' in host else host}:{port or _free_port(host)}"
        environment = _settings(os.environ, Path(directory), target, listen)
        if procfile is None:
            procfile = Path(directory) / "Procfile"
            procfile.write_text(PROCFILE)
        sys.exit(_Run(procfile, nodes, environment, f"http://{listen}").run())


@contextmanager
def _own_terminal() -> Iterator[None]:
    """Be the one that Ctrl-C reaches, and the only one.

    Whoever has started us, make for one, would end with a failure as soon as it is pressed.
    """
    terminal, before = 0, os.getpgrp()
    if before == os.getpid() or not os.isatty(terminal) or os.tcgetpgrp(terminal) != before:
        yield
        return
    # To be stopped would leave whoever waits for us without a terminal.
    for number in (signal.SIGTTOU, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(terminal, os.getpgrp())
    try:
        yield
    finally:
        os.tcsetpgrp(terminal, before)


def _has_bundled() -> bool:
    return all(importlib.util.find_spec(name) for name in BUNDLED_NEEDS)


def _settings(given: Mapping[str, str], directory: Path, target: str | None, listen: str) -> dict[str, str]:
    made_up = {
        "RTSERVER_SECRET": secrets.token_urlsafe(32),
        "RTSERVER_RUN_DIR": str(directory / "run"),
        "RTSERVER_REDIS_URL": f"redis://:{secrets.token_urlsafe(16)}@127.0.0.1:{_free_port('127.0.0.1')}/0",
        "RTSERVER_APP": BUNDLED if _has_bundled() else "",
        "RTSERVER_CHAT_ADMIN_PASSWORD": secrets.token_urlsafe(12),
    }
    chosen = {**made_up, **{name: value for name, value in given.items() if value}, "RTSERVER_PROXY_LISTEN": listen}
    if target is not None:
        chosen["RTSERVER_APP"] = target
    # What the Procfile names is what this command was installed with.
    chosen["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', os.defpath)}"
    chosen["PYTHONUNBUFFERED"] = "1"
    return chosen


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


class _Run:
    def __init__(self, procfile: Path, nodes: int, environment: dict[str, str], url: str) -> None:
        self._url = url
        self._environment = environment
        self._nodes = nodes
        self._told = threading.Event()
        # Not the terminal's signals, but ours, reach what runs: each of them once.
        what = ["-f", str(procfile), "-d", str(Path.cwd()), "-e", os.devnull, "-c", f"node={nodes}"]
        self._honcho = subprocess.Popen(
            [sys.executable, "-m", "honcho", "start", *what],
            env=environment,
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509 - there is one thread
        )

    def run(self) -> int:
        """The status to end with."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        threading.Thread(target=self._announce, daemon=True).start()
        status = self._honcho.wait()
        return 0 if self._told.is_set() else status or 1

    def _ready_nodes(self) -> int:
        """How many nodes the proxy sends clients to; 0 if it does not say."""
        admin = Path(self._environment["RTSERVER_RUN_DIR"]) / "proxy.sock"
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(admin))) as client:
                told = client.get("http://proxy/state").json()
        except (httpx.HTTPError, ValueError):
            return 0
        workers = told if isinstance(told, list) else told.get("workers", [told])
        ready = [{one["slot"] for one in worker["upstreams"] if one["state"] == "ready"} for worker in workers]
        return min(map(len, ready), default=0)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._told.set()
        self._honcho.terminate()

    def _announce(self) -> None:
        """Print the URL as soon as somebody who opens it gets an answer, and every node may be the one to give it."""
        ready_since: float | None = None
        while not self._told.wait(READY_EVERY):
            try:
                ready = httpx.get(f"{self._url}/readyz", trust_env=False).status_code == 200
            except httpx.TransportError:
                continue
            ready_since = (ready_since or time.monotonic()) if ready else None
            if ready_since is None:
                continue
            if self._ready_nodes() >= self._nodes or time.monotonic() - ready_since > REST_WITHIN:
                click.echo(f"rtserver cluster at {self._url}")
                if self._environment["RTSERVER_APP"] == BUNDLED:
                    password = self._environment["RTSERVER_CHAT_ADMIN_PASSWORD"]
                    click.echo(f"to see the cluster, sign in as admin with {password}")
                return
