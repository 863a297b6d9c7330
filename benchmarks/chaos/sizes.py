"""How much of everything: a full run, or a quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The size of a run.

    Args:
        nodes: Of the cluster.
        clients: That talk while a fault happens.
        crowd: Clients that connect again at once.
        churn: Connections that come and go.
        seconds: Of load before a fault, and again after it.
        ask_every: Seconds between two questions of a client.
        say_every: Seconds between two broadcasts of a speaker.
    """

    nodes: int = 3
    clients: int = 120
    crowd: int = 5_000
    churn: int = 100_000
    seconds: float = 2.0
    ask_every: float = 0.5
    say_every: float = 0.25
