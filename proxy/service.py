"""The running proxy: signals, its administration, workers, and the change from an old one to a new one.

Rule: SIGTERM and SIGINT stop, a second one ends at once; SIGHUP takes the settings anew, or
says in one line why not and goes on as before.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
import trio

from proxy.admin import admin_path, administration, call, take_over
from proxy.errors import BadSetting
from proxy.listening import Listening, inherited, listen
from proxy.proxy import Proxy, check_reload, run_dir
from proxy.settings import Settings
from proxy.sharing import Shares
from proxy.state import ProxyState, describe
from proxy.workers import WORKER, Workers, worker_admin

log = structlog.get_logger("proxy")

Load = Callable[[], Settings]
Say = Callable[[str], None]


class _Single:
    """One process that accepts."""

    def __init__(self, proxy: Proxy, worker: int) -> None:
        self.listening: Sequence[Listening] = proxy.listening
        self._proxy = proxy
        self._worker = worker

    async def states(self) -> list[ProxyState]:
        return [describe(self._proxy, self._worker)]

    def retire(self) -> None:
        self._proxy.stop()


def open_listening(settings: Settings, *, replace: bool) -> tuple[list[Listening], str | None]:
    """The listening sockets, and where a predecessor waits to be told that it may go.

    Raises:
        OSError: They cannot be made.
    """
    found = inherited()
    if found:
        return found, None
    where = admin_path(settings, run_dir(settings))
    if replace:
        try:
            return take_over(where), where
        except FileNotFoundError:
            log.info("nobody_to_replace", admin=where)
        except ConnectionRefusedError:
            log.info("nobody_to_replace", admin=where)
    return listen(settings), None


async def serve(load: Load, arguments: Sequence[str], say: Say, *, replace: bool = False) -> None:
    """Run until a signal or a successor ends it.

    Args:
        load: Reads the settings, now and at each SIGHUP.
        arguments: The command line, for workers.
        say: Tells the operator where clients are taken.
        replace: Take the place of the proxy that runs.

    Raises:
        BadSetting: A setting cannot be used.
        OSError: A socket cannot be made.
    """
    settings = load()
    identity = os.environ.get(WORKER, "")
    listening, predecessor = open_listening(settings, replace=replace)
    if identity:
        first, number, lifeline, table = map(int, identity.split(":"))
        where = worker_admin(run_dir(settings), first, number)
        await _serve_single(settings, listening, load, where, number, lambda: None, lifeline, Shares(table, number - 1))
        return
    where = admin_path(settings, run_dir(settings))

    def ready() -> None:
        if predecessor is not None:
            _let_go(predecessor_call)
        for one in listening:
            say(f"proxy listening on {one.url}")

    # The name is a successor's from the moment that it is bound, so the old one's connection is made before.
    predecessor_call = None if predecessor is None else _Farewell(predecessor)
    if settings.workers > 1:
        await _serve_workers(settings, listening, load, arguments, where, ready)
    else:
        await _serve_single(settings, listening, load, where, 0, ready)


class _Farewell:
    """Tells a predecessor that it may go, by a name of its socket that no successor takes."""

    def __init__(self, where: str) -> None:
        self.where = f"{where}.{os.getpid()}"
        os.link(where, self.where)

    def say(self) -> None:
        try:
            call(self.where, "POST", "/retire")
        except OSError as exc:
            log.warning("predecessor_not_reached", error=str(exc))
        finally:
            Path(self.where).unlink(missing_ok=True)


def _let_go(farewell: _Farewell | None) -> None:
    if farewell is not None:
        farewell.say()


async def _serve_single(
    settings: Settings,
    listening: list[Listening],
    load: Load,
    where: str,
    worker: int,
    ready: Callable[[], None],
    lifeline: int | None = None,
    shares: Shares | None = None,
) -> None:
    proxy = Proxy(settings, listening)
    proxy.edge.shares = shares

    def reload() -> None:
        after = load()
        check_reload(proxy.settings, after)
        proxy.configure(after)

    async with trio.open_nursery() as signals:
        await signals.start(_watch_signals, proxy.stop, reload)
        if lifeline is not None:
            signals.start_soon(_end_with, lifeline, proxy.stop)
        async with administration(_Single(proxy, worker), where), trio.open_nursery() as serving:
            await serving.start(proxy.run)
            ready()
        signals.cancel_scope.cancel()


async def _serve_workers(
    settings: Settings,
    listening: list[Listening],
    load: Load,
    arguments: Sequence[str],
    where: str,
    ready: Callable[[], None],
) -> None:
    workers = Workers(settings, listening, run_dir(settings), arguments)

    def reload() -> None:
        check_reload(settings, load())
        workers.signal(signal.SIGHUP)

    async with trio.open_nursery() as signals:
        await signals.start(_watch_signals, workers.retire, reload)
        async with administration(workers, where), trio.open_nursery() as serving:
            await serving.start(workers.run)
            ready()
        signals.cancel_scope.cancel()


async def _end_with(lifeline: int, stop: Callable[[], None]) -> None:
    """Stop when nobody holds the other end of the pipe any more."""
    await trio.lowlevel.wait_readable(lifeline)
    stop()


async def _watch_signals(
    stop: Callable[[], None],
    reload: Callable[[], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        stopped = False
        async for number in signals:
            if number == signal.SIGHUP:
                try:
                    reload()
                except (BadSetting, OSError) as exc:
                    log.error("not_reloaded", error=str(exc))
                else:
                    log.info("reloaded")
            elif stopped:
                os._exit(128 + number)
            else:
                stopped = True
                stop()
