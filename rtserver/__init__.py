"""rtserver: a Socket.IO server on Trio.

Rule: a name is loaded when somebody asks for it. The proxy and the small commands want a module or two of
all this, and start in half the time without the rest. ``__init__.pyi`` says what the names are.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    # A server is never without its application: health and metrics beside Engine.IO.
    "rtserver.app": ("Server", "create_app"),
    "rtserver.config": ("Config", "Cookie", "Cors"),
    "rtserver.core.acks": ("Ack",),
    "rtserver.core.broadcast": ("Broadcast", "RemoteSocket"),
    "rtserver.core.handshake": ("Handshake",),
    "rtserver.core.namespace": ("Namespace", "ParentNamespace"),
    "rtserver.core.pipeline": (
        "ConnectContext",
        "EmitContext",
        "EnterContext",
        "EventContext",
        "Middleware",
        "Proceed",
        "RequestContext",
    ),
    "rtserver.core.rooms": ("user_of", "user_room"),
    "rtserver.core.socket": ("Socket",),
    "rtserver.errors": (
        "AckTimeout",
        "ConfigurationError",
        "ConnectRefused",
        "Disconnected",
        "EncodeError",
        "EventRefused",
        "LimitExceeded",
        "ProtocolError",
        "RTServerError",
        "RequestRefused",
        "RoomRefused",
    ),
    "rtserver.events": ("Event", "event"),
    "rtserver.protocol.socketio.json_parser": ("JSONParser",),
    "rtserver.protocol.socketio.msgpack_parser": ("MsgpackParser",),
    "rtserver.recovery": ("ConnectionStateRecovery",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*_HOME_OF]  # noqa: PLE0604 - all of them are text


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
