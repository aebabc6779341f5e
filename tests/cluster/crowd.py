"""Two hundred clients of all kinds on one log channel, spread over the balancers, and what each of them heard."""

from __future__ import annotations

import contextlib
import itertools
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tests.clients.foreign import JAVA_KINDS, KINDS, Kind, why_no_java
from tests.cluster.hubs import HubCluster, Tenant
from tests.cluster.listeners import Dashboard, Listener, Listeners, Reader
from tests.support.puppet import Puppet, PuppetProcess

PATIENCE_S = 120.0
AT_A_TIME = 40

COUNTS = {
    "cometd9-websocket": 12,
    "cometd9-long-polling": 26,
    "cometd8-websocket": 10,
    "cometd8-long-polling": 20,
    "genesys-long-polling": 16,
    "faye-websocket": 8,
    "faye-long-polling": 20,
    "cometd-java8-websocket": 8,
    "cometd-java8-long-polling": 16,
    "statistics-java-long-polling": 12,
    "/ws": 28,
    "/events": 24,
}
"""Two hundred in all, most of them over long-polling, which needs the relay. (aiocometd is left out: it takes the milliseconds that a hub
tells it to stay away for seconds.)"""


class Member(ABC):
    """One client."""

    def __init__(self, kind: str, tenant: Tenant, *, resumes: bool) -> None:
        self.kind = kind
        self.tenant = tenant
        self.resumes = resumes
        """Whether it says where it was when it comes back: then nothing may be missing."""

    @property
    @abstractmethod
    def heard(self) -> list[tuple[int | None, Any]]:
        """Position and data of each message, in the order in which they came."""

    @property
    def whole(self) -> bool:
        """Whether nothing may be missing of what it heard since it was told to forget: it resumes, or has had one session all the time."""
        return self.resumes

    @property
    def numbers(self) -> list[int]:
        return [data["event"]["n"] for _, data in self.heard]

    def clear(self) -> None:
        self.heard.clear()

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.tenant.name}>"


class Foreign(Member):
    """A client library in another process."""

    def __init__(self, kind: Kind, tenant: Tenant, puppet: Puppet, *, resumes: bool) -> None:
        super().__init__(str(kind), tenant, resumes=resumes)
        self.puppet = puppet
        self._heard: list[tuple[int | None, Any]] = []
        self._ended = 0
        """Answers that told it that its session is unknown."""
        self._last_meta: deque[dict[str, Any]] = deque(maxlen=4)
        """The last replies to meta messages, for whoever reads what a test says of it."""

    @property
    def heard(self) -> list[tuple[int | None, Any]]:
        return self._heard

    @property
    def whole(self) -> bool:
        return self.resumes or not self._ended

    def clear(self) -> None:
        super().clear()
        self._ended = 0

    def __repr__(self) -> str:
        return f"{super().__repr__()} {list(self._last_meta)}"

    def take(self, events: Sequence[dict[str, Any]]) -> None:
        self._last_meta.extend(event["message"] for event in events if event["event"] == "meta")
        for event in events:
            if event["event"] == "message":
                data = event["message"]["data"]
                self._heard.append((data["event"].get("replayId"), data))
            elif not event["message"].get("successful") and str(event["message"].get("error", "")).startswith("402"):
                self._ended += 1


class Own(Member):
    """A dashboard, or a reader of an event stream."""

    def __init__(self, kind: str, tenant: Tenant, listener: Listener) -> None:
        super().__init__(kind, tenant, resumes=True)
        self.listener = listener

    @property
    def heard(self) -> list[tuple[int | None, Any]]:
        return self.listener.heard


