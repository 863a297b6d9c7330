# What the names of rtserver are; where they are loaded from at run time is in __init__.py.

from rtserver.app import create_app
from rtserver.config import Config, Cookie, Cors
from rtserver.core.acks import Ack
from rtserver.core.broadcast import Broadcast, RemoteSocket
from rtserver.core.handshake import Handshake
from rtserver.core.namespace import Namespace, ParentNamespace
from rtserver.core.pipeline import (
    ConnectContext,
    EmitContext,
    EnterContext,
    EventContext,
    Middleware,
    Proceed,
    RequestContext,
)
from rtserver.core.rooms import user_of, user_room
from rtserver.core.socket import Socket
from rtserver.errors import (
    AckTimeout,
    ConfigurationError,
    ConnectRefused,
    Disconnected,
    EncodeError,
    EventRefused,
    LimitExceeded,
    ProtocolError,
    RequestRefused,
    RoomRefused,
    RTServerError,
)
from rtserver.events import Event, event
from rtserver.protocol.socketio.json_parser import JSONParser
from rtserver.protocol.socketio.msgpack_parser import MsgpackParser
from rtserver.recovery import ConnectionStateRecovery
from rtserver.server import Server

__version__: str

__all__ = [
    "Ack",
    "AckTimeout",
    "Broadcast",
    "Config",
    "ConfigurationError",
    "ConnectContext",
    "ConnectRefused",
    "ConnectionStateRecovery",
    "Cookie",
    "Cors",
    "Disconnected",
    "EmitContext",
    "EncodeError",
    "EnterContext",
    "Event",
    "EventContext",
    "EventRefused",
    "Handshake",
    "JSONParser",
    "LimitExceeded",
    "Middleware",
    "MsgpackParser",
    "Namespace",
    "ParentNamespace",
    "Proceed",
    "ProtocolError",
    "RTServerError",
    "RemoteSocket",
    "RequestContext",
    "RequestRefused",
    "RoomRefused",
    "Server",
    "Socket",
    "create_app",
    "event",
    "user_of",
    "user_room",
]
