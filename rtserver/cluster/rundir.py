"""The directory where the nodes and proxies of one machine meet.

Rule: it belongs to our own user and nobody else may enter, for whoever can reach a node's
socket can give it connections.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from rtserver.errors import ConfigurationError
from rtserver.protocol.handoff import slot_of, socket_name


def default_run_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the directory is unless a setting says something else."""
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "rtserver"
    return Path(f"/tmp/rtserver-{os.geteuid()}")


def open_run_dir(path: Path | None) -> Path:
    """Make the directory if it is not there, and check whose it is.

    Raises:
        ConfigurationError: It is not a directory, or others may enter it.
        OSError: It cannot be made.
    """
    directory = path or default_run_dir()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError("run_dir", str(directory), "a directory of our own with mode 0700")
    return directory


def socket_path(directory: Path, slot: int) -> Path:
    """Where the node of a slot listens."""
    return directory / socket_name(slot)


def lock_path(directory: Path, slot: int) -> Path:
    """What the node of a slot holds a lock on. It contains the slot's incarnation."""
    return directory / f"slot-{slot}.lock"


def lease_path(directory: Path, slot: int) -> Path:
    """Where the node of a slot keeps the token of its lease in Redis, for the next one to know it by."""
    return directory / f"slot-{slot}.lease"


def find_sockets(directory: Path) -> dict[int, Path]:
    """The sockets in the directory, by slot; some may be left from nodes that died."""
    found = {}
    for path in directory.iterdir():
        slot = slot_of(path.name)
        if slot is not None:
            found[slot] = path
    return found
