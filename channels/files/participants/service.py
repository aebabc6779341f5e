"""Lets participants into chats and out of them: a chat begins with its first participant, and ends when its last customer leaves."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from channels.events import InteractionLookup
from channels.files.participants import store_chats
from channels.files.participants.counters import ChatCounters
from channels.files.participants.errors import (
    AccessDeniedError,
    ChatEndedError,
    ClientTokenOfThePastError,
    TokenUsedError,
    TooManyError,
    UnknownParticipantError,
)
from channels.files.participants.journal import Journal
from channels.files.participants.models import JOINED, LEFT, TEXT_TYPES, Chat, Kind, NewItem, Participant, Role
from channels.files.settings import FilesSettings
from hub.audit.log import AuditLog
from hub.audit.models import HUB, Actor, Entry, Event
from hub.core.ports import Clock
from hub.security.queries import begin_change
from hub.storage.transactions import Transaction, Transactions

BY_LEAVING: Final = "left"
BY_SILENCE: Final = "idle"
BY_TIME: Final = "expired"
"""Why chats end; what the FINISHED of the interaction says."""

ENDED_AT_ONCE: Final = 100

MARK_DIGITS: Final = 24
"""Digits of the digest by which a token names its credential."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a chat that begins is."""

    content_types: tuple[str, ...] = TEXT_TYPES
    """Content types that its messages may have."""
    lasts_min: int | None = None
    """Minutes after which it ends, whatever is said; None: ``files.chat_idle_hours`` counts."""
    message: tuple[str, str] | None = None
    """Content type and content of what its first participant says at once."""


@dataclass(frozen=True, slots=True)
class NewParticipant:
    """Somebody who is to be let into a chat."""

    tenant: str
    contact: str | None
    """The id of the interaction; None: a new one begins."""
    role: Role
    display_name: str
    created_by: str
    """The subject of the credential of whoever lets them in."""
    user_data: Mapping[str, Any] = field(default_factory=dict)
    """Of the interaction, if it begins."""
    credential: str = ""
    """See :meth:`channels.files.participants.admitters.Admitters.mark`."""
    client_token: str | None = None
    """The same token of the same caller and ``call`` within the life of the chat means the same participant."""
    call: str = ""
    """The call that the token is of, if it is not the hub's own one."""
    fields: str = ""
    """The digest of what must be the same where the token is. With it one who has left is known, too: whoever makes the call again is
    answered as before.
    """
    opening: Opening = Opening()
    address: str = ""
    """The address of the caller, for the audit log."""
    alone: bool = False
    """The caller may be in chats that are there, once in each, but open none."""


