"""Which adapter joins a node to the others, when the application has not chosen one."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from rtserver.adapters.base import AdapterFactory
from rtserver.adapters.memory import MemoryAdapter
from rtserver.config import Config
from rtserver.errors import ConfigurationError
from rtserver.types import Secret


def adapter_for(config: Config) -> AdapterFactory:
    """Redis if there is a URL of one, else the memory of this node.

    Raises:
        ConfigurationError: The URL cannot be read, or what it needs is not installed.
    """
    if config.redis_url is None:
        return MemoryAdapter
    # Loaded when it is wanted: a node without Redis needs no client for it.
    try:
        module = import_module("rtserver.adapters.redis")
    except ModuleNotFoundError as exc:
        raise ConfigurationError("redis_url", Secret(""), "none, or an installation of rtserver[redis]") from exc
    return cast(AdapterFactory, module.RedisAdapter(config.redis_url.reveal()))
