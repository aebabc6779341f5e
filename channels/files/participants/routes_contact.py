"""``StartChatContact`` of Amazon Connect: a program of the contact centre begins a chat for a customer
(docs/protocol/participants.md#starting-a-chat).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from fastapi import Request, Response

from channels.files.amazon_errors import REQUEST_ID, id_of
from channels.files.arns import check_instance
from channels.files.checks import first_unseen
from channels.files.connect_route import ConnectRoute
from channels.files.participants.admitters import Admitters
from channels.files.participants.connections import Connections, check_kinds
from channels.files.participants.models import TEXT_TYPES, Role
from channels.files.participants.routes_rest import OTHERS
from channels.files.participants.schemas_contact import MAX_BODY_BYTES, MAX_USER_DATA_BYTES, StartChat, StartedChat
from channels.files.participants.service import ChatService, NewParticipant, Opening, digest
from channels.files.participants.service_items import check_content
from channels.files.schemas_attached import ANSWERS, Refused
from hub.core.field_error import FieldError
from hub.core.json_text import ascii_json
from hub.core.principal import Principal
from hub.http.body import address_of, takes
from hub.http.permits import permit, requires
from hub.http.responses import NO_STORE, EnvelopeResponse
from hub.http.routing import HubRouter
from hub.http.signed_route import SIGNED

PREFIX: Final = "/contact"

CALL: Final = "StartChatContact"

_NOT_TAKEN: Final = {
    "PersistentChat": "the hub continues no chats that are over",
    "RelatedContactId": "the hub relates no chats to others",
    "SegmentAttributes": "chats of the hub have no segments; what others are to know of the chat goes into Attributes",
    "ChatStreamingConfiguration": "the hub streams to no topics; the channel of the transcript tells every item",
}
"""Members that mean something that the hub does not do, and why."""

_FIRST_TYPES: Final = tuple(each for each in TEXT_TYPES if not each.endswith(".interactive"))
"""Content types of what customers say: Amazon's API has no other for the first message."""

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    **ANSWERS,
    404: {"description": "`ResourceNotFoundException`: the instance is another one.", "model": Refused},
    429: {"description": "`LimitExceededException`: the tenant has as many chats as it may; `ThrottlingException`.", "model": Refused},
}

Opener = Annotated[Principal, requires(OTHERS)]


def create_contact_router(chats: ChatService, connections: Connections, admitters: Admitters) -> HubRouter:
    """The route."""
    router = HubRouter(prefix=PREFIX, tags=["Chats"], responses=_RESPONSES, route_class=ConnectRoute)

    @router.put(
        "/chat",
        summary="Begin a chat",
        response_model=StartedChat,
        response_model_exclude_none=True,
        openapi_extra=SIGNED,
    )
    @takes(MAX_BODY_BYTES)
    async def start_chat_contact(request: Request, caller: Opener, body: StartChat) -> Response:
        """Begin a chat for a customer, and get the token by which the customer's page talks (StartChatContact). It is an interaction of
        the hub: STARTED. It takes the operation `/files/participants`, too.
        """
        await permit(request.app.state.gate, request.scope, "/files/participants")
        check_instance(body.InstanceId, caller.tenant)
        _check(body)
        kinds = check_kinds("ConnectionTypes", body.ConnectionTypes)
        token = body.ClientToken or None
        made = await chats.admit(
            NewParticipant(
                caller.tenant,
                None,
                Role.CUSTOMER,
                body.ParticipantDetails.DisplayName,
                caller.subject,
                user_data=_user_data(body),
                credential=await admitters.mark(caller),
                client_token=token,
                call=CALL,
                fields="" if token is None else _digest(body),
                opening=_opening(body),
                address=address_of(request.scope),
            )
        )
        answer = {"ContactId": made.contact, "ParticipantId": made.id, "ParticipantToken": connections.participant_token(made)}
        if made.left_ms is None:  # else the call was made again after the chat
            answer |= await connections.make(request.scope, made, kinds)
        return EnvelopeResponse(answer, headers={**NO_STORE, REQUEST_ID: id_of(request.scope)})

    return router


def _check(body: StartChat) -> None:
    """Check what the hub can do.

    Raises:
        FieldError: the call asks for something else.
    """
    for name, why in _NOT_TAKEN.items():
        if (given := getattr(body, name)) is not None:
            raise FieldError.of_value(name, f"nothing: {why}", given)
    if (unseen := first_unseen(body.ParticipantDetails.DisplayName)) is not None:
        raise FieldError("ParticipantDetails.DisplayName", "no control characters and marks", f"U+{ord(unseen):04X}")
    size = len(orjson.dumps(_user_data(body)))
    if size > MAX_USER_DATA_BYTES:
        raise FieldError("Attributes", f"at most {MAX_USER_DATA_BYTES} bytes as JSON, with ContactFlowId and CustomerId", str(size))
    mode = None if body.ParticipantConfiguration is None else body.ParticipantConfiguration.ResponseMode
    if mode not in (None, "COMPLETE"):
        raise FieldError.of_value("ParticipantConfiguration.ResponseMode", "COMPLETE: the hub sends whole messages", mode)
    if body.DisconnectOnCustomerExit not in (None, ["AGENT"]):
        raise FieldError.of_value("DisconnectOnCustomerExit", "AGENT", body.DisconnectOnCustomerExit)
    first = body.InitialMessage
    if first is not None:
        taken = [each for each in _FIRST_TYPES if each in (body.SupportedMessagingContentTypes or TEXT_TYPES)]
        if first.ContentType not in taken:
            raise FieldError.of_value("InitialMessage.ContentType", f"one that this chat takes: {', '.join(taken)}", first.ContentType)
        check_content(first.ContentType, first.Content, "InitialMessage.Content")


def _user_data(body: StartChat) -> dict[str, Any]:
    """What the interaction says of the chat. Names of attributes have no colon, so none is one of ours."""
    named = {"connect:ContactFlowId": body.ContactFlowId, "connect:CustomerId": body.CustomerId}
    return {**(body.Attributes or {}), **{name: value for name, value in named.items() if value is not None}}


def _opening(body: StartChat) -> Opening:
    types = body.SupportedMessagingContentTypes
    first = body.InitialMessage
    return Opening(
        content_types=TEXT_TYPES if types is None else tuple(each for each in TEXT_TYPES if each in types),
        lasts_min=body.ChatDurationInMinutes,
        message=None if first is None else (first.ContentType, first.Content),
    )


def _digest(body: StartChat) -> str:
    """Of what must be the same where the token is. How the customer connects does not matter."""
    said = body.model_dump(exclude={"ClientToken", "ConnectionTypes", "InstanceId"})
    said["Attributes"] = sorted((body.Attributes or {}).items())
    return digest(CALL, ascii_json(said).decode("ascii"))
