"""The simulator's ledger: the model counts here what happens, at the moment when it happens.

No figure is computed from events. So a statistics engine that gets the events must find the same figures; if it does not, one of the two is
wrong. Each figure has the name of the predefined statistic that it corresponds to.

Every duration is in whole seconds, as stat servers count: both moments are cut to whole seconds before they are subtracted.
"""

from dataclasses import dataclass, field
from typing import Any

from channels.simulator.status import Status

SERVICE_LEVEL_S = 20
"""Seconds within which an answered call counts for the service level."""


def seconds_between(began_ms: int, ended_ms: int) -> int:
    """The duration in whole seconds: from 05:40:56.949 to 05:41:07.542 it is 11 s, not 10.593 s."""
    return ended_ms // 1000 - began_ms // 1000


@dataclass(slots=True)
class AgentLedger:
    """One agent. Times in seconds."""

    status: Status = Status.LOGGED_OUT
    since_ms: int = 0
    in_status_s: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    inbound: int = 0
    outbound: int = 0
    internal: int = 0
    consult: int = 0
    missed: int = 0
    """Calls that the agent did not answer, or whose caller gave up while they rang."""
    refused: int = 0
    transferred: int = 0
    handled: int = 0
    """Completed calls with customers."""
    handled_s: int = 0
    """The length of these calls, in seconds, holds included."""
    wraps_s: int = 0
    """Length of the completed after-call work."""

    def until(self, now_ms: int) -> dict[Status, int]:
        """Seconds in each status; the present status counts up to ``now_ms``."""
        times = dict(self.in_status_s)
        times[self.status] += seconds_between(self.since_ms, now_ms)
        return times

    def figures(self, now_ms: int) -> dict[str, int | float]:
        """The figures of the agent, by the names of the statistics."""
        times = self.until(now_ms)
        return {
            "LoginDuration": sum(s for status, s in times.items() if status is not Status.LOGGED_OUT),
            "ReadyDuration": times[Status.READY],
            "NotReadyDuration": times[Status.NOT_READY],
            "TalkDuration": times[Status.TALK],
            "HoldDuration": times[Status.HOLD],
            "WrapDuration": times[Status.WRAP],
            "InboundCalls": self.inbound,
            "OutboundCalls": self.outbound,
            "InternalCalls": self.internal,
            "ConsultCalls": self.consult,
            "MissedCalls": self.missed,
            "RefusedCalls": self.refused,
            "InteractionTransferred": self.transferred,
            "AverageHandlingTime": (self.handled_s + self.wraps_s) / self.handled if self.handled else 0,
        }


@dataclass(slots=True)
class QueueLedger:
    """One queue. Times in seconds."""

    entered: int = 0
    answered: int = 0
    abandoned: int = 0
    abandoned_ringing: int = 0
    distributed: int = 0
    overflowed: int = 0
    answered_in_time: int = 0
    answered_s: int = 0
    """Seconds that the answered calls waited, from entering to the answer."""
    abandoned_s: int = 0
    """Seconds that the lost calls waited, ringing included."""
    distributed_s: int = 0
    waiting: int = 0
    """Calls that wait; a ringing call waits, too."""

    def figures(self) -> dict[str, int | float]:
        """The figures of the queue, by the names of the statistics."""
        lost = self.abandoned + self.abandoned_ringing
        ended = self.answered + lost
        return {
            "CallsEntered": self.entered,
            "TotalAnswered": self.answered,
            "TotalAbandoned": lost,
            "TotalDistributed": self.distributed,
            "CurrentInQueue": self.waiting,
            "ServiceLevel": 100 * self.answered_in_time / ended if ended else 0,
            "AverageWaitingTime": (self.answered_s + self.abandoned_s) / ended if ended else 0,
            "AverageDistributionTime": self.distributed_s / self.distributed if self.distributed else 0,
        }


class Ledger:
    """All agents and queues of a centre."""

    __slots__ = ("agents", "queues")

    def __init__(self, agents: list[str], queues: list[str], start_ms: int) -> None:
        self.agents = {agent: AgentLedger(since_ms=start_ms) for agent in agents}
        self.queues = {queue: QueueLedger() for queue in queues}

    def status(self, agent: str, status: Status, now_ms: int) -> None:
        """An agent's status changes."""
        ledger = self.agents[agent]
        ledger.in_status_s[ledger.status] += seconds_between(ledger.since_ms, now_ms)
        ledger.status, ledger.since_ms = status, now_ms

    def call_ended(self, agent: str, call_type: str, began_ms: int, now_ms: int) -> None:
        """An agent's part in an established call ended, by release or by transfer."""
        ledger = self.agents[agent]
        setattr(ledger, call_type, getattr(ledger, call_type) + 1)
        if call_type in ("inbound", "outbound"):
            ledger.handled += 1
            ledger.handled_s += seconds_between(began_ms, now_ms)

    def answered(self, queue: str, entered_ms: int, now_ms: int) -> None:
        """A customer of a queue was connected with an agent."""
        ledger = self.queues[queue]
        ledger.answered += 1
        ledger.waiting -= 1
        waited_s = seconds_between(entered_ms, now_ms)
        ledger.answered_s += waited_s
        ledger.answered_in_time += waited_s < SERVICE_LEVEL_S

    def as_json(self, now_ms: int) -> dict[str, Any]:
        """Every figure at ``now_ms``, by object and statistic."""
        return {
            "agents": {agent: ledger.figures(now_ms) for agent, ledger in self.agents.items()},
            "queues": {queue: ledger.figures() for queue, ledger in self.queues.items()},
        }
