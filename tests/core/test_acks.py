"""What the server waits for, when it is too busy to look at the clock in time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from rtserver import AckTimeout
from rtserver.core.acks import BroadcastAnswers


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock()


async def test_answers_are_reported_even_if_the_deadline_has_long_passed(clock: trio.testing.MockClock) -> None:
    pending = BroadcastAnswers()
    pending.expect(2)
    pending.all_asked()

    async def answer_and_block() -> None:
        pending.answered(["mine"])
        clock.jump(60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_and_block)
        with pytest.raises(AckTimeout) as caught, trio.fail_after(5):
            await pending.wait()
    assert (caught.value.answers, caught.value.missing) == (["mine"], 1)


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


@pytest.mark.parametrize("already", [True, False])
async def test_another_cancellation_is_no_time_out(already: bool) -> None:
    pending = BroadcastAnswers()
    pending.expect(1)
    with trio.CancelScope() as scope, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            if already:
                scope.cancel()
            else:
                nursery.start_soon(cancel_when_blocked, scope)
            await pending.wait()
    assert scope.cancelled_caught
