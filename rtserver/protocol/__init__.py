"""Engine.IO, Socket.IO and WebSocket: codecs and state machines.

Rule: no Trio, no clock, no sockets, no logging. Bytes and ``now`` come in as
arguments, values and bytes go out as results; what the wire breaks raises
``ProtocolError``, what a caller cannot send raises ``EncodeError``.
"""
