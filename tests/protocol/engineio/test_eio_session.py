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
    assert one.hold(now=44) == []
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


def test_an_upgrade_may_be_told_to_hurry_but_never_given_more_time() -> None:
    one = session()
    one.hurry_upgrade(by=1)
    assert one.next_deadline() == 25
    one.begin_upgrade(now=1)
    one.hurry_upgrade(by=3)
    one.hurry_upgrade(by=5)
    assert one.next_deadline() == 3
    assert one.on_deadline(now=3) == [UpgradeFailed()]


def test_an_upgrade_and_a_pong_may_be_overdue_together() -> None:
    one = session()
    one.on_deadline(now=25)
    one.begin_upgrade(now=35)
    assert one.on_deadline(now=45) == [UpgradeFailed(), SessionClosed("ping timeout")]


class AnyInterleaving(RuleBasedStateMachine):
    """Whatever is sent and however time passes, a session keeps its promises."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = session()
        self.ended: list[SessionClosed] = []
        self.upgrades = 0
        # Pings without a pong yet, and when the last of the signs of life and of the pings was.
        self.pings = 0
        self.pinged_at = self.alive_at = 0.0
        # Since when a WebSocket is probing, and whether it has said so.
        self.probing_since: float | None = None
        self.probed = False

    def note(self, events: list[SessionEvent], *, was_closed: bool) -> None:
        assert not (was_closed and events), "a closed session stays silent"
        assert not any(isinstance(event, SessionClosed) for event in events[:-1]), "nothing comes after the end"
        for event in events:
            match event:
                case SessionClosed():
                    self.ended.append(event)
                    self.probing_since = None
                case PacketDue(packet):
                    assert packet == PING
                    self.pings += 1
                    self.pinged_at = self.now
                case ProbeDue(packet):
                    assert packet == PROBE_ANSWER
                    assert self.probing_since is not None
                    assert not self.probed, "a probe is answered once"
                    self.probed = True
                case PollReleased():
                    assert self.probed, "a poll is released for a probe"
                case Upgraded():
                    assert self.probed, "an upgrade was probed first"
                    self.upgrades += 1
                    self.probing_since = None
                case UpgradeFailed():
                    assert self.probing_since is not None
                    self.probing_since = None
                case MessageReceived():
                    assert not self.session.closed

    @rule(kind=st.sampled_from(PacketType), data=st.sampled_from(["", "probe"]))
    def receive(self, kind: PacketType, data: str) -> None:
        closed = self.session.closed
        events = self.session.receive(Packet(kind, data), now=self.now)
        self.note(events, was_closed=closed)
        match kind:
            case _ if closed:
                pass
            case PacketType.MESSAGE:
                assert events == [MessageReceived(data)]
            case PacketType.PONG:
                assert events == []
                self.pings, self.alive_at = 0, self.now
            case _:
                assert self.session.closed, "what clients do not send ends the session"

    @rule(packet=st.sampled_from([PROBE, UPGRADE]) | st.builds(Packet, st.sampled_from(PacketType), st.just("probe")))
    def receive_probe(self, packet: Packet) -> None:
        closed = self.session.closed
        expected = self.probing_since is not None and packet in ([UPGRADE] if self.probed else [PROBE])
        probed = self.probed
        events = self.session.receive_probe(packet, now=self.now)
        self.note(events, was_closed=closed)
        if expected:
            assert events == ([Upgraded()] if probed else [ProbeDue(PROBE_ANSWER), PollReleased()])

    @rule()
    def begin_upgrade(self) -> None:
        may = not self.session.closed and self.probing_since is None and not self.upgrades
        assert self.session.begin_upgrade(now=self.now) == may
        if may:
            self.probing_since, self.probed = self.now, False

    @rule()
    def lose_the_probe(self) -> None:
        closed, probing = self.session.closed, self.probing_since is not None
        events = self.session.probe_lost()
        assert events == ([UpgradeFailed()] if probing else [])
        self.note(events, was_closed=closed)

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        closed, deadline = self.session.closed, self.session.next_deadline()
        self.now += seconds
        events = self.session.on_deadline(now=self.now)
        assert deadline is None or bool(events) == (self.now >= deadline), "there is something to do at the deadline"
        pings = self.pings
        self.note(events, was_closed=closed)
        assert self.pings == pings or pings == 0, "no second ping before a pong"
        if SessionClosed("ping timeout") in events:
            assert pings
            assert self.now >= self.pinged_at + 20, "a pong has all of its time"

    @rule(seconds=st.floats(0, 30))
    def hold(self, seconds: float) -> None:
        closed, deadline = self.session.closed, self.session.next_deadline()
        self.now += seconds
        events = self.session.hold(now=self.now)
        assert deadline is None or bool(events) == (self.now >= deadline), "it pings no sooner than it must"
        self.note(events, was_closed=closed)
        assert closed or not self.session.closed, "an owner that does not read misses no pong"

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
        assert self.session.closed

    @invariant()
    def it_ends_once(self) -> None:
        assert len(self.ended) == self.session.closed

    @invariant()
    def it_changes_its_transport_once_and_only_by_an_upgrade(self) -> None:
        assert self.upgrades <= 1
        assert self.session.transport == ("websocket" if self.upgrades else "polling")
        assert self.session.upgrading == (self.probing_since is not None)

    @invariant()
    def it_has_the_deadline_that_it_owes(self) -> None:
        deadline = self.session.next_deadline()
        if self.session.closed:
            assert deadline is None
            return
        owed = self.pinged_at + 20 if self.pings else self.alive_at + 25
        assert deadline == (owed if self.probing_since is None else min(owed, self.probing_since + 10))


TestAnyInterleaving = AnyInterleaving.TestCase
