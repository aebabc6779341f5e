"""The hub of one process: puts the parts of core together. Every endpoint calls the parts, and nothing here knows an endpoint."""

from __future__ import annotations

from hub.bus.interface import Bus
from hub.core.arrivals import Arrivals
from hub.core.budget import QueueBudget
from hub.core.bus_receiver import BusReceiver
from hub.core.counters import Counters
from hub.core.delivery import ChannelRegistry
from hub.core.fetches import Fetches
from hub.core.flusher import Flusher
from hub.core.frames import FrameCaches
from hub.core.interest import Interest
from hub.core.limits import Limits
from hub.core.logins import LocalLogins
from hub.core.ports import Authorizer, Clock, Loop
from hub.core.positions import Positions
from hub.core.publisher import Publisher
from hub.core.recipient import FaultObserver, Recipient
from hub.core.renewal import Renewals
from hub.core.router import Router
from hub.core.session_ids import new_incarnation
from hub.core.sessions import Sessions
from hub.core.signals import Signals
from hub.core.snapshots import Snapshots
from hub.core.subjects import SubjectSessions
from hub.core.subscriptions import Subscriptions
from hub.core.timers import Timers
from hub.eventlog.channel_log import ChannelLog


class Hub:
    """The parts of one process: who is connected (:attr:`sessions`, :attr:`logins`), what they hear (:attr:`subscriptions`,
    :attr:`snapshots`), and what is published (:attr:`publisher`).
    """

    __slots__ = (
        "arrivals",
        "budget",
        "clock",
        "counters",
        "fan_outs",
        "fetches",
        "flusher",
        "frame_caches",
        "incarnation",
        "limits",
        "log",
        "logins",
        "loop",
        "positions",
        "publisher",
        "registry",
        "renewals",
        "router",
        "sessions",
        "signals",
        "snapshots",
        "subjects",
        "subscriptions",
        "timers",
    )

    def __init__(
        self,
        *,
        bus: Bus,
        log: ChannelLog,
        registry: ChannelRegistry,
        authorizer: Authorizer,
        loop: Loop,
        clock: Clock,
        on_fault: FaultObserver,
        limits: Limits | None = None,
        incarnation: str | None = None,
    ) -> None:
        """``on_fault`` is told of exceptions that one session raised while it was sent something. ``incarnation`` is the name of this
        process; without it the hub takes a random one.
        """
        self.incarnation = incarnation or new_incarnation()
        """The name of this process; the ids of its sessions begin with it."""
        # what every part stands on
        self.limits = limits or Limits()
        self.loop = loop
        self.clock = clock
        self.timers = Timers(clock)
        self.counters = Counters()
        self.registry = registry
        # from the router to the connections
        self.router: Router[Recipient] = Router(registry.covering)
        self.frame_caches = FrameCaches(self.limits.max_frame_bytes)
        self.flusher = Flusher(loop, clock, self._count_fault(on_fault))
        self.fan_outs = self.flusher.fan_outs
        self.log = log
        """What log channels have told, as far as it is kept."""
        # who is here, and what they hear
        self.arrivals = Arrivals(loop, clock, self.counters, self.limits.arrivals_us / 1_000_000)
        self.positions = Positions()
        self.snapshots = Snapshots(registry, self.limits, loop, clock)
        self.fetches = Fetches(bus, self.limits.max_queue_bytes)
        self.subscriptions = Subscriptions(
            interest=Interest(bus, registry, self.positions),
            log=log,
            registry=registry,
            router=self.router,
            fan_outs=self.fan_outs,
            positions=self.positions,
            snapshots=self.snapshots,
            authorizer=authorizer,
            arrivals=self.arrivals,
            limits=self.limits,
            counters=self.counters,
            loop=loop,
            clock=clock,
        )
        self.sessions = Sessions(self.limits, clock, self.counters, self.subscriptions)
        self.logins = LocalLogins()
        self.budget = QueueBudget(self.limits, clock, self.counters, self.sessions.by_id.values)
        self.subjects = SubjectSessions(self.router)
        self.sessions.on_attached.append(self.subjects.arrived)
        self.sessions.on_detached.append(self.subjects.left)
        self.subscriptions.on_subscribed.append(self.subjects.subscribed)
        self.subscriptions.on_unsubscribed.append(self.subjects.unsubscribed)
        self.subscriptions.on_narrowed.append(self.subjects.narrowed)
        self.renewals = Renewals(self.subscriptions, self.timers, clock, self.limits, self.counters)
        self.sessions.on_attached.append(self.renewals.arrived)
        self.sessions.on_detached.append(self.renewals.left)
        # what is published
        self.signals = Signals(bus)
        self.publisher = Publisher(bus, registry, self.router, self.fan_outs, authorizer, self.counters)
        bus.attach(
            BusReceiver(
                publisher=self.publisher,
                positions=self.positions,
                sessions=self.sessions,
                snapshots=self.snapshots,
                fetches=self.fetches,
                subjects=self.subjects,
                signals=self.signals,
                registry=registry,
                counters=self.counters,
                loop=loop,
                clock=clock,
            )
        )

    def _count_fault(self, on_fault: FaultObserver) -> FaultObserver:
        def count(subscriber: Recipient, error: Exception) -> None:
            self.counters.faults += 1
            on_fault(subscriber, error)

        return count
