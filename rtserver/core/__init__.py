"""Socket.IO itself: clients, namespaces, sockets, handlers, middleware and acknowledgements.

Rule: reaches bytes through ``send`` of a session and other sockets through an
adapter; never imports ``rtserver.transports`` or ``rtserver.middleware``.
"""
