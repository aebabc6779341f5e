"""The hub's own calls for chats: let people in and out, answer as an agent, read a transcript (docs/files.md#chats)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Path, Query, Request, Response

from channels.files.checks import first_unseen
from channels.files.participants import store_chats, store_items
from channels.files.participants.admitters import Admitters
from channels.files.participants.callers import Callers
from channels.files.participants.connections import Connections
from channels.files.participants.errors import UnknownChatError, UnknownParticipantError
from channels.files.participants.models import Participant, Role
from channels.files.participants.schemas_rest import (
    NO_CONTROLS,
    LetInAnswer,
    MessageBody,
    NewParticipantBody,
    ParticipantAnswer,
    SentMessageAnswer,
    TranscriptAnswer,
)
from channels.files.participants.serializers import item_entry, transcript_channel
from channels.files.participants.service import ChatService, NewParticipant
from channels.files.participants.service_items import ItemService
from hub.audit.log import AuditLog
from hub.core.channels import InvalidChannelError, check_channel
from hub.core.field_error import FieldError
from hub.core.principal import Action, Principal
from hub.http.body import address_of, takes
from hub.http.permits import permit, requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.gate import Gate
from hub.storage.transactions import Transaction, Transactions

PARTICIPANTS: Final = "/api/v1/participants"
TRANSCRIPT: Final = "/api/v1/interactions/{interactionId:path}/transcript"

OTHERS: Final = "/files/chats"
"""The operation that a caller needs, beside that of these routes, for whatever is not its own answering in chats."""

MAX_BODY_BYTES: Final = 128 * 1024
MAX_PAGE: Final = 500

_NO_PARTICIPANT: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "The tenant has no such participant."}}
_NO_CHAT: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "The tenant has no such interaction that is a chat."}}

Opener = Annotated[Principal, requires("/files/participants")]
Reader = Annotated[Principal, requires("/files/read")]
ParticipantId = Annotated[str, Path(alias="participantId", max_length=64, description="The id of the participant.")]
InteractionId = Annotated[
    str, Path(alias="interactionId", max_length=200, pattern=NO_CONTROLS, description="The id of the interaction that the chat is.")
]


def create_router(
    chats: ChatService,
    items: ItemService,
    connections: Connections,
    transactions: Transactions,
    admitters: Admitters,
    callers: Callers,
    audit: AuditLog,
) -> HubRouter:
    """The routes."""
    router = HubRouter(tags=["Chats"])

    @router.post(
        PARTICIPANTS,
        summary="Let somebody into a chat",
        response_model=LetInAnswer,
        responses={
            403: {"description": "The caller may answer in chats alone, which is to be in one that is there, as AGENT."},
            409: {"description": "The chat is over, has as many participants as it may, or the one of the `clientToken` has left."},
            429: {"description": "The tenant has as many chats as it may; with `Retry-After`."},
        },
    )
    async def admit(request: Request, caller: Opener, body: NewParticipantBody) -> Response:
        """Let somebody into a chat, and get the token by which they talk to Amazon Connect's Participant service. A chat begins with its
        first participant, and is an interaction of the hub: STARTED. Callers without `/files/chats` get themselves, as AGENT, into chats
        that are there; who is in the chat already gets the same participant, with a new token.
        """
        alone = not await _may_others(request, caller)
        if alone and (body.role != Role.AGENT or body.interactionId is None):
            await permit(request.app.state.gate, request.scope, OTHERS)
        if (unseen := first_unseen(body.displayName)) is not None:
            raise FieldError("displayName", "no control characters and marks", f"U+{ord(unseen):04X}")
        made = await chats.admit(
            NewParticipant(
                caller.tenant,
                _checked(body.interactionId),
                Role(body.role),
                body.displayName,
                caller.subject,
                credential=await admitters.mark(caller),
                client_token=body.clientToken,
                address=address_of(request.scope),
                alone=alone,
            )
        )
        return respond({**_entry(made), "participantToken": connections.participant_token(made)})

    @router.delete(
        f"{PARTICIPANTS}/{{participantId}}",
        summary="Remove somebody from a chat",
        response_model=ParticipantAnswer,
        responses={**_NO_PARTICIPANT, 403: {"description": "The caller may remove those alone whom it let in."}},
    )
    async def remove(request: Request, caller: Opener, identifier: ParticipantId) -> Response:
        """Remove a participant: its tokens and WebSockets end. One who has left already stays so. Callers without `/files/chats` remove
        those alone whom they let in.
        """
        let_in_by = None if await _may_others(request, caller) else caller.subject
        by = audit.caller(caller.tenant, caller.subject, address_of(request.scope))
        return respond(_entry(await chats.remove(caller.tenant, identifier, let_in_by, by)))

    @router.post(
        f"{PARTICIPANTS}/{{participantId}}/messages",
        summary="Answer in a chat",
        response_model=SentMessageAnswer,
        responses={
            **_NO_PARTICIPANT,
            403: {"description": "The participant has left, or the chat is over."},
            429: {"description": "Called too often."},
        },
    )
    @takes(MAX_BODY_BYTES)
    async def answer(caller: Opener, identifier: ParticipantId, body: MessageBody) -> Response:
        """Send a message as a participant whom the same caller has let in: for the desktops of agents that hold no token."""
        found = await transactions.read(lambda tx: store_chats.participant(tx, caller.tenant, identifier))
        if found is None or found.created_by != caller.subject:
            raise UnknownParticipantError(identifier)
        callers.count(found)
        await chats.connected(found)
        sent = await items.send_message(found, body.contentType, body.content, body.clientToken)
        return respond({"id": sent.id, "sentAt": sent.at_ms})

    @router.get(TRANSCRIPT, summary="The transcript of a chat", response_model=TranscriptAnswer, responses=_NO_CHAT)
    async def transcript(
        request: Request,
        caller: Reader,
        interaction: InteractionId,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of a page.")] = 100,
        cursor: Annotated[str | None, Query(max_length=16, pattern=r"^\d+$", description="`data.cursor` of the page before.")] = None,
    ) -> Response:
        """The items of a chat, the older first; what its channel `/nexus/v3/interactions/{id}/transcript` tells, from the beginning."""
        start = int(cursor or 1)

        def read(tx: Transaction) -> dict[str, Any]:
            if store_chats.find(tx, caller.tenant, interaction) is None:
                raise UnknownChatError(interaction)
            found = store_items.forward(tx, caller.tenant, interaction, start, limit + 1)
            data: dict[str, Any] = {"items": [item_entry(item, interaction) for item in found[:limit]]}
            if len(found) > limit:
                data["cursor"] = str(found[limit].seq)
            return data

        return respond(await transactions.read(read))

    return router


async def _may_others(request: Request, caller: Principal) -> bool:
    """Whether a caller may do more than to answer."""
    gate: Gate = request.app.state.gate
    return (await gate.decisions.decide(caller, Action.CALL, OTHERS)).allowed


def _checked(interaction: str | None) -> str | None:
    """The id of an interaction whose transcript can have a channel."""
    if interaction is not None:
        try:
            check_channel(transcript_channel(interaction))
        except InvalidChannelError as error:
            raise FieldError("interactionId", "an id that fits into the name of a channel", str(error)) from None
    return interaction


def _entry(participant: Participant) -> dict[str, Any]:
    return {
        "participantId": participant.id,
        "interactionId": participant.contact,
        "role": participant.role.value,
        "displayName": participant.display_name,
    }
