"""Starts, changes and stops interactions. Each change of state is written in one transaction with the event that follows from it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import orjson

from channels.interactions import store
from channels.interactions.counters import Counters
from channels.interactions.models import Interaction, Key, KnownInteractionError
from channels.interactions.serializers import FINISHED, STARTED, SUBTYPES, InteractionSerializer
from channels.interactions.state_machine import IllegalActionError, State
from hub.core.ports import Clock
from hub.outbox.models import Recorder
from hub.storage.transactions import Transaction

BY_REST: Final = "rest"
"""Origin of an outbox event whose cause was a REST call: the stat server has not counted it yet."""

BY_EVENTS: Final = "events"
"""Origin of an outbox event whose cause was an ingested event: the stat server has counted that."""

INBOUND_NEW: Final = "InboundNew"


class InteractionService:
    """Its methods run inside transactions. ``live`` has the ids of interactions that are not over, by tenant."""

    __slots__ = ("_clock", "_max_user_data_bytes", "_outbox", "_own_url", "counters", "live")

    def __init__(self, outbox: Recorder, own_url: Callable[[], str], clock: Clock, max_user_data_bytes: int = 32 * 1024) -> None:
        """``own_url``: where the hub is found, for links in what is told of an interaction that no request began or ended.
        ``max_user_data_bytes``: user data of an event that is larger as JSON is left out, and counted.
        """
        self._max_user_data_bytes = max_user_data_bytes
        self._outbox = outbox
        self._own_url = own_url
        self._clock = clock
        self.counters = Counters()
        self.live: dict[str, set[str]] = {}

    def open(
        self,
        transaction: Transaction,
        tenant: str,
        *,
        service: str,
        media: str,
        external_id: str | None,
        parent_id: str | None,
        received_at: str | None,
        user_data: dict[str, Any],
        trace_id: str,
        base_url: str,
    ) -> Interaction:
        """Create an interaction for a REST call. ``base_url`` is the URL by which the caller reaches the hub.

        Raises:
            KnownInteractionError: the service knows the external id already.
        """
        made = Interaction(
            str(uuid.uuid4()),
            service,
            external_id,
            media,
            INBOUND_NEW,
            State.SUBMITTED,
            parent_id,
            received_at,
            user_data,
            self._clock.wall_ms(),
        )
        store.insert(transaction, tenant, made)
        self._tell(transaction, tenant, STARTED, made, BY_REST, base_url, trace_id)
        return made

    def stop(
        self,
        transaction: Transaction,
        tenant: str,
        key: Key,
        service: str | None,
        *,
        reason_name: str,
        reason_text: str,
        trace_id: str,
        base_url: str,
    ) -> Interaction:
        """Stop an interaction for a REST call. ``base_url`` is the URL by which the caller reaches the hub. One that is over already stays
        as it is, with its reason, and no event is recorded.

        Raises:
            UnknownInteractionError: there is none.
        """
        try:
            stopped = store.stop(
                transaction, tenant, key, service, now_ms=self._clock.wall_ms(), reason_name=reason_name, reason_text=reason_text
            )
        except IllegalActionError:
            return store.find(transaction, tenant, key, service)
        self._tell(transaction, tenant, FINISHED, stopped, BY_REST, base_url, trace_id)
        return stopped

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
            self._tell(transaction, tenant, STARTED, made, BY_EVENTS, self._own_url())
        else:
            transaction.after_commit(self._count("ignored_started"))

    def finished(self, transaction: Transaction, tenant: str, identifier: str, media: str, subtype: str, reason: str, at_ms: int) -> None:
        """Record the end of an interaction by an ingested event. One that was not known before is stored as finished, and its end is
        told.
        """
        made = Interaction(identifier, "", None, media, subtype, State.STOPPED, None, None, {}, at_ms, at_ms, "", reason)
        if store.insert(transaction, tenant, made):
            transaction.after_commit(self._count("finished_unknown"))
            self._tell(transaction, tenant, FINISHED, made, BY_EVENTS, self._own_url())
            return
        found = store.find(transaction, tenant, Key(identifier))
        if found.state is State.STOPPED:
            transaction.after_commit(self._count("ignored_finished"))
            return
        stopped = store.stop(transaction, tenant, Key(identifier), None, now_ms=at_ms, reason_name="", reason_text=reason)
        self._tell(transaction, tenant, FINISHED, stopped, BY_EVENTS, self._own_url())

    def _tell(
        self,
        transaction: Transaction,
        tenant: str,
        event_type: str,
        interaction: Interaction,
        origin: str,
        base_url: str,
        trace_id: str = "",
    ) -> None:
        operation_id = str(uuid.uuid4())
        self._outbox.add(
            transaction,
            tenant=tenant,
            type=event_type,
            key=interaction.id,
            media=interaction.media,
            body=InteractionSerializer(base_url).body(event_type, interaction, operation_id),
            operation_id=operation_id,
            trace_id=trace_id,
            origin=origin,
        )
        transaction.after_commit(lambda: self._note(tenant, event_type, interaction.id))
        if interaction.subtype not in SUBTYPES:
            transaction.after_commit(self._count("subtypes_left_out"))

    def _note(self, tenant: str, event_type: str, identifier: str) -> None:
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
