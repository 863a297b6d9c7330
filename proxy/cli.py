"""``python -m proxy`` and ``python -m proxy status``."""

from __future__ import annotations

import gc
import sys
from functools import partial
from pathlib import Path

import click
import msgspec
import trio

from proxy.admin import admin_path, call
from proxy.errors import BadSetting
from proxy.logs import configure_logs
from proxy.proxy import run_dir
from proxy.service import serve
from proxy.settings import Settings, load
from proxy.state import ProxyState, table

_COLLECT_EVERY = 25_000


@click.group(invoke_without_command=True)
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file with settings.")
@click.option("--listen", multiple=True, metavar="HOST:PORT", help="Where clients come. [default: 127.0.0.1:8080]")
@click.option("--upstream", "upstreams", multiple=True, metavar="[SLOT=]HOST:PORT", help="A server that is there.")
@click.option("--workers", help="Processes that accept. [default: 1]")
@click.option("--admin", metavar="PATH|HOST:PORT", help="The administration. [default: proxy.sock in run_dir]")
@click.option("--access-log", metavar="FILE|-", help="A line about each request.")
@click.option("--set", "others", multiple=True, metavar="NAME=VALUE", help="Any setting; repeatable.")
@click.option("--replace", is_flag=True, help="Take the place of the proxy that runs, without losing a connection.")
@click.pass_context
def main(
    context: click.Context,
    config: Path | None,
    listen: tuple[str, ...],
    upstreams: tuple[str, ...],
    workers: str | None,
    admin: str | None,
    access_log: str | None,
    others: tuple[str, ...],
    replace: bool,
) -> None:
    """A sticky proxy for Socket.IO nodes.

    Every setting can also be given as RTSERVER_PROXY_<NAME>, or in the TOML file; a flag wins over both.
    """
    given = {"listen": listen, "upstreams": upstreams, "workers": workers, "admin": admin, "access_log": access_log}
    try:
        flags = {name: value for name, value in given.items() if value} | _pairs(others)
        settings = load(config, flags)
        context.obj = settings
        if context.invoked_subcommand is not None:
            return
        configure_logs(settings.log_level)
        _spare_the_collector()
        say = partial(click.echo, err=False)
        trio.run(partial(serve, partial(load, config, flags), sys.argv[1:], say, replace=replace))
    except (BadSetting, OSError, ExceptionGroup) as exc:
        raise click.ClickException(_in_one_line(exc)) from exc


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def status(settings: Settings, as_json: bool) -> None:
    """Show how the running proxy is."""
    where = admin_path(settings, run_dir(settings))
    try:
        body, _ = call(where, "GET", "/state")
    except OSError as exc:
        raise click.ClickException(f"no proxy answers at {where}: {exc.strerror or exc}") from exc
    click.echo(body.decode() if as_json else table(msgspec.json.decode(body, type=list[ProxyState])))


def _pairs(texts: tuple[str, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise BadSetting("--set", text, "NAME=VALUE")
        found[name.strip().replace("-", "_")] = value
    return found


def _spare_the_collector() -> None:
    """What is loaded by now stays: no collection needs to look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, *gc.get_threshold()[1:])


def _in_one_line(exc: Exception) -> str:
    """What a mistake of the operator is; anything else is raised again, as the bug that it is."""
    while isinstance(exc, ExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    if isinstance(exc, BadSetting):
        return str(exc)
    if isinstance(exc, OSError):
        return f"{exc.strerror or exc}" + (f": {exc.filename}" if exc.filename else "")
    raise exc
