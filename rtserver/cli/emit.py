"""``rtserver emit``: sends one event to clients of a cluster, from a shell.

Rule: what is not JSON is refused before Redis is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
import msgspec

from rtserver.config import Config
from rtserver.errors import RTServerError


@click.command()
@click.argument("event")
@click.argument("values", nargs=-1, metavar="[JSON]...")
@click.option("--room", "rooms", multiple=True, help="Only who is in it; may be given several times.")
@click.option("--except", "excluded", multiple=True, help="Nobody who is in this room; may be given several times.")
@click.option("--namespace", default="/", show_default=True, help="Whose clients.")
@click.option("--redis-url", help="The Redis between the nodes. [default: RTSERVER_REDIS_URL]")
@click.option("--sharded", is_flag=True, help="The nodes use the sharded adapter; a redis+cluster:// URL implies it.")
def emit(
    event: str,
    values: tuple[str, ...],
    rooms: Sequence[str],
    excluded: Sequence[str],
    namespace: str,
    redis_url: str | None,
    sharded: bool,
) -> None:
    """Send EVENT with the JSON values as its arguments to clients of every node."""
    args = [_json(value) for value in values]
    try:
        emitter = import_module("rtserver.emitter").connect(redis_url or _configured(), sharded=sharded)
        emitter.of(namespace).to(*rooms).except_(*excluded).emit(event, *args)
    except ModuleNotFoundError as exc:
        raise click.ClickException("this command needs rtserver[redis]") from exc
    except (RTServerError, ValueError) as exc:
        raise click.ClickException(str(exc)) from exc


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as exc:
        raise click.BadParameter(f"not JSON: {text[:100]!r}; text goes in double quotes") from exc


def _configured() -> str:
    """Raises ``ConfigurationError``."""
    url = Config.of(Config.from_environment()).redis_url
    if url is None:
        raise click.ClickException("which Redis? give --redis-url, or set RTSERVER_REDIS_URL")
    return url.reveal()
