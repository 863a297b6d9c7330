"""Slots of one machine: processes that race for them, die and come back."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtserver.cluster.rundir import default_run_dir, find_sockets, open_run_dir
from rtserver.cluster.slots import NoSlot, hold_slot, take_slot
from rtserver.errors import ConfigurationError
from rtserver.protocol.sid import Owner

TAKER = """
import sys
from pathlib import Path
from rtserver.cluster.slots import take_slot
sys.stdin.readline()
with take_slot(Path(sys.argv[1])) as owner:
    print(*owner, flush=True)
    sys.stdin.readline()
"""


@contextmanager
def takers(directory: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    program = [sys.executable, "-c", TAKER, str(directory)]
    processes = [
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def begin(processes: list[subprocess.Popen[str]]) -> list[Owner]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    owners = []
    for process in processes:
        assert process.stdout is not None
        slot, incarnation = process.stdout.readline().split()
        owners.append(Owner(int(slot), int(incarnation)))
    return owners


def test_nodes_that_start_at_once_never_share_a_slot(tmp_path: Path) -> None:
    with takers(tmp_path, 6) as processes:
        owners = begin(processes)
        assert sorted(owner.slot for owner in owners) == [0, 1, 2, 3, 4, 5]


def test_a_slot_is_free_again_when_its_node_is_killed_and_the_next_one_is_another_incarnation(tmp_path: Path) -> None:
    with takers(tmp_path, 1) as processes:
        (first,) = begin(processes)
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        with take_slot(tmp_path) as second:
            assert second == Owner(first.slot, (first.incarnation + 1) % 65_536)


def test_incarnations_begin_again_after_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "slot-0.lock").write_text("65535\n")
    with hold_slot(tmp_path, 0) as incarnation:
        assert incarnation == 0
    assert (tmp_path / "slot-0.lock").read_text().strip() == "0"


@pytest.mark.parametrize("content", ["", "a text that no node has written", "-1", "１"])
def test_a_lock_that_no_node_has_written_is_taken_all_the_same(tmp_path: Path, content: str) -> None:
    (tmp_path / "slot-0.lock").write_text(content)
    with hold_slot(tmp_path, 0) as incarnation:
        assert incarnation is not None
        assert 0 <= incarnation < 65_536


def test_a_held_slot_is_held_against_everybody(tmp_path: Path) -> None:
    with hold_slot(tmp_path, 0) as first, hold_slot(tmp_path, 0) as second:
        assert first is not None
        assert second is None


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("7")
    (tmp_path / "slot-0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"), hold_slot(tmp_path, 0):
        pass
    assert (tmp_path / "elsewhere").read_text() == "7"


def test_there_is_an_end_of_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtserver.cluster.slots.SLOTS", 2)
    with take_slot(tmp_path), take_slot(tmp_path), pytest.raises(NoSlot), take_slot(tmp_path):
        pass


def test_the_run_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    directory = open_run_dir(tmp_path / "deep" / "run")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert open_run_dir(directory) == directory


def test_a_run_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "run"
    shared.mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match="mode 0700"):
        open_run_dir(shared)


def test_a_run_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigurationError, match="directory of our own"):
        open_run_dir(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory of somebody else")
def test_a_run_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "run"
    foreign.mkdir(mode=0o700)
    os.chown(foreign, 65_534, 65_534)
    with pytest.raises(ConfigurationError, match="directory of our own"):
        open_run_dir(foreign)


def test_the_usual_run_directory_is_the_users_own() -> None:
    assert default_run_dir({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/run/user/7/rtserver")
    assert default_run_dir({}) == Path(f"/tmp/rtserver-{os.geteuid()}")


def test_only_sockets_of_nodes_are_found(tmp_path: Path) -> None:
    for name in ("node-0.sock", "node-12.sock", "node-65536.sock", "node-.sock", "xnode-1.sock", "slot-3.lock"):
        (tmp_path / name).touch()
    assert find_sockets(tmp_path) == {0: tmp_path / "node-0.sock", 12: tmp_path / "node-12.sock"}
