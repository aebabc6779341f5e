"""Starts, changes and stops interactions. Each change of state is written in one transaction with the event that follows from it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import orjson

from channels.events import InteractionListener
from channels.interactions import store
from channels.interactions.counters import Counters
from channels.interactions.errors import KnownInteractionError
from channels.interactions.models import Cause, Interaction, Key
from channels.interactions.schemas import Create, Stop
from channels.interactions.serializers import FINISHED, STARTED, SUBTYPES, webhook_body
from channels.interactions.state_machine import IllegalActionError, State
from hub.core.ports import Clock
from hub.outbox.models import Recorder
from hub.storage.transactions import Transaction

BY_REST: Final = "rest"
"""Origin of an outbox event whose cause was a REST call: the stat server has not counted it yet."""

BY_EVENTS: Final = "events"
"""Origin of an outbox event whose cause was an ingested event: the stat server has counted that."""

INBOUND_NEW: Final = "InboundNew"
"""The subtype of an interaction for which nobody gave one."""


class InteractionService:
    """Starts, changes and stops the interactions of all tenants. Its methods run inside transactions.

    ``live`` has the ids of interactions that are not over, by tenant.
    """

    __slots__ = ("_clock", "_find_listeners", "_max_user_data_bytes", "_outbox", "_own_url", "counters", "live")

    def __init__(
        self,
        outbox: Recorder,
        own_url: Callable[[], str],
        clock: Clock,
        max_user_data_bytes: int = 32 * 1024,
        *,
        listeners: Callable[[], Iterable[InteractionListener]] = tuple,
    ) -> None:
        """``own_url`` yields the URL of the hub for links to interactions that no REST call started or stopped. Of an event, user data of
        more than ``max_user_data_bytes`` as JSON is left out, and counted. ``listeners`` yields those
        who are told that interactions finish; it is called when one does, since not all families are built before.
        """
        self._find_listeners = listeners
        self._max_user_data_bytes = max_user_data_bytes
        self._outbox = outbox
        self._own_url = own_url
        self._clock = clock
        self.counters = Counters()
        self.live: dict[str, set[str]] = {}

    # -- by REST ----------------------------------------------------------------------------------------------------------

    def open(self, transaction: Transaction, tenant: str, service: str, media: str, wanted: Create, cause: Cause) -> Interaction:
        """Create an interaction of an open media service.

        Raises:
            KnownInteractionError: the service has an interaction of this external id.
        """
        made = Interaction(
            id=str(uuid.uuid4()),
            service=service,
            external_id=wanted.external_id,
            media=media,
            subtype=INBOUND_NEW,
            state=State.SUBMITTED,
            parent_id=wanted.parent_interaction_id,
            received_at=wanted.received_at,
            user_data=wanted.user_data,
            created_ms=self._clock.wall_ms(),
        )
        store.insert(transaction, tenant, made)
        self._record(transaction, tenant, STARTED, made, cause)
        return made

    def stop(self, transaction: Transaction, tenant: str, key: Key, service: str, reason: Stop, cause: Cause) -> Interaction:
        """Stop an interaction of an open media service. One that is over already keeps its reason, and no event is recorded.

        Raises:
            UnknownInteractionError: there is none of this key.
        """
        try:
            stopped = store.stop(
                transaction,
                tenant,
                key,
                service,
                now_ms=self._clock.wall_ms(),
                reason_name=reason.reason_system_name,
                reason_text=reason.reason_description,
            )
        except IllegalActionError:
            return store.find(transaction, tenant, key, service)
        self._record(transaction, tenant, FINISHED, stopped, cause)
        return stopped

    # -- by ingested events -----------------------------------------------------------------------------------------------

    def started(
        self,
        transaction: Transaction,
        tenant: str,
        identifier: str,
        media: str,
        subtype: str,
        at_ms: int,
        *,
        external_id: str | None,
        user_data: dict[str, Any],
    ) -> None:
        """Record the start of an interaction by an ingested event. An external id that another interaction has already is left out."""
        if user_data and len(orjson.dumps(user_data)) > self._max_user_data_bytes:
            transaction.after_commit(self._count("user_data_left_out"))
            user_data = {}
        made = Interaction(identifier, "", external_id, media, subtype, State.SUBMITTED, None, None, user_data, at_ms)
        try:
            new = store.insert(transaction, tenant, made)
        except KnownInteractionError:
            new = store.insert(transaction, tenant, replace(made, external_id=None))
        if new:
            self._record(transaction, tenant, STARTED, made, self._by_events())
        else:
            transaction.after_commit(self._count("ignored_started"))

    def finished(self, transaction: Transaction, tenant: str, identifier: str, media: str, subtype: str, reason: str, at_ms: int) -> None:
        """Record the end of an interaction by an ingested event. An interaction that is not known is stored as one that is over."""
        made = Interaction(identifier, "", None, media, subtype, State.STOPPED, None, None, {}, at_ms, at_ms, "", reason)
        if store.insert(transaction, tenant, made):
            transaction.after_commit(self._count("finished_unknown"))
            self._record(transaction, tenant, FINISHED, made, self._by_events())
            return
        found = store.find(transaction, tenant, Key(identifier))
        if found.state is State.STOPPED:
            transaction.after_commit(self._count("ignored_finished"))
            return
        stopped = store.stop(transaction, tenant, Key(identifier), None, now_ms=at_ms, reason_name="", reason_text=reason)
        self._record(transaction, tenant, FINISHED, stopped, self._by_events())

    # -- for other families -----------------------------------------------------------------------------------------------

    def is_over(self, transaction: Transaction, tenant: str, identifier: str) -> bool | None:
        """See :class:`channels.events.InteractionLookup`."""
        state = store.lock_state(transaction, tenant, identifier)
        return None if state is None else state is State.STOPPED

    # -- both -------------------------------------------------------------------------------------------------------------

    def _by_events(self) -> Cause:
        return Cause(BY_EVENTS, self._own_url())

    def _record(self, transaction: Transaction, tenant: str, event_type: str, interaction: Interaction, cause: Cause) -> None:
        """Record the outbox event of a start or an end; of an end, tell the listeners."""
        if event_type == FINISHED:
            for listener in self._find_listeners():
                listener.interaction_finished(transaction, tenant, interaction.id)
        operation_id = str(uuid.uuid4())
        self._outbox.add(
            transaction,
            tenant=tenant,
            type=event_type,
            key=interaction.id,
            media=interaction.media,
            body=webhook_body(event_type, interaction, operation_id, cause.base_url),
            operation_id=operation_id,
            trace_id=cause.trace_id,
            origin=cause.origin,
        )
        transaction.after_commit(lambda: self._committed(tenant, event_type, interaction.id))
        if interaction.subtype not in SUBTYPES:
            transaction.after_commit(self._count("subtypes_left_out"))

    def _committed(self, tenant: str, event_type: str, identifier: str) -> None:
        if event_type == STARTED:
            self.counters.started += 1
            self.live.setdefault(tenant, set()).add(identifier)
        else:
            self.counters.finished += 1
            self.live.get(tenant, set()).discard(identifier)

    def _count(self, name: str) -> Callable[[], None]:
        def count() -> None:
            setattr(self.counters, name, getattr(self.counters, name) + 1)

        return count
