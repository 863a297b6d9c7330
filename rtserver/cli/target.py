"""What a command is given as ``MODULE:SERVER``.

Rule: the current folder is looked in first; a name that leads to no server is one line
that says what was expected.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from rtserver.errors import ConfigurationError
from rtserver.server import Server


def load_server(target: str) -> Server:
    """The server of a module, by ``"module:name"``.

    Args:
        target: The name is that of a ``Server``, or of a function that needs no argument and makes one.

    Raises:
        ConfigurationError: There is no such module, or no such server in it.
    """
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigurationError("MODULE:SERVER", target, "a module and the name of its Server, such as app:io")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and module_name.split(".")[0] != exc.name.split(".")[0]:
            raise
        raise ConfigurationError("MODULE:SERVER", target, "a module that can be imported") from exc
    server = getattr(module, attribute, None)
    if inspect.isroutine(server) and _needs_nothing(server):
        server = server()
    if not isinstance(server, Server):
        raise ConfigurationError(
            "MODULE:SERVER", target, f"the name of a Server in {module_name}, or of a function that makes one"
        )
    return server


def _needs_nothing(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True
