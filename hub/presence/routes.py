"""REST: lists channels and sessions (``/api/v1/channels``, ``/api/v1/sessions``) and ends sessions, only of the caller's tenant."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import Path, Query, Request, Response

from hub.core.channels import InvalidChannelError, check_channel, check_pattern
from hub.core.principal import Principal
from hub.http.errors import ApiError
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.presence.roster import Roster, Wanted, describe
from hub.presence.schemas import (
    ChannelAnswer,
    ChannelsAnswer,
    Cursor,
    DisconnectedAnswer,
    Door,
    Limit,
    SessionAnswer,
    SessionsAnswer,
)

_log = structlog.get_logger(__name__)

_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "The tenant has no such session; it may have ended."}}


def create_router(roster: Roster) -> HubRouter:
    """Make the routes for the sessions of this process."""
    router = HubRouter(prefix="/api/v1", tags=["Presence"])

    @router.get("/channels", summary="Which channels have subscribers", response_model=ChannelsAnswer)
    async def channels(
        caller: Annotated[Principal, requires("/presence/read")],
        prefix: Annotated[str, Query(description="Only names that begin so.", max_length=300)] = "",
        pattern: Annotated[str | None, Query(description="Only what lies within this pattern.", examples=["/orders/**"])] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """The channels and patterns that somebody subscribed to, and how many did, in the order of their names."""
        within = None if pattern is None else _pattern("pattern", pattern)
        page = await roster.channels(caller.tenant, prefix=prefix, within=within, limit=limit, after=cursor or "")
        entries = [{"channel": entry.channel, "sessions": entry.sessions} for entry in page.items]
        return _page({"channels": entries}, page.after)

    @router.get("/channels/{channel:path}", summary="Who subscribed to a channel", response_model=ChannelAnswer)
    async def channel(
        caller: Annotated[Principal, requires("/presence/read")],
        name: Annotated[
            str,
            Path(alias="channel", description="A channel or pattern without its first `/`: `/api/v1/channels/orders/7`."),
        ],
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """The sessions that subscribed to a channel, or to a pattern, by that very name; nobody is an answer as well.

        Who hears the channel by a wildcard, too, is what `/api/v1/sessions?hears=` tells.
        """
        subscribed = _pattern("channel", f"/{name}")
        page = await roster.sessions(caller.tenant, Wanted(channel=subscribed), limit=limit, after=_serial(cursor))
        count = roster.count(caller.tenant, subscribed)
        return _page({"channel": subscribed, "count": count, "sessions": page.items}, page.after)

    @router.get("/sessions", summary="Who is connected", response_model=SessionsAnswer)
    async def sessions(
        caller: Annotated[Principal, requires("/presence/read")],
        subject: Annotated[str | None, Query(description="Only sessions of this subject.", examples=["ana"])] = None,
        door: Annotated[Door | None, Query(description="Only clients that are connected so.")] = None,
        channel: Annotated[str | None, Query(description="Only who subscribed to exactly this channel or pattern.")] = None,
        hears: Annotated[str | None, Query(description="Only who hears this channel, by its name or by a wildcard.")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """The sessions of the tenant, in the order in which they came."""
        wanted = Wanted(
            subject=subject,
            door=door,
            channel=None if channel is None else _pattern("channel", channel),
            hears=None if hears is None else _channel("hears", hears),
        )
        page = await roster.sessions(caller.tenant, wanted, limit=limit, after=_serial(cursor))
        return _page({"sessions": page.items}, page.after)

    @router.get("/sessions/{id}", summary="One session", response_model=SessionAnswer, responses=_UNKNOWN)
    async def session(caller: Annotated[Principal, requires("/presence/read")], identifier: Annotated[str, Path(alias="id")]) -> Response:
        """One session, and what it subscribed to."""
        found = await roster.find(caller.tenant, identifier)
        if found is None:
            raise _unknown(identifier)
        return respond({**describe(found), "channels": list(found.subscriptions)})

    @router.delete("/sessions/{id}", summary="Send a session away", response_model=DisconnectedAnswer, responses=_UNKNOWN)
    async def disconnect(
        caller: Annotated[Principal, requires("/presence/write")], identifier: Annotated[str, Path(alias="id")]
    ) -> Response:
        """End one session. A Bayeux client is told by `/meta/disconnect` and `reconnect: none`, `/ws` is closed with 4403, an event stream
        ends. The credential stays good: to keep a client away that comes back by itself, remove that.
        """
        found = await roster.find(caller.tenant, identifier)
        if found is None:
            raise _unknown(identifier)
        found.disconnect()
        _log.info("session_disconnected", tenant=caller.tenant, by=caller.subject, session=found.public_id, subject=found.principal.subject)
        return respond({"disconnected": 1})

    @router.delete("/sessions", summary="Send a subject away", response_model=DisconnectedAnswer)
    async def disconnect_subject(
        request: Request,
        caller: Annotated[Principal, requires("/presence/write")],
        subject: Annotated[str, Query(description="Whose sessions.", examples=["ana"], min_length=1)],
    ) -> Response:
        """End all sessions of one subject, as one is ended; none is no error."""
        for name in request.query_params:
            if name != "subject":  # ignoring an unknown filter would end more sessions than the caller wants
                raise ApiError.of_field(name, "nothing beside subject", request.query_params[name])
        ended = await roster.disconnect(caller.tenant, subject)
        _log.info("subject_disconnected", tenant=caller.tenant, by=caller.subject, subject=subject, sessions=ended)
        return respond({"disconnected": ended})

    return router


def _page(data: dict[str, Any], after: str | int | None) -> Response:
    """The answer with one page; the next page begins after ``after``, which is None on the last page."""
    if after is not None:
        data["cursor"] = str(after)
    return respond(data)


def _pattern(field: str, value: str) -> str:
    try:
        return check_pattern(value)
    except InvalidChannelError as error:
        raise ApiError.of_field(field, f"a channel or pattern ({error})", value) from None


def _channel(field: str, value: str) -> str:
    try:
        return check_channel(value)
    except InvalidChannelError as error:
        raise ApiError.of_field(field, f"a channel ({error})", value) from None


def _serial(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise ApiError.of_field("cursor", "the cursor of the page before", cursor)
    return int(cursor)


def _unknown(identifier: str) -> ApiError:
    return ApiError.of_field("id", "a session of this tenant that is connected", identifier, http_status=404)
