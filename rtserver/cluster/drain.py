"""Letting the sessions of a node go before it ends.

Rule: a session is closed at its transport and never told to leave a namespace, so that its
client connects again by itself; not all at once, so that the other nodes and their databases
are not met by everybody in the same moment.
"""

from __future__ import annotations

from collections.abc import Collection

import trio

from rtserver.transports.session import EngineSession

STEP_SECONDS = 0.05


async def let_go(sessions: Collection[EngineSession], *, rate: int) -> None:
    """Close the sessions, and wait until every client has been told.

    Args:
        sessions: Those of the node, now and later; whoever has been told is in it no more.
        rate: So many in a second.
    """
    due = 0.0
    while sessions:
        due = min(due, float(rate)) + rate * STEP_SECONDS
        for session in [session for session in sessions if not session.closed][: int(due)]:
            session.close("server shutting down")
            due -= 1
        await trio.sleep(STEP_SECONDS)
