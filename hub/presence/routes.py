"""REST: lists channels and sessions (``/api/v1/channels``, ``/api/v1/sessions``) and ends sessions, only of the caller's tenant."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Final

import structlog
from fastapi import Path, Query, Request, Response

from hub.core.channels import InvalidChannelError, check_channel, check_pattern
from hub.core.principal import Principal
from hub.http.envelope import PARTIAL, status
from hub.http.errors import ApiError
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.presence.questions import ChannelsQuestion, SessionsQuestion
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
from hub.presence.survey import Place, Survey

_log = structlog.get_logger(__name__)

_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"description": "The tenant has no such session; it may have ended."},
    503: {"description": "The node that has the session did not answer."},
}

_NODE_MISSING: Final = "a node of the hub did not answer in time"
_RETRY_AFTER_S: Final = "1"
_CURSOR: Final = re.compile(r"([0-9a-f]{12})-([0-9]{1,18})")


def create_router(survey: Survey) -> HubRouter:
    """Make the routes for the sessions of all nodes."""
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
        page, missing = await survey.channels(ChannelsQuestion(caller.tenant, limit, cursor or "", prefix, within))
        entries = [{"channel": entry.channel, "sessions": entry.sessions} for entry in page.items]
        return _page({"channels": entries}, page.after, missing)

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
        count, of_count = await survey.count(caller.tenant, subscribed)
        page, of_page = await survey.sessions(SessionsQuestion(caller.tenant, limit, channel=subscribed), _place(cursor))
        return _page({"channel": subscribed, "count": count, "sessions": page.items}, page.after, {*of_count, *of_page})

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
        """The sessions of the tenant, node by node, and of each in the order in which they came."""
        question = SessionsQuestion(
            caller.tenant,
            limit,
            subject=subject,
            door=door,
            channel=None if channel is None else _pattern("channel", channel),
            hears=None if hears is None else _channel("hears", hears),
        )
        page, missing = await survey.sessions(question, _place(cursor))
        return _page({"sessions": page.items}, page.after, missing)

    @router.get("/sessions/{id}", summary="One session", response_model=SessionAnswer, responses=_UNKNOWN)
    async def session(caller: Annotated[Principal, requires("/presence/read")], identifier: Annotated[str, Path(alias="id")]) -> Response:
        """One session, and what it subscribed to."""
        found, missing = await survey.find(caller.tenant, identifier)
        if found is None:
            raise _unknown(identifier, missing)
        return respond(found)

    @router.delete("/sessions/{id}", summary="Send a session away", response_model=DisconnectedAnswer, responses=_UNKNOWN)
    async def disconnect(
        caller: Annotated[Principal, requires("/presence/write")], identifier: Annotated[str, Path(alias="id")]
    ) -> Response:
        """End one session. A Bayeux client is told by `/meta/disconnect` and `reconnect: none`, `/ws` is closed with 4403, an event stream
        ends. The credential stays good: to keep a client away that comes back by itself, remove that.
        """
        subject, missing = await survey.disconnect(caller.tenant, identifier)
        if subject is None:
            raise _unknown(identifier, missing)
        _log.info("session_disconnected", tenant=caller.tenant, by=caller.subject, session=identifier, subject=subject)
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
        ended, missing = await survey.disconnect_subject(caller.tenant, subject)
        _log.info("subject_disconnected", tenant=caller.tenant, by=caller.subject, subject=subject, sessions=ended)
        return _page({"disconnected": ended}, None, missing)

    return router


def _page(data: dict[str, Any], after: str | Place | None, missing: Collection[str]) -> Response:
    """The answer with one page; the next page begins after ``after``, which is None on the last page. ``missing``: the nodes that did not
    answer. What they have is not in ``data``.
    """
    if after is not None:
        data["cursor"] = str(after)
    if not missing:
        return respond(data)
    errors = [{"status": status(503, f"{_NODE_MISSING}: {node}", {"node": node})} for node in sorted(missing)]
    return respond(data, code=PARTIAL, message=f"{len(missing)} of the hub's nodes did not answer in time", errors=errors)


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


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    matched = _CURSOR.fullmatch(cursor)
    if matched is None:
        raise ApiError.of_field("cursor", "the cursor of the page before", cursor)
    return Place(matched[1], int(matched[2]))


def _unknown(identifier: str, missing: Collection[str]) -> ApiError:
    if missing:
        (node,) = missing
        return ApiError(503, f"{_NODE_MISSING}: {node}", detail={"node": node}, headers={"Retry-After": _RETRY_AFTER_S})
    return ApiError.of_field("id", "a session of this tenant that is connected", identifier, http_status=404)
