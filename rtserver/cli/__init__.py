"""The command line, one module for each command."""

from __future__ import annotations

import click

from rtserver.cli.cluster import cluster
from rtserver.cli.contracts import asyncapi_command, typescript_command
from rtserver.cli.drain import drain
from rtserver.cli.emit import emit
from rtserver.cli.keep import keep
from rtserver.cli.local_redis import redis_command
from rtserver.cli.serving import serve


@click.group()
@click.version_option(package_name="rtserver")
def main() -> None:
    """A Socket.IO server on Trio."""


main.add_command(serve)
main.add_command(drain)
main.add_command(cluster)
main.add_command(redis_command)
main.add_command(keep)
main.add_command(emit)
main.add_command(asyncapi_command)
main.add_command(typescript_command)