def digest(*parts: str) -> str:
    """The SHA-256 of some texts, in hexadecimal digits: what tokens of calls are stored as."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class ChatService:
    """The chats of all tenants and who is in them."""

    __slots__ = ("_audit", "_clock", "_counters", "_find_interactions", "_journal", "_settings", "_transactions")

    def __init__(
        self,
        transactions: Transactions,
        journal: Journal,
        clock: Clock,
        settings: FilesSettings,
        counters: ChatCounters,
        find_interactions: Callable[[], InteractionLookup | None],
        audit: AuditLog,
    ) -> None:
        """``find_interactions`` is called when a chat begins, since not all families are built before."""
        self._audit = audit
        self._find_interactions = find_interactions
        self._transactions = transactions
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._counters = counters

    async def admit(self, wanted: NewParticipant) -> Participant:
        """Let somebody into a chat, which begins if it is new. Where its interaction is not there yet, that begins too: STARTED.

        Raises:
            AccessDeniedError: there is no such chat, and the caller may open none.
            ChatEndedError: the chat, or its interaction, is over.
            TokenUsedError: the token let somebody else in before.
            ClientTokenOfThePastError: whom it let in has left.
            TooManyError: the tenant has as many chats, or the chat as many participants, as it may.
            StorageError: the database cannot be written.
        """
        try:
            return await self._transactions.write(lambda tx: self._admit(tx, wanted))
        except TooManyError:
            self._counters.refused_bounds += 1
            raise

    def _admit(self, tx: Transaction, wanted: NewParticipant) -> Participant:
        begin_change(tx)  # before any other lock: the audit log wants it
        now_ms = self._clock.wall_ms()
        identifier = str(uuid.uuid4())
        if wanted.client_token is not None:
            # the ids follow from the token, so that a call that got no answer can be made again; in a later tenant of the same name they
            # are others, since somebody may still have tokens and WebSockets of those that are gone
            seed = (wanted.tenant, wanted.created_by, wanted.call, wanted.client_token)
            identifier = _derived(*seed, str(store_chats.made_ms(tx, wanted.tenant)))
            earlier = _derived(wanted.tenant, wanted.created_by, wanted.client_token)  # of versions that did not know this
            for derived in (identifier,) if wanted.call else (identifier, earlier):
                if (known := _known(tx, wanted, derived)) is not None:
                    return known
        contact = wanted.contact or str(uuid.uuid5(uuid.NAMESPACE_OID, identifier))
        chat = self._chat(tx, wanted, contact, now_ms)
        if wanted.client_token is not None and (known := _known(tx, wanted, identifier)) is not None:
            return known  # another node was first, while this waited for the chat
        there = [each for each in store_chats.participants(tx, wanted.tenant, contact) if each.left_ms is None]
        if wanted.alone:
            same = [each for each in there if (each.role, each.created_by) == (wanted.role, wanted.created_by)]
            for each in same:
                if each.credential == wanted.credential:
                    return each
            for each in same:  # by another sign-in: the same person has one seat, and each token ends with its own sign-in
                mark = digest(wanted.credential)[:MARK_DIGITS]
                store_chats.admit_again(tx, each, mark, wanted.credential, now_ms)
                return replace(each, credential=wanted.credential, admission=mark)
        most = self._settings.chat_participants
        if len(there) >= most:
            raise TooManyError("participants in a chat", "files.chat_participants", most, passes=False)
        if chat.items >= self._settings.chat_items:  # whoever has left has an item, so this bounds them, too
            raise TooManyError("items in the transcript of a chat", "files.chat_items", self._settings.chat_items, passes=False)
        made = Participant(
            wanted.tenant,
            identifier,
            contact,
            wanted.role,
            wanted.display_name,
            wanted.created_by,
            now_ms,
            None,
            None,
            None,
            wanted.credential,
            fields=wanted.fields,
        )
        store_chats.add_participant(tx, made)
        by = self._audit.caller(made.tenant, made.created_by, wanted.address)
        self._audit.record_within_share(tx, by, Entry(Event.PARTICIPANT_ADDED, made.tenant, _target(made), after=_audited(made)))
        if wanted.opening.message is not None:
            self._journal.add(tx, chat, NewItem(Kind.MESSAGE, wanted.opening.message[0], made, wanted.opening.message[1]))
            tx.after_commit(lambda: self._count("messages"))
        tx.after_commit(lambda: self._count("participants"))
        return made

    def _chat(self, tx: Transaction, wanted: NewParticipant, contact: str, now_ms: int) -> Chat:
        """Lock the chat; a new one is begun."""
        found = store_chats.lock(tx, wanted.tenant, contact)
        if found is None:
            if wanted.alone:
                raise AccessDeniedError("interactionId: expected a chat that is there; to open one takes the operation /files/chats")
            most = self._settings.max_chats
            if store_chats.open_chats(tx, wanted.tenant, most) >= most:
                raise TooManyError("chats of a tenant that are not over", "files.max_chats", most, passes=True)
            # first the interaction is locked, then its chat, as when an interaction finishes
            interactions = self._find_interactions()
            over = None if interactions is None else interactions.is_over(tx, wanted.tenant, contact)
            if over:
                raise ChatEndedError(contact)
            opening = wanted.opening
            ends_ms = None if opening.lasts_min is None else now_ms + opening.lasts_min * 60_000
            begins = Chat(wanted.tenant, contact, now_ms, now_ms, 0, None, over is None, ends_ms, opening.content_types)
            new = store_chats.insert(tx, begins)
            found = store_chats.lock(tx, wanted.tenant, contact)
            assert found is not None
            if new:
                if found.begun:
                    self._journal.started(tx, found, wanted.user_data)
                tx.after_commit(lambda: self._count("started"))
        if found.ended_ms is not None:
            raise ChatEndedError(contact)
        return found

    async def connected(self, participant: Participant) -> None:
        """Note that a participant is connected; the others are told, the first time.

        Raises:
            AccessDeniedError: the participant has left meanwhile.
            StorageError: the database cannot be written.
        """
        if participant.joined_ms is not None:
            return

        def join(tx: Transaction) -> None:
            chat = open_chat(self._journal, tx, participant)
            if store_chats.join(tx, participant.tenant, participant.id, self._clock.wall_ms()):
                self._journal.add(tx, chat, NewItem(Kind.EVENT, JOINED, participant))

        await self._transactions.write(join)

    async def leave(self, participant: Participant, client_token: str | None) -> None:
        """Have a participant leave, by its own call; its tokens end. The chat ends with its last customer; one in which no customer is ends
        with its last participant. The same call with the same token once more does nothing.

        Raises:
            AccessDeniedError: the participant has left already, by another call.
            StorageError: the database cannot be written.
        """
        token = None if client_token is None else digest(participant.id, client_token)
        if not await self._transactions.write(lambda tx: self._leave(tx, participant, token)):
            now = await self._transactions.read(lambda tx: store_chats.participant(tx, participant.tenant, participant.id))
            if now is None or token is None or not hmac.compare_digest(now.left_token or "", token):
                self._counters.refused_tokens += 1
                raise AccessDeniedError("the participant has left already")

    async def remove(self, tenant: str, identifier: str, let_in_by: str | None = None, by: Actor = HUB) -> Participant:
        """Remove a participant: its tokens end. One who has left already stays so. With ``let_in_by``, the subject of a credential, only
        one whom that let in. ``by`` is who does it, for the audit log.

        Raises:
            AccessDeniedError: somebody else let the participant in.
            UnknownParticipantError: the tenant has no such participant.
            StorageError: the database cannot be written.
        """

        def remove(tx: Transaction) -> Participant:
            begin_change(tx)
            found = store_chats.participant(tx, tenant, identifier)
            if found is None:
                raise UnknownParticipantError(identifier)
            if let_in_by not in (None, found.created_by):
                raise AccessDeniedError("somebody else let this participant in; to remove others takes the operation /files/chats")
            if self._leave(tx, found, None):
                entry = Entry(Event.PARTICIPANT_REMOVED, tenant, _target(found), before=_audited(found))
                self._audit.record_within_share(tx, by, entry)
            return found

        return await self._transactions.write(remove)

    def erase_within(self, transaction: Transaction, participant: Participant) -> None:
        """Have the channel of the transcript forget a participant, within a transaction of the caller."""
        self._journal.erase(transaction, participant)

    def leave_within(self, transaction: Transaction, participant: Participant) -> None:
        """Have a participant leave within a transaction of the caller; one who has left already stays so."""
        self._leave(transaction, participant, None)

    def _leave(self, tx: Transaction, participant: Participant, token: str | None) -> bool:
        """Returns whether the participant was there."""
        chat = store_chats.lock(tx, participant.tenant, participant.contact)
        if chat is None or chat.ended_ms is not None:
            return False
        if not store_chats.leave(tx, participant.tenant, participant.id, self._clock.wall_ms(), token):
            return False
        self._journal.add(tx, chat, NewItem(Kind.EVENT, LEFT, participant))
        there = [each for each in store_chats.participants(tx, chat.tenant, chat.contact) if each.left_ms is None]
        customers = [each for each in there if each.role is Role.CUSTOMER]
        if not there or (participant.role is Role.CUSTOMER and not customers):
            self._journal.end(tx, chat, BY_LEAVING)
            tx.after_commit(lambda: self._count("ended_left"))
        return True

    def interaction_finished(self, transaction: Transaction, tenant: str, identifier: str) -> None:
        """See :class:`channels.events.InteractionListener`: the chat of the interaction ends with it."""
        chat = store_chats.lock(transaction, tenant, identifier)
        if chat is not None and chat.ended_ms is None:
            self._journal.end(transaction, chat, None)
            transaction.after_commit(lambda: self._count("ended_interaction"))

    async def end_idle(self, now_ms: int) -> int:
        """End chats in which nothing was said for ``files.chat_idle_hours`` before a moment. Returns how many ended.

        Raises:
            StorageError: the database cannot be written.
        """
        before_ms = now_ms - round(self._settings.chat_idle_hours * 3_600_000)
        return await self._end_all(
            lambda tx: store_chats.idle(tx, before_ms, ENDED_AT_ONCE),
            lambda chat: chat.ends_ms is None and chat.last_ms < before_ms,
            BY_SILENCE,
        )

    async def end_expired(self, now_ms: int) -> int:
        """End chats whose own time is over at a moment. Returns how many ended.

        Raises:
            StorageError: the database cannot be written.
        """
        return await self._end_all(
            lambda tx: store_chats.expired(tx, now_ms, ENDED_AT_ONCE),
            lambda chat: chat.ends_ms is not None and chat.ends_ms <= now_ms,
            BY_TIME,
        )

    async def _end_all(self, find: Callable[[Transaction], list[tuple[str, str]]], is_due: Callable[[Chat], bool], reason: str) -> int:
        """End the chats that ``find`` finds, each in a transaction of its own, in which ``is_due`` must still say so."""

        def end(tx: Transaction, tenant: str, contact: str) -> bool:
            chat = store_chats.lock(tx, tenant, contact)
            if chat is None or chat.ended_ms is not None or not is_due(chat):
                return False
            self._journal.end(tx, chat, reason)
            tx.after_commit(lambda: self._count(f"ended_{reason}"))
            return True

        total = 0
        while found := await self._transactions.read(find):
            ended = 0
            for tenant, contact in found:
                ended += await self._transactions.write(lambda tx, of=tenant, which=contact: end(tx, of, which))  # type: ignore[misc]
            total += ended
            if not ended:  # others have ended them, or something was said meanwhile
                break
        return total

    async def trim(self, limit: int, now_ms: int) -> int:
        """Delete chats that ended ``files.keep_chats_days`` before a moment, in transactions of at most ``limit``. Returns how many.

        Raises:
            StorageError: the database cannot be written.
        """
        before_ms = now_ms - round(self._settings.keep_chats_days * 86_400_000)
        total = 0
        while deleted := await self._transactions.write(lambda tx: store_chats.trim(tx, before_ms, limit)):
            total += deleted
        self._counters.trimmed += total
        return total

    def _count(self, name: str) -> None:
        setattr(self._counters, name, getattr(self._counters, name) + 1)


def _derived(*parts: str) -> str:
    """The id that follows from some texts."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, digest(*parts)))


