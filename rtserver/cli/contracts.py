"""``rtserver asyncapi`` and ``rtserver typescript``: what a server's events are, for others.

Rule: standard output is the document and nothing else; with ``--check`` it is how a
file differs from the document, and the exit status says whether it does.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path

import click

from rtserver.cli.target import load_server
from rtserver.contracts.asyncapi import asyncapi
from rtserver.contracts.typescript import typescript
from rtserver.errors import ConfigurationError
from rtserver.server import Server

CHECKED = click.Path(dir_okay=False, path_type=Path)


@click.command("asyncapi")
@click.argument("target", metavar="MODULE:SERVER")
@click.option("--check", "checked", type=CHECKED, metavar="FILE", help="Exit with 1 if FILE differs from the document.")
def asyncapi_command(target: str, checked: Path | None) -> None:
    """Print the AsyncAPI 3 document of MODULE:SERVER as JSON."""
    _print_or_check(target, asyncapi, checked)


@click.command("typescript")
@click.argument("target", metavar="MODULE:SERVER")
@click.option("--check", "checked", type=CHECKED, metavar="FILE", help="Exit with 1 if FILE differs from the types.")
def typescript_command(target: str, checked: Path | None) -> None:
    """Print the TypeScript types of MODULE:SERVER's events, for socket.io-client."""
    _print_or_check(target, typescript, checked)


def _print_or_check(target: str, write: Callable[[Server], str], checked: Path | None) -> None:
    try:
        text = write(load_server(target))
        if checked is None:
            click.echo(text, nl=False)
            return
        present = _read(checked)
    except (ConfigurationError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    if present == text:
        return
    before, after = present.splitlines(keepends=True), text.splitlines(keepends=True)
    lines = difflib.unified_diff(before, after, fromfile=str(checked), tofile=target)
    click.echo("".join(line if line.endswith("\n") else f"{line}\n" for line in lines), nl=False)
    sys.exit(1)


def _read(file: Path) -> str:
    """The text of a file, which is empty before it was ever made."""
    try:
        return file.read_text(encoding="utf-8") if file.exists() else ""
    except UnicodeDecodeError as exc:
        raise ConfigurationError("--check", str(file), "a file in UTF-8") from exc
