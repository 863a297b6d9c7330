"""The command line, one module for each command.

Rule: a command is loaded when it is given, so that those which stand beside nodes take little of the machine.
"""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar

import click


class _Commands(click.Group):
    homes: ClassVar = {
        "asyncapi": ("contracts", "asyncapi_command"),
        "cluster": ("cluster", "cluster"),
        "drain": ("drain", "drain"),
        "emit": ("emit", "emit"),
        "keep": ("keep", "keep"),
        "redis": ("local_redis", "redis_command"),
        "serve": ("serving", "serve"),
        "typescript": ("contracts", "typescript_command"),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.homes)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.homes:
            return None
        module, name = self.homes[cmd_name]
        command = getattr(import_module(f"{__name__}.{module}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands)
@click.version_option(package_name="rtserver")
def main() -> None:
    """A Socket.IO server on Trio."""
