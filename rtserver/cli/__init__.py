"""The command line, one module for each command."""

from __future__ import annotations

import click

from rtserver.cli.contracts import asyncapi_command, typescript_command
from rtserver.cli.drain import drain
from rtserver.cli.serving import serve


@click.group()
@click.version_option(package_name="rtserver")
def main() -> None:
    """A Socket.IO server on Trio."""


main.add_command(serve)
main.add_command(drain)
main.add_command(asyncapi_command)
main.add_command(typescript_command)
