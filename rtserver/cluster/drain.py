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
# How long clients that poll have, once all sessions are closed, to come and hear of it.
# Whoever is between two polls for longer finds out from the answer to an unknown sid.
TELL_SECONDS = 3.0


async def let_go(sessions: Collection[EngineSession], *, rate: int) -> None:
    """Close the sessions, and wait until their clients have been told.

    Args:
        sessions: Those of the node, now and later; whoever has been told is in it no more.
        rate: So many in a second.
    """
    due = 0.0
    while open_ones := [session for session in sessions if not session.closed]:
        due = min(due, float(rate)) + rate * STEP_SECONDS
        for session in open_ones[: int(due)]:
            session.close("server shutting down")
            due -= 1
        await trio.sleep(STEP_SECONDS)
    with trio.move_on_after(TELL_SECONDS):
        while sessions:  # noqa: ASYNC110 - a drain happens once; sessions need no event for it
            await trio.sleep(STEP_SECONDS)
