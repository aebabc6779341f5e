"""What happens to an interaction in a queue: it enters, waits, and leaves in one of several ways, each of which the queue counts."""

from __future__ import annotations

from channels import events
from channels.statistics.engine.centre import Centre, medium_name
from channels.statistics.engine.definition import ACTION
from channels.statistics.engine.objects import Interaction
from channels.statistics.engine.vocabulary import CALL_WAIT


class QueueRules:
    """The events of queues, and the moves that other rules make there; times are milliseconds since 1970."""

    __slots__ = ("_centre",)

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def queued(self, data: events.InteractionQueued, at_ms: int) -> None:
        """Enters a queue, and waits there from now on."""
        interaction = self.reopened(data.interaction_id, data.media)
        if data.user_data:
            self._centre.keep_user_data(interaction, data.user_data)
            for party in interaction.parties.values():
                party.agent.touch()
        self.enter(interaction, data.queue, at_ms)

    def reopened(self, identifier: str, media: str) -> Interaction:
        """The interaction of an id, as a new one if the one before is over or is not known."""
        interaction = self._centre.interaction(identifier, media)
        if interaction is None:
            last_ms = self._centre.idle[identifier].last_ms  # it is over, and keeps no user data any more
            interaction = self._centre.idle[identifier] = Interaction(identifier, medium_name(media))
            interaction.last_ms = last_ms
        return interaction

    def enter(self, interaction: Interaction, queue_id: str, at_ms: int) -> None:
        """Begin to wait in a queue; what waits in another one leaves it for this.

        What waits here already has not left, though it may have rung in vain meanwhile: one entry, one wait.
        """
        queue = self._centre.queue(queue_id, at_ms)
        if interaction.id in queue.waiting:
            return
        if interaction.queue is not None:
            self.leave(interaction, interaction.queue, "CallDistributedToQueue", at_ms)
        interaction.queue = queue_id
        interaction.visits[queue_id] = False
        queue.occur("CallEntered", interaction.media, at_ms)
        queue.waiting[interaction.id] = queue.begin((ACTION, CALL_WAIT, interaction.media), at_ms)

    def leave(self, interaction: Interaction, queue_id: str, action: str, at_ms: int) -> bool:
        """Stop waiting, by an action whose duration is the time waited. False if the interaction does not wait there."""
        queue = self._centre.queues.get(queue_id)
        span = None if queue is None else queue.waiting.pop(interaction.id, None)
        if queue is None or span is None:
            return False
        at_ms = max(at_ms, span.start_ms)
        queue.occur(action, interaction.media, at_ms, queue.end(span, at_ms))
        return True

    def came_through(self, interaction: Interaction, queue_id: str, at_ms: int) -> None:
        """An event says that the interaction came from a queue: it is distributed now, unless it was before.

        If it never was there it enters, and is distributed, now. It waits until somebody answers.
        """
        if queue_id not in interaction.visits:
            self.enter(interaction, queue_id, at_ms)
        elif interaction.visits[queue_id]:
            return
        queue = self._centre.queues.get(queue_id)  # which may be forgotten meanwhile
        span = None if queue is None else queue.waiting.get(interaction.id)
        if queue is not None and span is not None:
            interaction.visits[queue_id] = True
            at_ms = max(at_ms, span.start_ms)
            queue.occur("CallDistributed", interaction.media, at_ms, at_ms // 1000 - span.start_s)

    def distributed(self, data: events.InteractionDistributed, at_ms: int) -> None:
        """Is offered to an agent (CallDistributed), or leaves for another queue (CallDistributedToQueue)."""
        interaction = self._centre.interaction(data.interaction_id, None)
        if interaction is None:
            return
        if data.to_queue is None:
            self.came_through(interaction, data.queue, at_ms)
            return
        if data.queue not in interaction.visits:
            self.enter(interaction, data.queue, at_ms)
        self.enter(interaction, data.to_queue, at_ms)

    def abandoned_queue(self, interaction: Interaction, queue_id: str, rang: bool, at_ms: int) -> None:
        """The caller gave up. CallAbandonedFromRinging for what was distributed and rang, CallAbandoned for all else that waited."""
        if queue_id not in interaction.visits:
            self.enter(interaction, queue_id, at_ms)
        self.leave(interaction, queue_id, "CallAbandonedFromRinging" if rang and interaction.visits[queue_id] else "CallAbandoned", at_ms)

    def answered(self, interaction: Interaction, queue_id: str, at_ms: int) -> None:
        """Somebody answers what came from a queue: the queue counts it once for each time that it entered."""
        self.came_through(interaction, queue_id, at_ms)
        self.leave(interaction, queue_id, "CallAnswered", at_ms)
