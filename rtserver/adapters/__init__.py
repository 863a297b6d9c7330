"""Where rooms live and how broadcasts reach every socket: in memory, or over other nodes too.

Rule: knows sockets only as ``base.LocalSocket``; never a client, a transport or a handler.
"""
