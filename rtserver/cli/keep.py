"""``rtserver keep``: runs a command, and runs it again when it ends.

Rule: ends only when told to, with the command, and then with status 0, whatever the command
has said last. What starts several processes can end them all when one of them ends; this
stands between it and a node that died.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from types import FrameType

import click

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
# Whatever has run for this long was well, and is not what keeps dying.
WELL_AFTER = 10.0


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def keep(command: tuple[str, ...]) -> None:
    """Run COMMAND again whenever it ends, until this is told to end.

    SIGTERM and SIGINT are passed on to it.
    """
    keeper = _Keeper(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, keeper.stop)
    keeper.run()


class _Keeper:
    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            begun = time.monotonic()
            status = self._run_once()
            if self._stopping.is_set():
                return
            pause = FIRST_PAUSE if time.monotonic() - begun >= WELL_AFTER else min(pause * 2, LONGEST_PAUSE)
            click.echo(f"{self._command[0]} has ended with status {status}; again in {pause:.1f} s", err=True)
            self._stopping.wait(pause)

    def _run_once(self) -> int:
        try:
            # In a session of its own: a signal for all of ours would reach it twice.
            self._process = subprocess.Popen(self._command, start_new_session=True)
        except OSError as exc:
            raise click.ClickException(f"{self._command[0]}: {exc.strerror}") from exc
        if self._stopping.is_set():
            self._process.terminate()
        return self._process.wait()

    def stop(self, number: int, frame: FrameType | None) -> None:
        again = self._stopping.is_set()
        self._stopping.set()
        if self._process is not None:
            self._process.send_signal(number)
        elif again:
            sys.exit(128 + number)
