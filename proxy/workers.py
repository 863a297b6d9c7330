"""Several processes on the same listening sockets, and the one that keeps them running.

Rule: the first process opens the sockets and never accepts; a worker that ends is replaced,
with a pause that grows while they end at once, and ends when the first one does. A worker's
own administration is a Unix socket that only the first one asks.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen

import msgspec
import structlog
import trio

from proxy.admin import call
from proxy.listening import INHERITED, Listening
from proxy.settings import PREFIX, Settings
from proxy.sharing import make_table
from proxy.state import ProxyState

WORKER = f"{PREFIX}WORKER"
MAX_PAUSE = 10.0
# A worker that has lived for so long did not end by the way it was started.
LONG_ENOUGH = 10.0

log = structlog.get_logger("proxy")


def worker_admin(run_dir: Path, first_pid: int, worker: int) -> str:
    """Where a worker is asked how it is."""
    return str(run_dir / f"proxy-{first_pid}-{worker}.sock")


class Workers:
    """The processes.

    Args:
        settings: How many, and how long they may take to end.
        listening: Shared by all of them.
        run_dir: Where their administrations are.
        arguments: The command line, which is the same for each.
    """

    def __init__(
        self, settings: Settings, listening: Sequence[Listening], run_dir: Path, arguments: Sequence[str]
    ) -> None:
        self.listening = listening
        self._settings = settings
        self._run_dir = run_dir
        self._arguments = arguments
        self._processes: dict[int, Popen[bytes] | trio.Process] = {}
        self._stopping = trio.Event()
        # Its end is the end of this process, however that comes about; workers watch for it.
        self._lifeline, self._held = os.pipe()
        self._table = make_table(settings.workers)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep them running until ``retire``, then wait until they have ended."""
        async with trio.open_nursery() as nursery:
            for worker in range(1, self._settings.workers + 1):
                nursery.start_soon(self._keep, worker)
            task_status.started()
            await self._stopping.wait()
            self.signal(signal.SIGTERM)
        for one in self.listening:
            one.sock.close()
        os.close(self._lifeline)
        os.close(self._held)
        os.close(self._table)

    async def _keep(self, worker: int) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            began = trio.current_time()
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "proxy", *self._arguments],
                pass_fds=[self._lifeline, self._table, *(one.sock.fileno() for one in self.listening)],
                env={
                    **os.environ,
                    WORKER: f"{os.getpid()}:{worker}:{self._lifeline}:{self._table}",
                    INHERITED: self._inherited(),
                },
            )
            self._processes[worker] = process
            if self._stopping.is_set():
                # It was not there yet when the others were told.
                process.send_signal(signal.SIGTERM)
            code = await process.wait()
            del self._processes[worker]
            if self._stopping.is_set():
                return
            log.warning("worker_ended", worker=worker, code=code)
            pause = 0.1 if trio.current_time() - began > LONG_ENOUGH else min(pause * 2, MAX_PAUSE)
            with trio.move_on_after(pause):
                await self._stopping.wait()

    def _inherited(self) -> str:
        return ",".join(f"{one.sock.fileno()}={'tls' if one.tls else 'plain'}" for one in self.listening)

    def signal(self, number: int) -> None:
        """Tell every worker."""
        for process in self._processes.values():
            process.send_signal(number)

    def retire(self) -> None:
        self._stopping.set()

    async def states(self) -> list[ProxyState]:
        """How each worker is; one that does not answer is left out."""
        found: dict[int, ProxyState] = {}

        async def ask(worker: int) -> None:
            where = worker_admin(self._run_dir, os.getpid(), worker)
            try:
                body, _ = await trio.to_thread.run_sync(call, where, "GET", "/state", abandon_on_cancel=True)
                # Its answer is cut short if it ends meanwhile.
                found[worker] = msgspec.json.decode(body, type=list[ProxyState])[0]
            except (OSError, msgspec.DecodeError):
                return

        async with trio.open_nursery() as nursery:
            for worker in self._processes:
                nursery.start_soon(ask, worker)
        return [found[worker] for worker in sorted(found)]
