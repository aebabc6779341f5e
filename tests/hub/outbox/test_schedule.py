"""What an outcome means."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.outbox.models import DeliveryState, Policy, Success, Throttle
from hub.outbox.outcome import Failure, Outcome
from hub.outbox.schedule import Decision, decide
from hub.outbox.settings import OutboxSettings
from tests.hub.outbox.support import outcome

SETTINGS = OutboxSettings()
STEADY = OutboxSettings(jitter=0)
EXACT = Policy(Success.EXACTLY_200)
MESSAGING = Policy(Success.ANY_2XX, 10_000, refusal_is_final=True)


def decision(came: Outcome, step: int = 1, policy: Policy = EXACT, settings: OutboxSettings = STEADY) -> Decision:
    return decide(policy, came, step, settings, Random(1))


@pytest.mark.parametrize(
    ("policy", "status", "state"),
    [
        (EXACT, 200, DeliveryState.DELIVERED),
        (EXACT, 201, DeliveryState.PENDING),
        (EXACT, 204, DeliveryState.PENDING),
        (EXACT, 301, DeliveryState.PENDING),
        (EXACT, 400, DeliveryState.PENDING),
        (EXACT, 404, DeliveryState.PENDING),
        (EXACT, 410, DeliveryState.DEAD),
        (EXACT, 500, DeliveryState.PENDING),
        (MESSAGING, 200, DeliveryState.DELIVERED),
        (MESSAGING, 299, DeliveryState.DELIVERED),
        (MESSAGING, 302, DeliveryState.PENDING),
        (MESSAGING, 400, DeliveryState.DEAD),
        (MESSAGING, 404, DeliveryState.DEAD),
        (MESSAGING, 408, DeliveryState.PENDING),
        (MESSAGING, 425, DeliveryState.PENDING),
        (MESSAGING, 429, DeliveryState.PENDING),
        (MESSAGING, 503, DeliveryState.PENDING),
    ],
)
def test_statuses(policy: Policy, status: int, state: DeliveryState) -> None:
    assert decision(outcome(status), policy=policy).state is state


def test_a_status_that_comes_with_a_fault_is_no_success() -> None:
    assert decision(outcome(200, Failure.TIMEOUT)).state is DeliveryState.PENDING


def test_each_step_has_its_pause_and_after_the_last_it_is_dead() -> None:
    pauses = [decision(outcome(500), step).wait_s for step in range(1, len(SETTINGS.retry_s) + 1)]
    assert pauses == [5, 300, 1800, 7200, 18000, 36000, 36000]
    assert decision(outcome(500), 8).state is DeliveryState.DEAD


def test_the_error_says_what_was_expected() -> None:
    assert decision(outcome(204)).error == "answered 204, expected 200"
    assert decision(outcome(301), policy=MESSAGING).error == "answered 301, expected 2xx"
    assert decision(outcome(0, Failure.CONNECT, error="refused")).error == "refused"


def test_who_is_gone_is_disabled() -> None:
    assert "410" in decision(outcome(410)).disable
    assert decision(outcome(404)).disable == ""


@pytest.mark.parametrize("status", [429, 502, 504])
def test_who_has_too_much_to_do_is_left_alone(status: int) -> None:
    decided = decision(outcome(status))
    assert (decided.wait_s, decided.pause_s, decided.silent) == (60, 60, False)


@pytest.mark.parametrize(("step", "wait_s"), [(1, 5), (2, 300), (7, 36_000)])
def test_who_does_not_answer_in_time_is_asked_again_by_the_schedule(step: int, wait_s: float) -> None:
    decided = decision(outcome(0, Failure.TIMEOUT), step)
    assert (decided.wait_s, decided.pause_s, decided.silent) == (wait_s, 0, True)


@pytest.mark.parametrize(
    ("status", "retry_after_s", "step", "wait_s", "pause_s"),
    [
        (429, 7, 1, 7, 0),
        (429, 1, 1, 5, 0),
        (429, 9999, 1, 10, 0),
        (429, 400, 2, 400, 0),
        (429, None, 1, 60, 0),
        (502, 7, 1, 60, 60),
        (504, None, 1, 60, 60),
        (503, 7, 1, 7, 0),
    ],
)
def test_a_429_may_speak_of_one_order_alone(status: int, retry_after_s: float | None, step: int, wait_s: float, pause_s: float) -> None:
    decided = decision(outcome(status, retry_after_s=retry_after_s), step, Policy(throttle=Throttle.ORDER))
    assert (decided.state, decided.wait_s, decided.pause_s) == (DeliveryState.PENDING, wait_s, pause_s)


def test_who_cannot_be_reached_is_silent() -> None:
    decided = decision(outcome(0, Failure.CONNECT))
    assert (decided.wait_s, decided.silent) == (5, True)


@pytest.mark.parametrize(
    ("status", "retry_after_s", "step", "wait_s"),
    [(503, 7, 1, 7), (503, 1, 1, 5), (503, 99, 1, 10), (503, 400, 2, 400), (503, 9999, 2, 600), (429, 7, 1, 60), (429, 400, 2, 400)],
)
def test_retry_after_counts_within_bounds(status: int, retry_after_s: float, step: int, wait_s: float) -> None:
    assert decision(outcome(status, retry_after_s=retry_after_s), step).wait_s == wait_s


@given(
    status=st.sampled_from([0, 200, 204, 301, 400, 408, 410, 429, 500, 503]),
    failure=st.sampled_from(list(Failure)),
    step=st.integers(1, 20),
    retry_after_s=st.none() | st.floats(0, 1e9),
    seed=st.integers(0, 1000),
    final=st.booleans(),
    throttle=st.sampled_from(list(Throttle)),
)
def test_whatever_comes(
    status: int, failure: Failure, step: int, retry_after_s: float | None, seed: int, final: bool, throttle: Throttle
) -> None:
    policy = Policy(refusal_is_final=final, throttle=throttle)
    decided = decide(policy, outcome(status, failure, retry_after_s=retry_after_s), step, SETTINGS, Random(seed))
    if decided.state is DeliveryState.PENDING:
        assert step <= len(SETTINGS.retry_s)
        base = SETTINGS.retry_s[step - 1]
        assert 0.8 * base <= decided.wait_s <= max(2 * base, SETTINGS.throttle_s)
        assert decided.error
    elif decided.state is DeliveryState.DEAD:
        assert decided.error
    else:
        assert failure is Failure.NONE
        assert 200 <= status < 300
    assert bool(decided.disable) == (status == 410 and decided.state is DeliveryState.DEAD)
