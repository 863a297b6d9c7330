"""The official JavaScript client, unmodified, sees the same of this server, by either door, as of the reference.

A scenario that fails on the reference is wrong itself. One process of the client runs all scenarios of a kind; each is
a test of its own. What carries messages is served by the commands that users type, as is what has to end by a signal.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from typing import Any, NamedTuple

import pytest

from tests.interop.runs import COMMANDS, ENDING, HERE, SEVERAL, TRANSPORTS, Outcomes, run, scenarios

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


class Run(NamedTuple):
    """One process of the client: against which server, by which transports, with which parser."""

    server: str
    transports: str = "upgrade"
    parser: str = "json"


# The reference is asked once for whatever makes scenarios differ: what it says does not change.
IN_CONVERSATION = [
    Run("reference", "polling"),
    Run("reference", "upgrade", "msgpack"),
    *(Run("front", transports) for transports in TRANSPORTS),
    Run("front", "polling", "msgpack"),
    Run("front", "upgrade", "msgpack"),
    Run("asgi", "polling"),
    Run("asgi", "upgrade", "msgpack"),
]
AT_THE_DOOR = [Run("reference"), Run("front"), Run("asgi")]
AT_THE_END = [
    Run("reference", "polling"),
    Run("reference"),
    *(Run("front", transports) for transports in TRANSPORTS),
    Run("asgi", "polling"),
    Run("asgi"),
]
CUT_OFF = [Run("reference"), Run("front"), Run("asgi", "polling")]


@cache
def outcomes(kinds: str, wanted: Run) -> Outcomes:
    settings: dict[str, Any] = {
        "server": wanted.server,
        "transports": TRANSPORTS[wanted.transports],
        "parser": wanted.parser,
        "several": SEVERAL[wanted.server],
        "command": COMMANDS.get(wanted.server),
    }
    return run(["node", str(HERE / "run.mjs"), kinds, json.dumps(settings)])


def ids(wanted: Run) -> str:
    return "-".join(wanted)


@pytest.mark.parametrize("wanted", IN_CONVERSATION, ids=ids)
@pytest.mark.parametrize("scenario", [*scenarios("messages.mjs", "namespaces.mjs"), ENDING])
def test_in_conversation(scenario: str, wanted: Run) -> None:
    error = outcomes("messages,namespaces", wanted)[scenario]
    assert error is None, error


@pytest.mark.parametrize("wanted", AT_THE_DOOR, ids=ids)
@pytest.mark.parametrize("scenario", [*scenarios("doors.mjs"), ENDING])
def test_at_the_door(scenario: str, wanted: Run) -> None:
    error = outcomes("doors", wanted)[scenario]
    assert error is None, error


@pytest.mark.parametrize("wanted", AT_THE_END, ids=ids)
@pytest.mark.parametrize("scenario", [*scenarios("endings.mjs"), ENDING])
def test_at_the_end(scenario: str, wanted: Run) -> None:
    error = outcomes("endings", wanted)[scenario]
    assert error is None, error


@pytest.mark.parametrize("wanted", CUT_OFF, ids=ids)
@pytest.mark.parametrize("scenario", [*scenarios("recovery.mjs"), ENDING])
def test_cut_off(scenario: str, wanted: Run) -> None:
    error = outcomes("recovery", wanted)[scenario]
    assert error is None, error


def test_every_scenario_is_a_test() -> None:
    for kinds in ("messages,namespaces", "doors", "endings", "recovery"):
        named = scenarios(*(f"{kind}.mjs" for kind in kinds.split(",")))
        assert sorted(outcomes(kinds, Run("front"))) == sorted([*named, ENDING])
