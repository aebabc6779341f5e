"""What agents do with interactions: they ring, are answered, held, transferred, released. Media other than voice use the same names."""

from __future__ import annotations

from channels import events
from channels.statistics.engine.agent_rules import AgentRules
from channels.statistics.engine.area_rules import AreaRules
from channels.statistics.engine.centre import Centre, medium_name
from channels.statistics.engine.definition import ACTION
from channels.statistics.engine.objects import Agent, Interaction, Party
from channels.statistics.engine.queue_rules import QueueRules
from channels.statistics.engine.vocabulary import (
    CALL_ACTIONS,
    CALL_DIALING,
    CALL_ON_HOLD,
    CALL_RINGING,
    CALL_UNKNOWN,
    CALLS,
    CUSTOMER_CALLS,
    HANDLED,
    WAIT_FOR_NEXT_CALL,
)


class CallRules:
    """One method for each event of an interaction in which agents take part; times are milliseconds since 1970."""

    __slots__ = ("_agents", "_areas", "_centre", "_queues")

    def __init__(self, centre: Centre, agents: AgentRules, queues: QueueRules, areas: AreaRules) -> None:
        self._centre = centre
        self._agents = agents
        self._queues = queues
        self._areas = areas

    def _party(self, interaction: Interaction, agent: Agent, media: str | None, action: str, at_ms: int) -> Party:
        """An agent's part begins. An agent who never logged in on the medium is logged in by it, and ready."""
        medium = self._agents.medium(agent, medium_name(media or interaction.media))
        if medium.login is None:
            self._agents.log_in(agent, medium, WAIT_FOR_NEXT_CALL, at_ms)
        span = agent.begin((ACTION, action, medium.name), at_ms)
        party = Party(agent, medium, interaction, interaction.queue, span)
        interaction.parties[agent.id] = medium.parties[interaction.id] = party
        if action in CALL_ACTIONS:
            self._talks(party, at_ms)
        self._areas.distributed(interaction, at_ms)
        return party

    def _talks(self, party: Party, at_ms: int) -> None:
        """A call is established, or is of another type from now on."""
        if party.customer_ms is None and party.span.key[1] in CUSTOMER_CALLS:
            party.customer_ms = at_ms
        if party.medium.wrap is not None:
            self._agents.talks(party, at_ms)

    def ringing(self, data: events.InteractionRinging, at_ms: int) -> None:
        """Rings at an agent; a queue that is named is where it came from."""
        agent = self._centre.agent(data.agent_id, at_ms)
        interaction = self._centre.interaction(data.interaction_id, data.media)
        if interaction is None or agent.id in interaction.parties:
            return
        if data.queue is not None:
            self._queues.came_through(interaction, data.queue, at_ms)
        at_ms = agent.at(at_ms)
        party = self._party(interaction, agent, data.media, CALL_RINGING, at_ms)
        party.queue = data.queue or party.queue
        agent.occur("CallRingingStarted", party.medium.name, at_ms)
        agent.settle(party.medium, at_ms)

    def dialing(self, data: events.InteractionDialing, at_ms: int) -> None:
        """An agent dials."""
        agent = self._centre.agent(data.agent_id, at_ms)
        interaction = self._centre.interaction(data.interaction_id, data.media)
        if interaction is None or agent.id in interaction.parties:
            return
        at_ms = agent.at(at_ms)
        party = self._party(interaction, agent, data.media, CALL_DIALING, at_ms)
        party.queue = data.queue or party.queue
        agent.occur("CallDialingStarted", party.medium.name, at_ms)
        agent.settle(party.medium, at_ms)

    def established(self, data: events.InteractionEstablished, at_ms: int) -> None:
        """Agent and customer talk; what came from a queue is answered."""
        agent = self._centre.agent(data.agent_id, at_ms)
        interaction = self._centre.interaction(data.interaction_id, data.media)
        if interaction is None:
            return
        action = CALLS[data.call_type]
        party = interaction.parties.get(agent.id)
        queue_id = data.queue or (interaction.queue if party is None else party.queue)
        if queue_id is not None and (queue_id in interaction.visits or data.call_type == "inbound"):
            self._queues.answered(interaction, queue_id, at_ms)
        at_ms = agent.at(at_ms)
        if party is None:
            party = self._party(interaction, agent, data.media, action, at_ms)
        elif party.span.name == action:
            return
        else:
            self._change(party, action, at_ms)
        party.queue = queue_id
        agent.occur(f"{action}Started", party.medium.name, at_ms)
        agent.settle(party.medium, at_ms)

    def _change(self, party: Party, action: str, at_ms: int) -> None:
        """Ringing, dialing or talking turns into talking."""
        agent, medium = party.agent, party.medium
        dialed = party.span.name == CALL_DIALING
        was_talking = party.talking
        duration = agent.end(party.span, at_ms)
        if was_talking:
            agent.occur(f"{party.span.name}Completed", medium.name, at_ms, duration)
        if dialed:
            agent.occur("CallDialed", medium.name, at_ms, duration)
        party.span = agent.begin((ACTION, action, medium.name), at_ms)
        self._talks(party, at_ms)

    def _talking(self, interaction_id: str, agent_id: str, at_ms: int) -> Party | None:
        """The established part that an event speaks of; one whose beginning was never heard of is a CallUnknown from now on.

        What waited in a queue till then was answered unheard.
        """
        agent = self._centre.agent(agent_id, at_ms)
        interaction = self._centre.interaction(interaction_id, None)
        if interaction is None:
            return None
        party = interaction.parties.get(agent.id)
        if party is not None and party.talking:
            return party
        self._answered_unheard(interaction, at_ms)
        at_ms = agent.at(at_ms)
        if party is None:
            party = self._party(interaction, agent, None, CALL_UNKNOWN, at_ms)
        else:
            self._change(party, CALL_UNKNOWN, at_ms)
        agent.occur(f"{CALL_UNKNOWN}Started", party.medium.name, at_ms)
        return party

    def _answered_unheard(self, interaction: Interaction, at_ms: int) -> None:
        """An agent talks with a caller who waited, as far as was heard: the call was answered."""
        if interaction.queue is not None:
            self._queues.answered(interaction, interaction.queue, at_ms)

    def held(self, data: events.InteractionHeld, at_ms: int) -> None:
        """Put on hold."""
        party = self._talking(data.interaction_id, data.agent_id, at_ms)
        if party is not None and party.hold is None:
            agent = party.agent
            at_ms = agent.at(at_ms)
            party.hold = agent.begin((ACTION, CALL_ON_HOLD, party.medium.name), at_ms)
            agent.occur("CallHeld", party.medium.name, at_ms)
            agent.settle(party.medium, at_ms)

    def retrieved(self, data: events.InteractionRetrieved, at_ms: int) -> None:
        """Taken back from hold."""
        party = self._talking(data.interaction_id, data.agent_id, at_ms)
        if party is None:
            return
        agent = party.agent
        at_ms = agent.at(at_ms)
        if party.hold is not None:
            duration = agent.end(party.hold, at_ms)
            party.hold = None
            agent.occur("CallRetrievedFromHold", party.medium.name, at_ms, duration)
        agent.settle(party.medium, at_ms)

    def released(self, data: events.InteractionReleased, at_ms: int) -> None:
        """An agent's part ends."""
        agent = self._centre.agent(data.agent_id, at_ms)
        interaction = self._centre.known(data.interaction_id)
        party = None if interaction is None else interaction.parties.get(agent.id)
        if party is not None:
            self.release(party, at_ms)

    def release(self, party: Party, at_ms: int, *, transferred: bool = False) -> None:
        """An agent's part ends, whatever it was."""
        agent, medium, interaction = party.agent, party.medium, party.interaction
        at_ms = agent.at(at_ms)
        talked, dialing = party.talking, party.span.name == CALL_DIALING
        if party.hold is not None:
            agent.end(party.hold, at_ms)
        duration = agent.end(party.span, at_ms)
        if talked:
            agent.occur(f"{party.span.name}Completed", medium.name, at_ms, duration)
            agent.last_released = (interaction.id, medium.name, party.queue)
            if party.customer_ms is not None:
                agent.complete(HANDLED, medium.name, party.customer_ms, at_ms)
            if not transferred:
                agent.occur("CallReleased", medium.name, at_ms, duration)
                if party.queue is not None:
                    self._centre.queue(party.queue, at_ms).occur("CallReleased", interaction.media, at_ms, duration)
        elif dialing:
            agent.occur("CallAbandonedFromDialing", medium.name, at_ms, duration)
        self._part(party, at_ms)

    def _part(self, party: Party, at_ms: int) -> None:
        del party.interaction.parties[party.agent.id]
        del party.medium.parties[party.interaction.id]
        if party.talking:
            self._agents.talked(party, at_ms)
        party.agent.settle(party.medium, at_ms)
        self._agents.drop_medium(party.agent, party.medium)

    def _stop_ringing(self, party: Party, action: str, at_ms: int, *, tell_queue: bool) -> None:
        """It rings no more, and was not answered."""
        agent, medium = party.agent, party.medium
        at_ms = agent.at(at_ms)
        duration = agent.end(party.span, at_ms)
        agent.occur(action, medium.name, at_ms, duration)
        if tell_queue and party.queue is not None:
            self._centre.queue(party.queue, at_ms).occur(action, party.interaction.media, at_ms, duration)
        self._part(party, at_ms)

    def rejected(self, data: events.InteractionRejected, at_ms: int) -> None:
        """It rang in vain: CallMissed when it rang out, CallForwarded when the agent refused it. Nothing where nothing rings."""
        agent = self._centre.agent(data.agent_id, at_ms)
        interaction = self._centre.interaction(data.interaction_id, None)
        party = None if interaction is None else interaction.parties.get(agent.id)
        if party is not None and party.span.name == CALL_RINGING:
            self._stop_ringing(party, "CallMissed" if data.reason == "missed" else "CallForwarded", at_ms, tell_queue=True)

    def transferred(self, data: events.InteractionTransferred, at_ms: int) -> None:
        """The call of one agent becomes that of another, and stays of the type that it was."""
        giver, taker = self._centre.agent(data.from_agent_id, at_ms), self._centre.agent(data.to_agent_id, at_ms)
        interaction = self._centre.interaction(data.interaction_id, None)
        if interaction is None:
            return
        given = interaction.parties.get(giver.id)
        taken = interaction.parties.get(taker.id)
        if given is None and (giver is taker or (taken is not None and taken.giver == giver.id)):
            return  # it was heard before
        action = given.span.name if given is not None and given.talking else CALL_UNKNOWN
        media = interaction.media if given is None else given.medium.name
        queue_id = interaction.queue if given is None else given.queue
        giver.occur("CallTransferMade", media, giver.at(at_ms))
        if given is not None:
            self.release(given, at_ms, transferred=True)
        if giver is taker:
            return
        if taken is None or taken.talking:
            self._answered_unheard(interaction, at_ms)
        at_ms = taker.at(at_ms)
        taker.occur("CallTransferTaken", media, at_ms)
        if taken is None:
            taken = self._party(interaction, taker, media, action, at_ms)
            taken.queue = queue_id
            taker.occur(f"{action}Started", taken.medium.name, at_ms)
        elif taken.talking and taken.span.name != action:
            self._change(taken, action, at_ms)
            taken.queue = queue_id
            taker.occur(f"{action}Started", taken.medium.name, at_ms)
        taken.giver = giver.id
        taker.settle(taken.medium, at_ms)

    def abandoned(self, data: events.InteractionAbandoned, at_ms: int) -> None:
        """The caller gave up, in a queue or while it rang: whatever rings or waits ends. Nobody missed a call that did not ring."""
        interaction = self._centre.interaction(data.interaction_id, None)
        if interaction is None:
            return
        ringing = [p for p in interaction.parties.values() if p.span.name == CALL_RINGING and data.agent_id in (None, p.agent.id)]
        queue_id = data.queue or next((p.queue for p in ringing), interaction.queue)
        if data.agent_id is not None:
            self._centre.agent(data.agent_id, at_ms)
        if queue_id is not None:
            self._queues.abandoned_queue(interaction, queue_id, bool(ringing), at_ms)
        if interaction.queue not in (None, queue_id):
            self._queues.leave(interaction, interaction.queue, "CallAbandoned", at_ms)
        for party in ringing:
            self._stop_ringing(party, "CallAbandonedFromRinging", at_ms, tell_queue=False)

    def started(self, data: events.InteractionStarted, at_ms: int) -> None:
        """Start an interaction: it enters the staging area of its medium."""
        self._areas.enter(self._queues.reopened(data.interaction_id, data.media), data.media, at_ms)

    def finished(self, data: events.InteractionFinished, at_ms: int) -> None:
        """An interaction is over for everybody."""
        interaction = self._centre.interaction(data.interaction_id, data.media)
        if interaction is not None:
            self._areas.enter(interaction, data.media, at_ms)
            self.finish(interaction, at_ms)

    def finish(self, interaction: Interaction, at_ms: int) -> None:
        """Everything that goes on in an interaction ends."""
        if interaction.queue is not None:
            self._queues.leave(interaction, interaction.queue, "CallCleared", at_ms)
        for party in list(interaction.parties.values()):
            self.release(party, at_ms)
        self._areas.deleted(interaction, at_ms)
        interaction.finished = True
        self._centre.drop_user_data(interaction)
