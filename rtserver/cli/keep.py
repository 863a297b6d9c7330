"""``rtserver keep``: runs a command, and runs it again when it ends.

Rule: ends only when told to, with the command, and then with status 0, whatever the command
has said last. What starts several processes can end them all when one of them ends; this
stands between it and a node that died. With ``--listen`` it holds the listening sockets, so
that clients who come in between wait for the next one and are not refused. However this
ends, the command does not outlive it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import FrameType

import click

from rtserver.cli.orphans import end_with_parent
from rtserver.errors import ConfigurationError
from rtserver.transports.listening import open_listener

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
# Whatever has run for this long was well, and is not what keeps dying.
WELL_AFTER = 10.0
# The first descriptor that a listening socket is passed by. Source: sd_listen_fds(3).
FIRST_PASSED = 3


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--listen", multiple=True, metavar="HOST:PORT", help="Listen for COMMAND, as systemd would; repeatable.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def keep(listen: tuple[str, ...], command: tuple[str, ...]) -> None:
    """Run COMMAND again whenever it ends, until this is told to end.

    SIGTERM and SIGINT are passed on to it.
    """
    with ExitStack() as stack:
        try:
            addresses = [address.strip() for text in listen for address in text.split(",")]
            sockets = [stack.enter_context(open_listener(address)) for address in addresses]
        except (ConfigurationError, OSError) as exc:
            raise click.ClickException(getattr(exc, "strerror", None) or str(exc)) from exc
        keeper = _Keeper(command, sockets)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, keeper.stop)
        keeper.run()


class _Keeper:
    def __init__(self, command: tuple[str, ...], sockets: Sequence[socket.socket]) -> None:
        self._command = command
        self._sockets = sockets
        self._environment = {**os.environ, "LISTEN_FDS": str(len(sockets))} if sockets else None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def run(self) -> None:
        deaths = 0
        while not self._stopping.is_set():
            begun = time.monotonic()
            status = self._run_once()
            if self._stopping.is_set():
                return
            if time.monotonic() - begun >= WELL_AFTER:
                deaths = 0
            # At once the first time: somebody may be waiting.
            pause = min(FIRST_PAUSE * 2.0 ** min(deaths - 1, 16), LONGEST_PAUSE) if deaths else 0.0
            deaths += 1
            click.echo(f"{self._command[0]} has ended with status {status}; again in {pause:.1f} s", err=True)
            self._stopping.wait(pause)

    def _run_once(self) -> int:
        try:
            # In a session of its own: a signal for all of ours would reach it twice.
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                start_new_session=True,
                pass_fds=range(FIRST_PASSED, FIRST_PASSED + len(self._sockets)),
                preexec_fn=self._prepare(),  # noqa: PLW1509 - there is one thread
            )
        except OSError as exc:
            raise click.ClickException(f"{self._command[0]}: {exc.strerror}") from exc
        if self._stopping.is_set():
            self._process.terminate()
        return self._process.wait()

    def _prepare(self) -> Callable[[], None]:
        """What the new process does before it becomes the command."""
        orphaned = end_with_parent(signal.SIGTERM)

        def prepare() -> None:
            orphaned()
            # Their own numbers are these, or higher ones in the same order, so none is overwritten too early.
            for place, sock in enumerate(self._sockets, FIRST_PASSED):
                os.dup2(sock.fileno(), place)

        return prepare

    def stop(self, number: int, frame: FrameType | None) -> None:
        again = self._stopping.is_set()
        self._stopping.set()
        if self._process is not None:
            self._process.send_signal(number)
        elif again:
            sys.exit(128 + number)
