"""Which parser a server speaks when the application has not chosen one."""

from __future__ import annotations

from rtserver.config import Config
from rtserver.protocol.socketio.json_parser import JSONParser


def parser_for(config: Config) -> JSONParser:
    """The default one, within the bounds of the settings."""
    return JSONParser(max_attachments=config.max_attachments, max_depth=config.max_depth)
