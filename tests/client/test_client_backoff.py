from __future__ import annotations

from typing import Any

import pytest

from rtserver.client.backoff import Backoff, Reconnection
from rtserver.errors import ConfigurationError


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_delays_double_up_to_the_maximum() -> None:
    backoff = Backoff(Reconnection(delay=1, max_delay=5), middle)
    assert [backoff.next_delay() for _ in range(5)] == [1, 2, 4, 5, 5]


def test_a_connection_starts_the_next_outage_from_the_beginning() -> None:
    backoff = Backoff(Reconnection(delay=1, max_delay=5), middle)
    backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() == 1


def test_jitter_spreads_a_delay_to_both_sides_but_not_past_the_maximum() -> None:
    policy = Reconnection(delay=2, max_delay=2.5, jitter=0.5)
    assert Backoff(policy, lambda low, high: low).next_delay() == 1
    assert Backoff(policy, lambda low, high: high).next_delay() == 2.5


def test_attempts_end() -> None:
    backoff = Backoff(Reconnection(attempts=2))
    assert None not in (backoff.next_delay(), backoff.next_delay())
    assert backoff.next_delay() is None


def test_an_endless_outage_stays_at_the_maximum() -> None:
    backoff = Backoff(Reconnection(), middle)
    assert {backoff.next_delay() for _ in range(2_000)} == {1, 2, 4, 5}


@pytest.mark.parametrize("setting", [{"attempts": 0}, {"delay": -1}, {"max_delay": 0.5}, {"jitter": 1.5}])
def test_a_bad_policy_is_refused_by_name(setting: Any) -> None:
    with pytest.raises(ConfigurationError) as error:
        Reconnection(**setting)
    assert error.value.setting == next(iter(setting))
