"""What events of agents mean: who is logged in on which media, and ready, not ready, or in after-call work there."""

from __future__ import annotations

from channels import events
from channels.events import VOICE
from channels.statistics.engine.centre import Centre
from channels.statistics.engine.definition import ACTION
from channels.statistics.engine.objects import Agent, Medium, Party, Wrap
from channels.statistics.engine.vocabulary import (
    AFTER_CALL_WORK,
    CALL_CONSULT,
    LOGGED_IN,
    LOGGED_OUT,
    NOT_READY,
    WAIT_FOR_NEXT_CALL,
    WRAPPED,
)


class AgentRules:
    """One method for each event of an agent; times are milliseconds since 1970."""

    __slots__ = ("_centre", "_max_places")

    def __init__(self, centre: Centre, max_places: int) -> None:
        self._centre = centre
        self._max_places = max_places

    def login(self, data: events.AgentLogin, at_ms: int) -> None:
        """Logged in, not ready, on each medium that the agent is not logged in on yet at this place; joins the groups that are named."""
        agent = self._centre.agent(data.agent_id, at_ms)
        for group_id in data.groups or ():
            group = self._centre.group("agents", group_id, at_ms)
            if agent.id not in group.members:
                group.join(agent, at_ms)
                group.guests.add(agent.id)
        at_ms = agent.at(at_ms)
        agent.place = data.place_id or agent.place
        for name in data.media:
            medium = self._medium_at(agent, name.lower(), data.place_id, at_ms)
            medium.dn = data.dn or medium.dn
            if medium.login is None:
                self.log_in(agent, medium, NOT_READY, at_ms)
                agent.settle(medium, at_ms)
        agent.touch()

    def medium(self, agent: Agent, name: str) -> Medium:
        """The agent's medium of a name, of two the one with the later login; the caller logs the agent in on a new one."""
        medium = agent.media.get(name)
        if len(agent.media) > 1:
            medium = next((m for m in reversed(agent.media.values()) if m.name == name and m.login is not None), medium)
        if medium is None:
            medium = agent.media[name] = Medium(name, agent.place)
        return medium

    def _medium_at(self, agent: Agent, name: str, place: str | None, at_ms: int) -> Medium:
        """The agent's medium of a name at a place, which may be a second one beside that of another place.

        At more places than there may be, the oldest login is over: its logout was lost.
        """
        there = [medium for medium in agent.media.values() if medium.name == name]
        for medium in there:
            if medium.login is None or None in (place, medium.place) or medium.place == place:
                medium.place = place or medium.place
                return medium
        if len(there) >= self._max_places:
            self._log_out(agent, there[0], at_ms)
        key, number = name, 1
        while key in agent.media:
            number += 1
            key = f"{name} {number}"
        medium = agent.media[key] = Medium(name, agent.place, key)
        return medium

    def log_in(self, agent: Agent, medium: Medium, mode: str, at_ms: int) -> None:
        """An agent's work on a medium begins, in a mode: WaitForNextCall, NotReadyForNextCall or AfterCallWork.

        The caller settles the medium, once all that one event says is done: a status that shows only between two parts of one event would
        cut the one that goes on before and after it in two.
        """
        if agent.logged_out is not None:
            agent.end(agent.logged_out, at_ms)
            agent.logged_out = None
        medium.login = agent.begin((ACTION, LOGGED_IN, medium.name), at_ms)
        medium.mode = mode
        medium.reason = None
        agent.occur("AgentLogin", medium.name, at_ms)

    def logout(self, data: events.AgentLogout, at_ms: int) -> None:
        """Logged out of one medium, or of all; calls go on until they are released."""
        agent = self._centre.agent(data.agent_id, at_ms)
        at_ms = agent.at(at_ms)
        for medium in list(agent.media.values()):
            if medium.login is None or (data.media is not None and medium.name != data.media.lower()):
                continue
            self._log_out(agent, medium, at_ms)

    def lose(self, agent: Agent, at_ms: int) -> None:
        """The agent's logouts were lost: it is logged out everywhere."""
        at_ms = agent.at(at_ms)
        for medium in list(agent.media.values()):
            if medium.login is not None:
                self._log_out(agent, medium, at_ms)

    def _log_out(self, agent: Agent, medium: Medium, at_ms: int) -> None:
        """An agent's work on a medium at a place is over."""
        assert medium.login is not None, "who logs out is logged in"
        self._end_wrap(agent, medium, at_ms)
        agent.end(medium.login, at_ms)
        medium.login = medium.handled_ms = None
        medium.reason = None
        if agent.last_released is not None and agent.last_released[1] == medium.name:
            agent.last_released = None
        agent.occur("AgentLogout", medium.name, at_ms)
        if agent.logged_out is None and all(m.login is None for m in agent.media.values()):
            agent.logged_out = agent.begin((ACTION, LOGGED_OUT, ""), at_ms)
        agent.settle(medium, at_ms)
        self.drop_medium(agent, medium)

    def drop_medium(self, agent: Agent, medium: Medium) -> None:
        """A medium on which nothing goes on any more is forgotten."""
        if medium.login is None and not medium.parties:
            del agent.media[medium.key]

    def ready(self, data: events.AgentReady, at_ms: int) -> None:
        """Waits for the next interaction on one medium, or on all that the agent is logged in on."""
        self._set_mode(data.agent_id, data.media, WAIT_FOR_NEXT_CALL, None, at_ms)

    def not_ready(self, data: events.AgentNotReady, at_ms: int) -> None:
        """Takes no interactions on one medium, or on all that the agent is logged in on; a new reason alone begins nothing anew."""
        self._set_mode(data.agent_id, data.media, NOT_READY, data.reason, at_ms)

    def _set_mode(self, agent_id: str, media: str | None, mode: str, reason: str | None, at_ms: int) -> None:
        agent = self._centre.agent(agent_id, at_ms)
        at_ms = agent.at(at_ms)
        wanted = None if media is None else media.lower()
        chosen = [m for m in agent.media.values() if m.login is not None and wanted in (None, m.name)]
        for medium in chosen or [self.medium(agent, wanted or VOICE)]:
            if medium.login is None:
                self.log_in(agent, medium, mode, at_ms)
            else:
                self._end_wrap(agent, medium, at_ms)
                medium.mode = mode
            medium.reason = reason
            agent.settle(medium, at_ms)

    def after_call_work(self, data: events.AgentAfterCallWork, at_ms: int) -> None:
        """Does the paperwork of an interaction, on its medium; without one, on that of the call that ended last."""
        agent = self._centre.agent(data.agent_id, at_ms)
        at_ms = agent.at(at_ms)
        interaction = None if data.interaction_id is None else self._centre.known(data.interaction_id)
        last = agent.last_released
        if data.media is not None:
            name = data.media.lower()
        elif interaction is not None:
            name = interaction.media
        elif last is not None:
            name = last[1]
        else:
            name = next(
                (m.name for m in agent.media.values() if m.login is not None and (m.name == VOICE or VOICE not in agent.media)), VOICE
            )
        medium = self._medium_of_work(agent, name)
        if medium.login is None:
            self.log_in(agent, medium, AFTER_CALL_WORK, at_ms)
        elif medium.mode == AFTER_CALL_WORK:
            if medium.wrap is not None and medium.handled_ms is not None and medium.handled_ms > medium.wrap.ended_ms:
                self.end_wrap_of_call(agent, medium, at_ms)  # the work of the next call begins
                medium.wrap = Wrap(medium.handled_ms, at_ms)
            return
        if medium.handled_ms is not None and not self._early(medium, data.interaction_id):
            medium.wrap = Wrap(medium.handled_ms, at_ms)
        medium.mode = AFTER_CALL_WORK
        medium.reason = None
        if last is not None and last[1] == name and data.interaction_id in (None, last[0]):
            medium.wrap_queue = last[2]
        elif interaction is not None:
            medium.wrap_queue = interaction.queue
        agent.settle(medium, at_ms)

    def _medium_of_work(self, agent: Agent, name: str) -> Medium:
        """The medium of a name on which after-call work is done: of two, the one where a call ended last."""
        if len(agent.media) > 1:
            handled = [m for m in agent.media.values() if m.name == name and m.handled_ms is not None and m.login is not None]
            if handled:
                return max(handled, key=lambda m: m.handled_ms or 0)
        return self.medium(agent, name)

    @staticmethod
    def _early(medium: Medium, interaction_id: str | None) -> bool:
        """Whether after-call work is announced for a call that goes on still: the one that is named, else one that began after the last."""
        if interaction_id is not None:
            return interaction_id in medium.parties
        handled_ms = medium.handled_ms or 0
        return any(p.customer_ms is not None and p.customer_ms >= handled_ms for p in medium.parties.values())

    def _end_wrap(self, agent: Agent, medium: Medium, at_ms: int) -> None:
        """End after-call work: count it for its call, and for the queue that the interaction came from."""
        self.end_wrap_of_call(agent, medium, at_ms)
        queue_id, medium.wrap_queue = medium.wrap_queue, None
        span = medium.mode_span
        if queue_id is not None and span is not None and span.name == AFTER_CALL_WORK:
            self._centre.queue(queue_id, at_ms).occur("ACWCompleted", medium.name, at_ms, at_ms // 1000 - span.start_s)

    def end_wrap_of_call(self, agent: Agent, medium: Medium, at_ms: int) -> None:
        """The after-call work that follows a customer's call is over."""
        wrap, medium.wrap = medium.wrap, None
        if wrap is not None:
            wrap.pause(at_ms)
            agent.follow(WRAPPED, medium.name, wrap.ended_ms, at_ms, wrap.done_s)

    def talks(self, party: Party, at_ms: int) -> None:
        """A call is established: after-call work waits for its end, unless it is a consultation, which is about some call already."""
        wrap = party.medium.wrap
        if wrap is not None and not party.interrupts and party.span.name != CALL_CONSULT:
            party.interrupts = True
            wrap.pause(at_ms)

    def talked(self, party: Party, at_ms: int) -> None:
        """A call has ended, and its party is gone from the medium: after-call work begins with it, or goes on."""
        medium = party.medium
        if party.customer_ms is not None:
            medium.handled_ms = at_ms
            if medium.wrap is None and medium.mode == AFTER_CALL_WORK and medium.login is not None:
                medium.wrap = Wrap(at_ms, at_ms)
        elif party.span.name != CALL_CONSULT:
            medium.handled_ms = None
        wrap = medium.wrap
        if party.interrupts and wrap is not None and wrap.since_ms is None and not any(p.interrupts for p in medium.parties.values()):
            wrap.since_ms = at_ms
