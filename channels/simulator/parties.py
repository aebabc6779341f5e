"""The agents, queues and interactions of the simulation."""

from collections import deque

from channels.simulator.centre import AgentProfile, QueueProfile
from channels.simulator.status import Status


class Agent:
    """An agent's state. ``plan`` rises with each change: a step that was planned before the change does nothing."""

    __slots__ = ("break_due", "leaving", "plan", "profile", "status")

    def __init__(self, profile: AgentProfile) -> None:
        self.profile = profile
        self.status = Status.LOGGED_OUT
        self.plan = 0
        self.leaving = False
        self.break_due: tuple[str, int] | None = None


class Queue:
    """A queue and the interactions that wait in it, the next one first."""

    __slots__ = ("profile", "waiting")

    def __init__(self, profile: QueueProfile) -> None:
        self.profile = profile
        self.waiting: deque[Call] = deque()


class Call:
    """An interaction of any medium. ``plan`` rises with each change: a step that was planned before the change does nothing."""

    __slots__ = (
        "agent",
        "answered_ms",
        "consult_due",
        "distributed",
        "entered_ms",
        "id",
        "kind",
        "left_ms",
        "media",
        "plan",
        "queue",
        "queued_ms",
        "second",
    )

    def __init__(self, identifier: str, kind: str, media: str) -> None:
        self.id = identifier
        self.kind = kind
        self.media = media
        self.queue: Queue | None = None
        self.entered_ms = 0
        """When it entered its queue."""
        self.queued_ms = 0
        """When it began to wait last: later than ``entered_ms`` if an agent's phone rang since then and nobody answered."""
        self.distributed = False
        """Whether it was offered to an agent since it entered the queue."""
        self.agent: Agent | None = None
        self.second: Agent | None = None
        """The other party of a consult or internal call."""
        self.answered_ms = 0
        self.left_ms = 0
        """Milliseconds of the conversation that remain after the hold or consult."""
        self.consult_due = False
        self.plan = 0