def _target(participant: Participant) -> str:
    """What the audit log calls a participant."""
    return f"participant:{participant.id}"


def _audited(participant: Participant) -> dict[str, Any]:
    """What the audit log tells of a participant: nothing by which a person is known."""
    return {"interactionId": participant.contact, "role": participant.role.value}


def _known(transaction: Transaction, wanted: NewParticipant, identifier: str) -> Participant | None:
    """The participant whom a token let in before; None: nobody.

    Raises:
        TokenUsedError: somebody else.
        ClientTokenOfThePastError: somebody who has left.
    """
    found = store_chats.participant(transaction, wanted.tenant, identifier)
    if found is None:
        return None
    if (found.role, found.display_name, found.fields) != (wanted.role, wanted.display_name, wanted.fields) or wanted.contact not in (
        None,
        found.contact,
    ):
        raise TokenUsedError(wanted.client_token)
    if found.left_ms is not None and not wanted.fields:
        raise ClientTokenOfThePastError(wanted.client_token)
    return found


def open_chat(journal: Journal, transaction: Transaction, participant: Participant) -> Chat:
    """The chat of a participant, locked, while the participant is there.

    Raises:
        AccessDeniedError: the participant has left, or the chat is over.
    """
    try:
        chat = journal.chat(transaction, participant.tenant, participant.contact)
    except ChatEndedError:
        raise AccessDeniedError("the chat is over") from None
    now = store_chats.participant(transaction, participant.tenant, participant.id)
    if now is None or now.left_ms is not None:
        raise AccessDeniedError("the participant has left, or was removed")
    return chat
