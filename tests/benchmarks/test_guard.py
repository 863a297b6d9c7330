"""What the guard against slowness lets pass, and what it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.guard.baseline import (
    LEAST_MARGIN,
    Comparison,
    as_table,
    compare_counts,
    compare_ratios,
    margin,
    ratios,
    unknown,
)
from benchmarks.guard.codecs import BINARY_1K, RECORD, TEXT_64, WORKS
from benchmarks.guard.instructions import CannotCount, total
from rtserver.protocol.socketio.packet import Packet, PacketType

BASELINE = Path(__file__).parents[2] / "benchmarks" / "baseline.json"


@pytest.mark.parametrize(
    ("now", "worse", "better"), [(1.0, False, False), (1.09, False, False), (1.11, True, False), (0.89, False, True)]
)
def test_what_is_beyond_the_margin_is_worse(now: float, worse: bool, better: bool) -> None:
    compared = Comparison("echo", "", was=1.0, now=now, margin=0.1)
    assert (compared.worse, compared.better) == (worse, better)


def test_turns_that_agree_leave_the_least_margin() -> None:
    assert margin([0.5] * 9, turns=3) == LEAST_MARGIN


def test_the_margin_is_what_a_median_of_few_turns_reaches_by_chance() -> None:
    # One in nine turns is out: two of three are, once in 27 times. Two in nine: every sixth time. Of five, less often.
    assert margin([0.5] * 8 + [0.7], turns=3) == pytest.approx(0.4)
    assert margin([0.5] * 8 + [0.7], turns=5) == pytest.approx(0.4)
    assert margin([0.5] * 30 + [0.7], turns=3) == LEAST_MARGIN


def test_turns_are_compared_with_their_neighbours() -> None:
    # The machine was half as fast in the second turn; the ratio does not know.
    assert ratios([10, 20], [20, 40]) == [0.5, 0.5]


def test_a_server_that_has_become_slower_is_worse() -> None:
    was = {"echo": [0.50, 0.51, 0.49] * 3}
    (same,) = compare_ratios(was, {"echo": [0.52, 0.50, 0.53]})
    (slower,) = compare_ratios(was, {"echo": [0.60, 0.58, 0.61]})
    assert (same.worse, slower.worse) == (False, True)


def test_a_codec_that_takes_more_instructions_is_worse() -> None:
    assert [one.worse for one in compare_counts({"read": 10_000}, {"read": 10_199})] == [False]
    assert [one.worse for one in compare_counts({"read": 10_000}, {"read": 10_201})] == [True]


def test_what_has_no_baseline_is_named_and_not_compared() -> None:
    assert compare_counts({"read": 1}, {"write": 1}) == []
    assert unknown({"read": 1}, {"read": 1, "write": 1}) == ["write"]


def test_the_table_says_what_is_worse() -> None:
    table = as_table([Comparison("echo", "× Node's CPU", 0.5, 0.6, 0.12), Comparison("read", "instructions", 9, 9, 0)])
    assert [line.split(" | ")[-1] for line in table.splitlines()[2:]] == ["**WORSE** |", "same |"]
    assert "0.500 | 0.600 | +20.0% | +12%" in table


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("websocket: read 64 B text", [f'420["m","{TEXT_64}"]']),
        ("websocket: read 16 kB binary", [bytes(16_384)]),
        ("socket.io: read event, 64 B", Packet(PacketType.EVENT, "/", ["m", TEXT_64], 0)),
        ("socket.io: read event, record", Packet(PacketType.EVENT, "/chat", ["m", RECORD], 5)),
        ("socket.io: read event, 1 kB binary", Packet(PacketType.BINARY_EVENT, "/", ["m", BINARY_1K])),
        ("msgpack: read event, record", Packet(PacketType.EVENT, "/chat", ["m", RECORD], 5)),
    ],
)
def test_what_is_counted_is_reading_and_no_refusal(name: str, reads: object) -> None:
    assert [WORKS[name](), WORKS[name]()] == [reads, reads]


def test_a_file_of_the_counter_is_read_or_refused() -> None:
    assert total("events: Ir\nsummary: 1147858\n\ntotals: 5\n") == 1_147_858
    with pytest.raises(CannotCount):
        total("")


def test_everything_that_is_guarded_has_a_baseline() -> None:
    said = json.loads(BASELINE.read_text())
    titles = {"echo", "echo, rtserver-full", "broadcast to 1,000", "polling handshakes", "WebSocket connects"}
    assert set(said["ratios"]) == titles
    assert all(set(one["counts"]) == set(WORKS) for one in said["instructions"].values())