class Crowd:
    """All of them. Most are of the tenant acme; the last of each kind is of globex, on the same channel."""

    def __init__(self, cluster: HubCluster, channel: str, counts: dict[str, int] = COUNTS) -> None:
        self.channel = channel
        self.members: list[Member] = []
        self._processes: dict[str, PuppetProcess] = {}
        self._listeners = Listeners()
        self._urls = itertools.cycle(cluster.urls)
        try:
            kinds = [*KINDS, *([] if why_no_java() else JAVA_KINDS)]
            self._open_foreign([(kind, tenant) for kind in kinds for tenant in self._tenants(cluster, counts.get(str(kind), 0))])
            self._open_own("/ws", Dashboard, self._tenants(cluster, counts["/ws"]))
            self._open_own("/events", Reader, self._tenants(cluster, counts["/events"]))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _tenants(cluster: HubCluster, count: int) -> list[Tenant]:
        return [cluster.acme] * (count - 1) + [cluster.globex] if count else []

    def _process(self, kind: Kind) -> PuppetProcess:
        if kind.script not in self._processes:
            self._processes[kind.script] = PuppetProcess(kind.script, program=kind.program, folder=kind.folder)
        return self._processes[kind.script]

    def _open_foreign(self, wanted: Sequence[tuple[Kind, Tenant]]) -> None:
        made: list[Foreign] = []
        for kind, tenant in wanted:
            resumes = kind.script == "cometd.mjs"
            options = {**kind.options, **({"apiKey": tenant.key} if "apiKey" in kind.options else {})}
            if resumes:
                options["replay"] = {self.channel: -1}
            puppet = self._process(kind).client()
            endpoint = f"{next(self._urls)}{kind.path}"
            puppet.call("open", {"url": endpoint, "transports": [kind.transport], **options})
            made.append(Foreign(kind, tenant, puppet, resumes=resumes))
        self.members += made
        self._all(made, "handshake", lambda member: (member.tenant.authentication,))
        self._all(made, "subscribe", lambda _: (self.channel,))

    @staticmethod
    def _all(members: Sequence[Foreign], name: str, arguments: Callable[[Foreign], tuple[Any, ...]]) -> None:
        """The same command for all of them, some at a time, until each was answered with success; 503 is asked again."""
        waiting = list(members)
        end = time.monotonic() + PATIENCE_S
        while waiting:
            some = waiting[:AT_A_TIME]
            replies = [(member, member.puppet.start(name, *arguments(member))) for member in some]
            answers = [(member, take()) for member, take in replies]
            failed = [(member, reply) for member, reply in answers if not reply["successful"]]
            refused = [(member, reply) for member, reply in failed if "503" not in reply.get("error", "") or time.monotonic() > end]
            assert refused == [], f"{name}: {refused[:3]}"
            waiting = waiting[AT_A_TIME:] + [member for member, _ in failed]

    def _open_own(self, kind: str, make: type[Listener], tenants: Sequence[Tenant]) -> None:
        made = [Own(kind, tenant, make(next(self._urls), tenant.token, self.channel)) for tenant in tenants]
        self._listeners.open([member.listener for member in made])
        self.members += made

    def of(self, tenant: Tenant) -> list[Member]:
        return [member for member in self.members if member.tenant is tenant]

    def gather(self) -> None:
        """Take what the libraries' processes have told meanwhile."""
        taken = {id(process): process.take_all("message", "meta") for process in self._processes.values()}
        for member in self.members:
            if isinstance(member, Foreign):
                member.take(taken[id(member.puppet.process)].get(member.puppet.number, []))

    def clear(self) -> None:
        """Forget what was heard until now."""
        self.gather()
        for member in self.members:
            member.clear()

    def until_all_heard(self, tenant: Tenant, number: int, *, within_s: float = PATIENCE_S) -> None:
        """Wait until each client of a tenant has heard the message of this number."""

        def holds() -> bool:
            self.gather()
            return not self.without(tenant, number)

        end = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end, f"these have not heard {number}: {self.without(tenant, number)[:20]}"
            time.sleep(0.1)

    def without(self, tenant: Tenant, number: int) -> list[Member]:
        """Who of a tenant has not heard the message of this number, and was not told that its session had ended."""
        return [member for member in self.of(tenant) if member.whole and number not in member.numbers]

    def close(self) -> None:
        """End every client."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._listeners.close)
            for process in self._processes.values():
                stack.callback(process.close)


def order_faults(members: Sequence[Member], positions: dict[int, int], *, repeats: bool = False) -> list[str]:
    """Where a client heard a position twice, out of order, or with another message than was acknowledged for it. ``repeats``: the same
    message may come again at once, as when the hub dies that relayed an answer.
    """
    faults = []
    for member in members:
        last = 0
        for position, data in member.heard:
            number = data["event"]["n"]
            if position is None or positions.get(number, position) != position:
                faults.append(f"{member}: number {number} has position {position}, expected {positions.get(number)}")
            elif position < last or (position == last and not repeats):
                faults.append(f"{member}: position {position} came after {last}")
            last = max(last, position or 0)
    return faults


def missing(members: Sequence[Member], numbers: Sequence[int]) -> list[str]:
    """Which of the acknowledged numbers a client has not heard that was not told that its session had ended (402), or that resumes."""
    wanted = set(numbers)
    found = [(member, wanted - set(member.numbers)) for member in members if member.whole]
    return [f"{member} misses {len(lost)}: {sorted(lost)[:5]}" for member, lost in found if lost]
