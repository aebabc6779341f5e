"""The state machine: what each event begins and ends, and which instantaneous actions it stands for (Stat Server's model of actions).

An event has its own time, which counts. Its order is checked per agent, or per interaction for what happens to an interaction as such, so
that producers whose clocks differ a little do not refuse each other's events. Where an event has an effect on another object whose history
is written further already, the effect is dated to there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from channels import events
from channels.events import Event, EventData, LateEventError
from channels.statistics.engine.admission import Admission, media_of
from channels.statistics.engine.agent_rules import AgentRules
from channels.statistics.engine.area_rules import AreaRules
from channels.statistics.engine.bounds import Bounds, Lifetimes
from channels.statistics.engine.call_rules import CallRules
from channels.statistics.engine.centre import Centre
from channels.statistics.engine.objects import ALL, LONG_AGO_MS, Agent, Group, Interaction
from channels.statistics.engine.queue_rules import QueueRules

IDLE_MS = 5 * 60 * 1000
"""An interaction that waits nowhere and in which nobody takes part is forgotten after this time."""

_MEMBERS_AT_ONCE = 32
"""Members that join or leave a group in one piece."""

_FORGET_AT_ONCE = 64
"""Interactions that are taken for finished in one piece."""


class Machine:
    """Applies events in their order. The rules define what each of them means."""

    __slots__ = ("_admission", "_calls", "_centre", "_forget_at_ms", "_handlers", "_lifetimes", "agents")

    def __init__(self, centre: Centre, lifetimes: Lifetimes, bounds: Bounds) -> None:
        self._centre = centre
        self._lifetimes = lifetimes
        self._admission = Admission(centre, bounds)
        self._forget_at_ms = LONG_AGO_MS
        self.agents = agents = AgentRules(centre, bounds.places)
        queues = QueueRules(centre)
        centre.most_idle = bounds.interactions
        self._calls = calls = CallRules(centre, agents, queues, AreaRules(centre))
        self._handlers: dict[type[EventData], Callable[[Any, int], None]] = {
            events.AgentLogin: agents.login,
            events.AgentLogout: agents.logout,
            events.AgentReady: agents.ready,
            events.AgentNotReady: agents.not_ready,
            events.AgentAfterCallWork: agents.after_call_work,
            events.InteractionQueued: queues.queued,
            events.InteractionDistributed: queues.distributed,
            events.InteractionAbandoned: calls.abandoned,
            events.InteractionRinging: calls.ringing,
            events.InteractionDialing: calls.dialing,
            events.InteractionEstablished: calls.established,
            events.InteractionHeld: calls.held,
            events.InteractionRetrieved: calls.retrieved,
            events.InteractionReleased: calls.released,
            events.InteractionRejected: calls.rejected,
            events.InteractionTransferred: calls.transferred,
            events.InteractionStarted: calls.started,
            events.InteractionFinished: calls.finished,
        }

    def check(self, event: Event, present_ms: int | None) -> None:
        """Refuse an event that is older than the last one of what it is about, unless it is never late.

        An object whose last event lies behind ``present_ms`` (a clock was ahead) says nothing about the order of what comes now.

        Raises:
            LateEventError: it is; the text names the object and both times.
        """
        if event.never_late:
            return
        for what, ordered in self._concerns(event.data):
            if event.time_ms < ordered.last_ms and (present_ms is None or ordered.last_ms <= present_ms):
                raise LateEventError(
                    f"time: expected {_iso(ordered.last_ms)} or later, the time of the last event of {what} {ordered.id}; "
                    f"got {_iso(event.time_ms)}, {ordered.last_ms - event.time_ms} ms earlier"
                )

    def admit(self, event: Event) -> None:
        """Refuse an event that would add more than there may be. What an admitted event adds is counted until :meth:`settle`.

        Raises:
            RefusedEventError: it would; the text names the field, the bound and what is too much.
        """
        self._admission.check(event)

    def settle(self, event: Event) -> None:
        """Say that an admitted event was applied, or will not be."""
        self._admission.settle(event)

    def take(self, event: Event) -> None:
        """Apply an event. Engine time stands at the event's time or later already."""
        data: Any = event.data
        if isinstance(data, events.GroupChanged):
            for _ in self.take_list(event, data):
                pass
            return
        plan = _PLANS[type(data)]
        at_ms = event.time_ms
        if event.arrival or plan.ends:
            for _, ordered in self._concerns(data):
                at_ms = max(at_ms, ordered.last_ms)
        centre = self._centre
        # nearly every event names a medium that is known, as it is written there
        if plan.names_media and data.media is not None and data.media not in centre.media:
            centre.media.update(media_of(data))
        self._handlers[type(data)](data, at_ms)
        if plan.order == "agent":
            agent = centre.agents.get(data.agent_id)
            if agent is not None and agent.last_ms < at_ms:
                agent.last_ms = at_ms
        else:
            for _, ordered in self._concerns(data):
                if ordered.last_ms < at_ms:
                    ordered.last_ms = at_ms
        if plan.names_interaction:
            interaction = centre.known(data.interaction_id)
            if interaction is not None:
                centre.file(interaction)

    def _concerns(self, data: Any) -> Sequence[tuple[str, Agent | Interaction | Group]]:
        """The known objects by which an event is ordered, each with the word for it."""
        found: Agent | Interaction | Group | None
        match _PLANS[type(data)].order:
            case "agent":
                found = self._centre.agents.get(data.agent_id)
                return () if found is None else (("agent", found),)
            case "interaction":
                found = self._centre.known(data.interaction_id)
                return () if found is None else (("interaction", found),)
            case "agents":
                both = (self._centre.agents.get(data.from_agent_id), self._centre.agents.get(data.to_agent_id))
                return [("agent", agent) for agent in both if agent is not None]
            case "abandoned":
                found = self._centre.agents.get(data.agent_id) if data.queue is None else self._centre.known(data.interaction_id)
                return () if found is None else (("interaction" if isinstance(found, Interaction) else "agent", found),)
            case _:
                found = self._centre.groups_of(data.kind).get(data.group_id)
                return () if found is None else (("group", found),)

    def forget(self) -> None:
        """Forget interactions that are over, and finish those that no event named within their lifetime: some at each call."""
        now_ms = self._centre.calendar.now_ms
        if now_ms < self._forget_at_ms:
            return
        self._forget_at_ms = now_ms + IDLE_MS
        idle = self._centre.idle
        for _ in range(_FORGET_AT_ONCE):
            if not idle:
                break
            oldest = next(iter(idle.values()))
            if oldest.touched_ms + IDLE_MS > now_ms:
                self._look_again(oldest.touched_ms + IDLE_MS)
                break
            self._centre.forget_idle(oldest.id)
        else:
            self._look_again(now_ms)
        for some in (self._centre.calls, self._centre.live):
            for _ in range(_FORGET_AT_ONCE):
                if not some:
                    break
                oldest = next(iter(some.values()))
                ends_ms = oldest.touched_ms + self._lifetimes.of(oldest.media)
                if ends_ms > now_ms:
                    self._look_again(ends_ms)
                    break
                self.end(oldest, ends_ms)
            else:
                self._look_again(now_ms)

    def look_again(self) -> None:
        """Look for interactions to forget at the next call, since time was set back."""
        self._forget_at_ms = LONG_AGO_MS

    def _look_again(self, at_ms: int) -> None:
        self._forget_at_ms = min(self._forget_at_ms, at_ms)

    def end(self, interaction: Interaction, at_ms: int) -> None:
        """Finish an interaction without an event, and forget it."""
        self._calls.finish(interaction, at_ms)
        self._centre.live.pop(interaction.id, None)
        self._centre.calls.pop(interaction.id, None)

    def take_list(self, event: Event, data: events.GroupChanged) -> Iterator[None]:
        """Apply ``cx.group.changed``: have a group consist of the members of a list; a piece of the work at each step."""
        if data.group_id == ALL:
            return
        at_ms = event.time_ms
        centre, kind = self._centre, data.kind
        group = centre.group(kind, data.group_id, at_ms)
        if event.arrival:
            at_ms = max(at_ms, group.last_ms)
        wanted = dict.fromkeys(data.members)
        centre.list_members(kind, group, wanted)
        for number, identifier in enumerate(group.members.keys() - wanted.keys(), 1):
            group.leave(group.members[identifier][0], at_ms)
            if number % _MEMBERS_AT_ONCE == 0:
                yield
        for number, identifier in enumerate(wanted, 1):
            if identifier not in group.members:
                member = centre.agent(identifier, at_ms) if kind == "agents" else centre.queue(identifier, at_ms)
                if identifier not in group.members:  # one that was forgotten belongs to it again as soon as it is heard of
                    group.join(member, at_ms)
            if number % _MEMBERS_AT_ONCE == 0:
                yield
        group.last_ms = max(group.last_ms, at_ms)
        group.board.touch()


_ORDER: dict[type[EventData], str] = {
    shape: "agent" if "agent_id" in shape.__struct_fields__ else "interaction" for shape in events.EVENT_TYPES.values()
} | {
    events.InteractionAbandoned: "abandoned",
    events.InteractionTransferred: "agents",
    events.GroupChanged: "group",
}
"""By what an event is ordered: by its agent if it names one, else by its interaction.

``cx.interaction.abandoned`` is ordered by the interaction if it names the queue, and ``cx.interaction.transferred`` by both agents.
"""


class _Plan(NamedTuple):
    """What :meth:`Machine.take` has to know of a type of events."""

    order: str
    ends: bool
    names_media: bool
    names_interaction: bool


_PLANS: dict[type[EventData], _Plan] = {
    shape: _Plan(
        order=order,
        ends=shape in events.ENDS,
        names_media="media" in shape.__struct_fields__,
        names_interaction="interaction_id" in shape.__struct_fields__,
    )
    for shape, order in _ORDER.items()
}


def _iso(at_ms: int) -> str:
    """Milliseconds since 1970 as people write a moment."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
