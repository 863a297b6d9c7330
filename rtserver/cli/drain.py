"""``rtserver drain``: takes nodes of this machine out of service, one or all.

Rule: speaks to a node by its Unix socket, as its proxies do; a node is gone when it has
hung up.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from pathlib import Path

import click

from rtserver.cluster.datagrams import connect_to, receive
from rtserver.cluster.rundir import find_sockets, open_run_dir
from rtserver.config import Config
from rtserver.errors import ConfigurationError, ProtocolError
from rtserver.protocol.handoff import DRAIN, NodeState, decode

_ANSWER_SECONDS = 2.0


@click.command()
@click.option("--slot", type=click.IntRange(0, 65_535), help="The node of this slot.")
@click.option("--all", "everyone", is_flag=True, help="Every node of the run directory.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the nodes meet. [default: RTSERVER_RUN_DIR]")
@click.option("--wait/--no-wait", default=True, help="Return when the nodes have ended, or at once. [default: wait]")
def drain(slot: int | None, everyone: bool, run_dir: Path | None, wait: bool) -> None:
    """Take nodes out of service: no new sessions, the others let go little by little, then the end.

    Without options the only node there is.
    """
    try:
        directory = open_run_dir(run_dir or Config.of(Config.from_environment()).run_dir)
    except (ConfigurationError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    living = {number: sock for number, path in sorted(find_sockets(directory).items()) if (sock := connect_to(path))}
    for number in _chosen(living, slot, everyone):
        _order(number, living[number])
    if wait:
        for number in _chosen(living, slot, everyone):
            _await_end(living[number])
            click.echo(f"node {number} has ended")


def _chosen(living: Mapping[int, socket.socket], slot: int | None, everyone: bool) -> list[int]:
    slots = ", ".join(map(str, living)) or "none"
    if slot is not None and slot not in living:
        raise click.ClickException(f"no node lives in slot {slot}; there are: {slots}")
    if slot is not None:
        return [slot]
    if everyone or len(living) == 1:
        return list(living)
    raise click.ClickException(f"which node? --slot with one of: {slots}; or --all" if living else "no node lives here")


def _order(number: int, sock: socket.socket) -> None:
    try:
        sock.setblocking(True)
        sock.settimeout(_ANSWER_SECONDS)
        state = decode(receive(sock)[0])
        sock.send(DRAIN)
    except (OSError, ProtocolError) as exc:
        raise click.ClickException(f"node {number} does not answer") from exc
    if isinstance(state, NodeState):
        click.echo(f"node {number} drains; it has {state.sessions} sessions")


def _await_end(sock: socket.socket) -> None:
    sock.setblocking(False)
    try:
        while True:
            select.select([sock], [], [])
            if not receive(sock)[0]:
                return
    except (OSError, ProtocolError):
        # Hung up on in the middle of something: it has ended all the same.
        return
