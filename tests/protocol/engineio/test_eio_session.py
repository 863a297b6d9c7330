"""The session's life, by single steps and under any interleaving of packets and clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtserver.protocol.engineio.packet import Packet, PacketType
from rtserver.protocol.engineio.session import (
    PING,
    PROBE_ANSWER,
    MessageReceived,
    PacketDue,
    PollReleased,
    ProbeDue,
    Session,
    SessionClosed,
    SessionEvent,
    Upgraded,
    UpgradeFailed,
)
from rtserver.types import TransportName

PROBE = Packet(PacketType.PING, "probe")
UPGRADE = Packet(PacketType.UPGRADE)
PONG = Packet(PacketType.PONG)


def session(transport: TransportName = "polling") -> Session:
    return Session(now=0, transport=transport, ping_interval=25, ping_timeout=20, upgrade_timeout=10)


def test_a_message_is_passed_on() -> None:
    assert session().receive(Packet(PacketType.MESSAGE, "a"), now=1) == [MessageReceived("a")]


def test_a_ping_is_due_after_the_interval() -> None:
    one = session()
    assert one.next_deadline() == 25
    assert one.on_deadline(now=24) == []
    assert one.on_deadline(now=25) == [PacketDue(PING)]
    assert one.next_deadline() == 45


def test_a_pong_starts_the_next_interval() -> None:
    one = session()
    one.on_deadline(now=25)
    assert one.receive(PONG, now=26) == []
    assert one.next_deadline() == 51


def test_a_missing_pong_ends_the_session() -> None:
    one = session()
    one.on_deadline(now=25)
    assert one.on_deadline(now=44) == []
    assert one.on_deadline(now=45) == [SessionClosed("ping timeout")]
    assert one.next_deadline() is None


def test_an_owner_that_does_not_read_misses_no_pong() -> None:
    one = session()
    assert one.hold(now=25) == [PacketDue(PING)]
    assert one.hold(now=45) == [PacketDue(PING)]
    assert one.next_deadline() == 65
    one.close("forced close")
    assert one.hold(now=65) == []


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (Packet(PacketType.CLOSE), "transport close"),
        (Packet(PacketType.PING), "transport error"),
        (Packet(PacketType.OPEN), "parse error"),
        (Packet(PacketType.UPGRADE), "parse error"),
        (Packet(PacketType.NOOP), "parse error"),
    ],
)
def test_what_clients_do_not_send_ends_the_session(packet: Packet, reason: Any) -> None:
    one = session()
    assert one.receive(packet, now=1) == [SessionClosed(reason)]
    assert one.receive(packet, now=2) == []
    assert one.close("forced close") == []
    assert one.on_deadline(now=100) == []


def test_an_upgrade_is_probed_and_made() -> None:
    one = session()
    assert one.begin_upgrade(now=1)
    assert one.next_deadline() == 11
    assert one.receive_probe(PROBE, now=2) == [ProbeDue(PROBE_ANSWER), PollReleased()]
    assert one.receive_probe(UPGRADE, now=3) == [Upgraded()]
    assert one.transport == "websocket"
    assert one.next_deadline() == 25


@pytest.mark.parametrize("packet", [UPGRADE, Packet(PacketType.PING), Packet(PacketType.MESSAGE, "a"), PONG])
def test_a_probe_begins_with_a_probe(packet: Packet) -> None:
    one = session()
    one.begin_upgrade(now=1)
    assert one.receive_probe(packet, now=2) == [UpgradeFailed()]
    assert not one.upgrading
    assert one.transport == "polling"
    assert not one.closed


def test_a_second_probe_fails_the_upgrade() -> None:
    one = session()
    one.begin_upgrade(now=1)
    one.receive_probe(PROBE, now=2)
    assert one.receive_probe(PROBE, now=2) == [UpgradeFailed()]


def test_an_upgrade_has_a_time_limit_and_polling_lives_on() -> None:
    one = session()
    one.begin_upgrade(now=1)
    assert one.on_deadline(now=11) == [UpgradeFailed()]
    assert one.next_deadline() == 25
    assert one.begin_upgrade(now=12)


def test_an_upgrade_and_a_ping_may_be_due_together() -> None:
    one = session()
    one.begin_upgrade(now=15)
    assert one.on_deadline(now=25) == [UpgradeFailed(), PacketDue(PING)]


def test_one_upgrade_at_a_time_and_none_from_websocket() -> None:
    one = session()
    assert one.begin_upgrade(now=1)
    assert not one.begin_upgrade(now=1)
    assert not session("websocket").begin_upgrade(now=1)
    one.close("forced close")
    assert not one.begin_upgrade(now=1)
    assert one.probe_lost() == []
    assert one.receive_probe(PROBE, now=1) == []


class AnyInterleaving(RuleBasedStateMachine):
    """Whatever is sent and however time passes, a session keeps its promises."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = session()
        self.ends = 0
        self.upgrades = 0
        self.pings = 0

    def note(self, events: list[SessionEvent], *, was_closed: bool) -> None:
        assert not (was_closed and events), "a closed session stays silent"
        for event in events:
            self.ends += isinstance(event, SessionClosed)
            self.upgrades += isinstance(event, Upgraded)
            self.pings += isinstance(event, PacketDue)
        assert not any(isinstance(event, SessionClosed) for event in events[:-1]), "nothing comes after the end"

    @rule(kind=st.sampled_from(PacketType), data=st.sampled_from(["", "probe"]))
    def receive(self, kind: PacketType, data: str) -> None:
        closed = self.session.closed
        self.note(self.session.receive(Packet(kind, data), now=self.now), was_closed=closed)
        if kind is PacketType.PONG:
            self.pings = 0

    @rule(kind=st.sampled_from(PacketType), data=st.sampled_from(["", "probe"]))
    def receive_probe(self, kind: PacketType, data: str) -> None:
        closed = self.session.closed
        self.note(self.session.receive_probe(Packet(kind, data), now=self.now), was_closed=closed)

    @rule()
    def begin_upgrade(self) -> None:
        was_polling = self.session.transport == "polling"
        assert not self.session.begin_upgrade(now=self.now) or was_polling

    @rule()
    def lose_the_probe(self) -> None:
        closed = self.session.closed
        self.note(self.session.probe_lost(), was_closed=closed)

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        closed = self.session.closed
        self.now += seconds
        self.note(self.session.on_deadline(now=self.now), was_closed=closed)
        assert self.pings <= 1, "no second ping before a pong"

    @precondition(lambda self: not self.session.closed)
    @rule()
    def wait_until_the_deadline(self) -> None:
        deadline = self.session.next_deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        events = self.session.on_deadline(now=self.now)
        assert events, "a deadline is not for nothing"
        self.note(events, was_closed=False)

    @rule()
    def close(self) -> None:
        closed = self.session.closed
        self.note(self.session.close("forced close"), was_closed=closed)

    @invariant()
    def it_ends_once(self) -> None:
        assert self.ends == self.session.closed
        assert self.upgrades <= 1

    @invariant()
    def it_has_a_deadline_while_open(self) -> None:
        assert (self.session.next_deadline() is None) == self.session.closed


TestAnyInterleaving = AnyInterleaving.TestCase
