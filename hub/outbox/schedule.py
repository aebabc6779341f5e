"""Decides what follows from an outcome: the delivery is done, is tried again later, or is given up. No clock, no I/O."""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from hub.outbox.models import DeliveryState, Policy, Success, Throttle
from hub.outbox.outcome import Failure, Outcome
from hub.outbox.settings import OutboxSettings

GONE: Final = 410
"""The receiver does not exist any more (Standard Webhooks: disable the endpoint)."""

TOO_MANY: Final = 429
"""Too many requests (RFC 6585 section 4): in all, or for one key; the endpoint's field ``throttle`` says which."""

THROTTLES: Final = frozenset({TOO_MANY, 502, 504})
"""The receiver, or a proxy before it, is overloaded (Standard Webhooks)."""

NOT_REFUSALS: Final = frozenset({408, 425, 429})
"""Statuses of 4xx that ask for another attempt (RFC 9110 section 15.5.9, RFC 8470 section 5.2, RFC 6585 section 4)."""


class Decision(NamedTuple):
    """What to do after an attempt. Times in seconds."""

    state: DeliveryState
    error: str = ""
    """Why the event was not delivered; empty when it was."""
    wait_s: float = 0.0
    """Seconds until the next attempt, if the delivery is pending."""
    disable: str = ""
    """Why the endpoint has to be disabled; empty if it has not."""
    silent: bool = False
    """Whether the endpoint did not answer, or could not be reached."""
    pause_s: float = 0.0
    """Seconds during which nothing is sent to the endpoint. Deliveries of the same key wait for a pending one in any case."""


def decide(policy: Policy, outcome: Outcome, step: int, settings: OutboxSettings, random: Random) -> Decision:
    """Decide after the attempt number ``step`` (from 1) of a schedule."""
    status = outcome.status
    if outcome.failure is Failure.NONE and _succeeded(policy, status):
        return Decision(DeliveryState.DELIVERED)
    error = outcome.error or f"answered {status}, expected {'200' if policy.success is Success.EXACTLY_200 else '2xx'}"
    if status == GONE:
        return Decision(DeliveryState.DEAD, error, disable="the receiver answered 410: it is gone")
    silent = outcome.failure in (Failure.TIMEOUT, Failure.CONNECT)
    if policy.refusal_is_final and 400 <= status < 500 and status not in NOT_REFUSALS:
        return Decision(DeliveryState.DEAD, error)
    throttled = status in THROTTLES
    of_order = status == TOO_MANY and policy.throttle is Throttle.ORDER
    pause_s = settings.throttle_s if throttled and not of_order else 0.0
    if step > len(settings.retry_s):
        return Decision(DeliveryState.DEAD, error, silent=silent, pause_s=pause_s)
    base_s = settings.retry_s[step - 1]
    wait_s = base_s * random.uniform(1 - settings.jitter, 1 + settings.jitter)
    if outcome.retry_after_s is not None:
        # within limits: a receiver must not delay a delivery for ever, nor have it repeated without a pause
        wait_s = min(max(outcome.retry_after_s, base_s), 2 * base_s)
    if throttled and not (of_order and outcome.retry_after_s is not None):
        wait_s = max(wait_s, settings.throttle_s)
    return Decision(DeliveryState.PENDING, error, wait_s, silent=silent, pause_s=pause_s)


def _succeeded(policy: Policy, status: int) -> bool:
    return status == 200 if policy.success is Success.EXACTLY_200 else 200 <= status < 300
