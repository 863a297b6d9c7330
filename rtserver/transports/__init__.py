"""Bytes in and out: the loop, the front door, polling, WebSocket, ASGI and the clock.

Rule: knows ``rtserver.protocol`` and the settings; calls up through the
``SessionHandler`` seam of ``session`` only, and nothing here awaits per message.
"""
