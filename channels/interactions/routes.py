"""REST: open media interactions (docs/protocol/interactions.md#open-media), and interactions of every kind under
``/nexus/v3/interactions``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from fastapi import Path, Query, Request, Response

from channels.interactions import store
from channels.interactions.errors import UnknownInteractionError
from channels.interactions.models import BY_EVENT, Cause, Interaction, Key
from channels.interactions.parsing import check_service, check_user_data, checked_received_at, parse
from channels.interactions.schemas import ANSWERS, NO_NUL, Change, Create, InteractionAnswer, InteractionsAnswer, Stop, body_schema
from channels.interactions.serializers import PATH as INTERACTIONS
from channels.interactions.serializers import interaction_entry
from channels.interactions.service import BY_REST, InteractionService
from channels.interactions.settings import InteractionsSettings
from channels.interactions.state_machine import State
from hub.core.field_error import FieldError
from hub.core.principal import Principal
from hub.http.body import apart, read_body, takes
from hub.http.fast_routes import FastRoute
from hub.http.openapi import json_body
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.hosts import Hosts
from hub.storage.transactions import Transaction, Transactions

OPEN_MEDIA: Final = "/nexus/v3/openmedia"

MAX_PAGE: Final = 500
"""Interactions of one page."""

MAX_BODY_BYTES: Final = 1024 * 1024 + 64 * 1024

_TRACE: Final = re.compile(r"[0-9A-Fa-f-]{16,36}")
"""``X-B3-TraceId``: 64 or 128 bits in hex; Genesys sends UUIDs."""

_CURSOR: Final = re.compile(r"([0-9]{1,15})\.(.{1,255})", re.DOTALL)

Service = Annotated[str, Path(alias="openMediaService", description="The name of the open media service.", max_length=64)]
Identifier = Annotated[str, Path(alias="interactionId", description="The id of the interaction.", max_length=255, pattern=NO_NUL)]
External = Annotated[
    str, Path(alias="externalId", description="The id that the interaction was created with.", max_length=255, pattern=NO_NUL)
]
Reader = Annotated[Principal, requires("/interactions/read")]
Writer = Annotated[Principal, requires("/interactions/write")]


class Handlers:
    """What the routes do, those of FastAPI and the fast ones."""

    __slots__ = ("_hosts", "_interactions", "_settings", "_transactions")

    def __init__(self, interactions: InteractionService, transactions: Transactions, hosts: Hosts, settings: InteractionsSettings) -> None:
        self._interactions = interactions
        self._transactions = transactions
        self._hosts = hosts
        self._settings = settings

    async def create(self, request: Request, tenant: str, service: str) -> Response:
        """See the route."""
        check_service(service)
        base_url = self._hosts.base_url(request.scope)
        body = await read_body(request, MAX_BODY_BYTES)
        wanted = await apart(len(body), lambda: self._new(body))
        media = self._settings.service_media.get(service, self._settings.media)
        cause = Cause(BY_REST, base_url, trace_of(request))
        made = await self._transactions.write(lambda tx: self._interactions.open(tx, tenant, service, media, wanted, cause))
        return _answer(made, base_url)

    async def get(self, request: Request, tenant: str, service: str | None, key: Key) -> Response:
        """See the route."""
        base_url = self._hosts.base_url(request.scope)
        return _answer(await self._transactions.read(lambda tx: store.find(tx, tenant, key, service)), base_url)

    async def by_either_id(self, request: Request, tenant: str, identifier: str) -> Response:
        """See the route."""
        base_url = self._hosts.base_url(request.scope)

        def find(tx: Transaction) -> Interaction:
            try:
                return store.find(tx, tenant, Key(identifier))
            except UnknownInteractionError as unknown:
                try:
                    return store.find(tx, tenant, Key(identifier, external=True), BY_EVENT)
                except UnknownInteractionError:
                    raise unknown from None

        return _answer(await self._transactions.read(find), base_url)

    async def update(self, request: Request, tenant: str, service: str, key: Key) -> Response:
        """See the route."""
        base_url = self._hosts.base_url(request.scope)
        body = await read_body(request, MAX_BODY_BYTES)
        wanted = await apart(len(body), lambda: self._change(body))

        def write(tx: Any) -> Interaction:
            made = store.update(
                tx,
                tenant,
                key,
                service,
                changed=wanted.changed_properties,
                added=wanted.added_properties,
                deleted=wanted.deleted_properties,
            )
            self._check_user_data("userData", made.user_data)
            return made

        made = await self._transactions.write(write)
        self._interactions.counters.updated += 1
        return _answer(made, base_url)

    async def stop(self, request: Request, tenant: str, service: str, key: Key) -> Response:
        """See the route."""
        base_url = self._hosts.base_url(request.scope)
        body = await read_body(request, MAX_BODY_BYTES)
        wanted = await apart(len(body), lambda: parse(Stop, body, required=False))
        cause = Cause(BY_REST, base_url, trace_of(request))
        stopped = await self._transactions.write(lambda tx: self._interactions.stop(tx, tenant, key, service, wanted, cause))
        return _answer(stopped, base_url)

    async def page(self, request: Request, tenant: str, state: State | None, media: str | None, limit: int, cursor: str | None) -> Response:
        """See the route."""
        base_url = self._hosts.base_url(request.scope)
        before = _before(cursor)
        found = await self._transactions.read(lambda tx: store.page(tx, tenant, state=state, media=media, before=before, limit=limit))
        data: dict[str, Any] = {"interactions": [interaction_entry(each, base_url) for each in found]}
        if len(found) == limit:
            data["cursor"] = f"{found[-1].created_ms}.{found[-1].id}"
        return respond(data)

    def _new(self, body: bytes) -> Create:
        wanted = parse(Create, body, required=False)
        self._check_user_data("data.userData", wanted.user_data)
        wanted.received_at = checked_received_at(wanted.received_at)
        return wanted

    def _change(self, body: bytes) -> Change:
        wanted = parse(Change, body, required=True)
        self._check_user_data("data.changedProperties", wanted.changed_properties)
        self._check_user_data("data.addedProperties", wanted.added_properties)
        return wanted

    def _check_user_data(self, field: str, user_data: dict[str, Any]) -> None:
        if user_data:
            check_user_data(field, user_data, len(msgspec.json.encode(user_data)), self._settings.max_user_data_bytes)


def _answer(interaction: Interaction, base_url: str) -> Response:
    return respond(interaction_entry(interaction, base_url))


def trace_of(request: Request) -> str:
    """``X-B3-TraceId`` of a request, so that webhooks carry it on; empty for none, or one that is none."""
    given = request.headers.get("x-b3-traceid", "")
    return given if _TRACE.fullmatch(given) else ""


def _before(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None or "\0" in cursor:
        raise FieldError.of_value("cursor", "`data.cursor` of the page before", cursor)
    return int(found[1]), found[2]


def create_fast_routes(calls: Handlers) -> list[FastRoute]:
    """The fast routes: create, get and stop by id."""
    base = f"{OPEN_MEDIA}/{{openMediaService}}/interactions"

    async def create(request: Request, caller: Principal, service: str) -> Response:
        return await calls.create(request, caller.tenant, service)

    async def get(request: Request, caller: Principal, service: str, identifier: str) -> Response:
        return await calls.get(request, caller.tenant, service, Key(identifier))

    async def stop(request: Request, caller: Principal, service: str, identifier: str) -> Response:
        return await calls.stop(request, caller.tenant, service, Key(identifier))

    return [
        FastRoute("POST", base, "/interactions/write", create),
        FastRoute("POST", f"{base}/{{interactionId}}/stop", "/interactions/write", stop),
        FastRoute("GET", f"{base}/{{interactionId}}", "/interactions/read", get),
    ]


def create_router(calls: Handlers) -> HubRouter:
    """The routes."""
    router = HubRouter(tags=["Interactions"], responses=ANSWERS)
    base = f"{OPEN_MEDIA}/{{openMediaService}}/interactions"

    @router.post(
        base,
        summary="Create an interaction",
        response_model=InteractionAnswer,
        responses={409: {"description": "The service knows the external id already; `status.detail.interactionId` says which it is."}},
        openapi_extra=json_body(lambda: body_schema(Create, required=False), required=False),
    )
    @takes(MAX_BODY_BYTES)
    async def create(request: Request, caller: Writer, service: Service) -> Response:
        """Create an open media interaction and submit it: STARTED. When it is answered it is on disk, and will be told of."""
        return await calls.create(request, caller.tenant, service)

    # before the routes by id, which would take ext_... for one
    for path, external in ((f"{base}/ext_{{externalId:path}}", True), (f"{base}/{{interactionId}}", False)):
        _add_routes(router, calls, path, external)

    @router.get(f"{INTERACTIONS}/", include_in_schema=False)  # else it were the interaction whose id is empty
    @router.get(INTERACTIONS, summary="Interactions", response_model=InteractionsAnswer)
    async def page(
        request: Request,
        caller: Reader,
        state: Annotated[State | None, Query(description="Only those in this state.")] = None,
        media: Annotated[str | None, Query(alias="mediaType", description="Only of this medium.", max_length=64, pattern=NO_NUL)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Entries of a page.")] = 100,
        cursor: Annotated[str | None, Query(description="`data.cursor` of the page before.", max_length=300)] = None,
    ) -> Response:
        """The interactions of the tenant, of every medium, the newest first."""
        return await calls.page(request, caller.tenant, state, media, limit, cursor)

    @router.get(f"{INTERACTIONS}/{{interactionId:path}}", summary="An interaction by its selfUri", response_model=InteractionAnswer)
    async def by_self_uri(request: Request, caller: Reader, identifier: Identifier) -> Response:
        """What the `selfUri` of webhooks leads to: an interaction, whatever it came by. One that an event told of is found by the external
        id of that event as well: that of a secure e-mail is the mail's.
        """
        return await calls.by_either_id(request, caller.tenant, identifier)

    return router


def _add_routes(router: HubRouter, calls: Handlers, path: str, external: bool) -> None:
    """Get, update and stop, by the id or by the external id."""
    named = "by its external id" if external else "by its id"
    suffix = "_by_external_id" if external else ""

    if external:

        async def get(request: Request, caller: Reader, service: Service, identifier: External) -> Response:
            return await calls.get(request, caller.tenant, service, Key(identifier, external=True))

        async def update(request: Request, caller: Writer, service: Service, identifier: External) -> Response:
            return await calls.update(request, caller.tenant, service, Key(identifier, external=True))

        async def stop(request: Request, caller: Writer, service: Service, identifier: External) -> Response:
            return await calls.stop(request, caller.tenant, service, Key(identifier, external=True))

    else:

        async def get(request: Request, caller: Reader, service: Service, identifier: Identifier) -> Response:
            return await calls.get(request, caller.tenant, service, Key(identifier))

        async def update(request: Request, caller: Writer, service: Service, identifier: Identifier) -> Response:
            return await calls.update(request, caller.tenant, service, Key(identifier))

        async def stop(request: Request, caller: Writer, service: Service, identifier: Identifier) -> Response:
            return await calls.stop(request, caller.tenant, service, Key(identifier))

    router.get(path, summary=f"An interaction {named}", response_model=InteractionAnswer, name=f"get{suffix}")(get)
    router.post(
        f"{path}/update",
        summary=f"Change the properties of an interaction {named}",
        description="Change, add and delete properties of `userData`: all of it or nothing.",
        response_model=InteractionAnswer,
        openapi_extra=json_body(lambda: body_schema(Change, required=True), required=True),
        name=f"update{suffix}",
    )(takes(MAX_BODY_BYTES)(update))
    router.post(
        f"{path}/stop",
        summary=f"Stop an interaction {named}",
        description="Stop the processing of an interaction: FINISHED. When it is answered it is on disk, and will be told of.",
        response_model=InteractionAnswer,
        openapi_extra=json_body(lambda: body_schema(Stop, required=False), required=False),
        name=f"stop{suffix}",
    )(takes(MAX_BODY_BYTES)(stop))
