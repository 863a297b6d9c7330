"""``rtserver serve``.

Rule: a flag wins over ``RTSERVER_<NAME>``, which wins over what the module has set;
a bad value is one line that names the setting, what was given and what is allowed.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from typing import Any

import click
import structlog
import trio

from rtserver.cli.target import load_server
from rtserver.config import ENVIRONMENT_PREFIX, Config, read_text
from rtserver.demo import create_demo
from rtserver.errors import ConfigurationError
from rtserver.server import Server

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
# Containers made, less those freed, between two collections of the young. What clients
# leave behind is freed without the collector, which at Python's 700 spends a tenth of a
# busy node's time on looking at living sessions.
COLLECT_EVERY = 25_000
LOG_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@click.command()
@click.argument("target", metavar="[MODULE:SERVER]", required=False)
@click.option("--host", help=f"Address to listen on. [default: {DEFAULT_HOST}]")
@click.option("--port", help=f"Port to listen on; 0 picks one. [default: {DEFAULT_PORT}]")
@click.option("--uds", help="Path of a Unix socket to listen on instead.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the server; repeatable.")
@click.option("--log-level", type=click.Choice(list(LOG_LEVELS)), help="[default: info]")
def serve(
    target: str | None,
    host: str | None,
    port: str | None,
    uds: str | None,
    settings: tuple[str, ...],
    log_level: str | None,
) -> None:
    """Serve MODULE:SERVER, or without one a small echo and rooms application.

    Settings can also be given as RTSERVER_<NAME>, for instance RTSERVER_PING_INTERVAL=10.
    They win over what a module gave its Server.
    """
    try:
        _configure_logs(log_level or os.environ.get(f"{ENVIRONMENT_PREFIX}LOG_LEVEL", "info"))
        address = _address(host, port, uds)
        server = _server(target, _options(settings))
        _spare_the_collector()
        code = trio.run(_serve, server, address)
    except (ConfigurationError, OSError, ExceptionGroup) as exc:
        raise click.ClickException(_in_one_line(exc)) from exc
    sys.exit(code)


def _spare_the_collector() -> None:
    """What is loaded by now stays: no collection needs to look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, *gc.get_threshold()[1:])


def _in_one_line(exc: Exception) -> str:
    """What a mistake of the operator is; anything else is raised again, as the bug that it is."""
    while isinstance(exc, ExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    if isinstance(exc, ConfigurationError):
        return str(exc)
    if isinstance(exc, OSError):
        return exc.strerror or str(exc)
    raise exc


def _address(host: str | None, port: str | None, uds: str | None) -> str:
    uds = uds or os.environ.get(f"{ENVIRONMENT_PREFIX}UDS")
    if uds:
        if host or port:
            raise ConfigurationError("--uds", uds, "either a Unix socket or a host and port")
        return f"unix:{uds}"
    host = host or os.environ.get(f"{ENVIRONMENT_PREFIX}HOST", DEFAULT_HOST)
    name = "--port" if port else f"{ENVIRONMENT_PREFIX}PORT"
    text = port or os.environ.get(f"{ENVIRONMENT_PREFIX}PORT", str(DEFAULT_PORT))
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise ConfigurationError(name, text, "a port from 0 to 65535")
    return f"[{host}]:{text}" if ":" in host else f"{host}:{text}"


def _options(settings: tuple[str, ...]) -> Any:
    options = Config.from_environment()
    for setting in settings:
        name, sign, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not sign:
            raise ConfigurationError("--set", setting, "NAME=VALUE")
        options[name] = read_text(f"--set {name}", name, text)
    Config.of(options)
    return options


def _server(target: str | None, options: dict[str, Any]) -> Server:
    if target is None:
        return create_demo(**options)
    server = load_server(target)
    server.configure(**options)
    return server


async def _serve(server: Server, address: str) -> int:
    async with trio.open_nursery() as signals:
        await signals.start(_stop_on_signal, server)
        async with trio.open_nursery() as serving:
            started: list[str] = await serving.start(server.serve, address)
            click.echo(_greeting(server, started[0]))
        signals.cancel_scope.cancel()
    return 0


async def _stop_on_signal(server: Server, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """The first signal drains, the second ends at once."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        first = True
        async for number in signals:
            if not first:
                os._exit(128 + number)
            first = False
            server.stop()


def _greeting(server: Server, address: str) -> str:
    cluster = server.statistics().cluster
    if cluster is not None:
        # Not as a link: who opens it would go past the proxy.
        return f"rtserver node {cluster.slot} listening on {address}"
    return f"rtserver listening on {address if address.startswith('unix:') else f'http://{address}'}"


def _configure_logs(level: str) -> None:
    if level not in LOG_LEVELS:
        raise ConfigurationError("log level", level, ", ".join(LOG_LEVELS))
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
        wrapper_class=structlog.make_filtering_bound_logger(LOG_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
