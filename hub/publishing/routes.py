"""REST: ``POST /api/v1/publish`` (docs/publishing.md)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Request, Response

from hub.core.errors import RefusedError, WireError
from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.core.time_slice import TimeSlice
from hub.http.body import GZIP, RETRY_AFTER, apart, content_encoding, read_body, takes
from hub.http.envelope import PARTIAL, status
from hub.http.errors import ApiError
from hub.http.inflate import inflate
from hub.http.permits import requires
from hub.http.responses import NO_STORE, respond
from hub.http.routing import HubRouter
from hub.publishing.recent_ids import WINDOW_S, Answer, OtherContentError
from hub.publishing.requests import Publication, parse, split
from hub.publishing.schemas import ANSWERS, REQUEST
from hub.publishing.service import Outcome, PublishService

OPERATION: Final = "/publish/write"

_STATUS: Final = {WireError.CHANNEL_INVALID: 400, WireError.PUBLISH_DENIED: 403, WireError.UNAVAILABLE: 503}


def create_router(publisher: PublishService) -> HubRouter:
    """Make the route."""
    router = HubRouter(prefix="/api/v1", tags=["Publishing"], responses=ANSWERS)

    @router.post("/publish", summary="Publish messages", openapi_extra={"requestBody": REQUEST})
    @takes(lambda limits: limits.max_publish_bytes)
    async def publish(request: Request, caller: Annotated[Principal, requires(OPERATION)]) -> Response:
        """Publish to subscribers of every kind. The caller's roles must grant each channel as they must over Bayeux; each message of a list
        is taken or refused for itself, and those of one channel arrive in their order.
        """
        limits: Limits = request.app.state.limits
        time_slice = TimeSlice(publisher.clock, publisher.loop)
        body = await read_body(request, limits.max_publish_bytes, GZIP)
        if content_encoding(request, GZIP) == GZIP:
            body = await inflate(request, body, limits.max_publish_bytes, time_slice.checkpoint)
        texts, as_list = await apart(len(body), lambda: split(body, limits))
        items = []
        for text in texts:
            items.append(parse(text, limits))
            await time_slice.checkpoint()
        published = iter(await publisher.publish(caller, [item for item in items if isinstance(item, Publication)]))
        outcomes = [item if isinstance(item, ApiError) else _outcome(next(published)) for item in items]
        return _of_list(outcomes) if as_list else _of_one(outcomes[0])

    return router


def _outcome(outcome: Outcome) -> Answer | ApiError:
    """The result of one message; an error is converted to the form of the API."""
    if isinstance(outcome, RefusedError):
        return _refusal(outcome)
    if isinstance(outcome, OtherContentError):
        expected = f"another id, or the message that had it within the last {WINDOW_S // 60} minutes"
        return ApiError.of_field("id", expected, str(outcome), http_status=409)
    return outcome


def _refusal(refused: RefusedError) -> ApiError:
    status = _STATUS[refused.error]
    headers = RETRY_AFTER if status == 503 else None
    expected = {400: "a channel that can be published to", 403: "a channel that this credential may publish on", 503: "a log"}[status]
    got = refused.channel if status != 503 else "a fault of it"
    detail = {"field": "channel", "expected": expected, "got": got}
    return ApiError(status, f"channel: {refused.detail}", detail=detail, headers=headers)


def _result(outcome: Answer | ApiError) -> dict[str, Any]:
    if isinstance(outcome, ApiError):
        return {"status": status(outcome.code, outcome.message, outcome.detail)}
    return {} if outcome is None else {"position": outcome}


def _of_one(outcome: Answer | ApiError) -> Response:
    if isinstance(outcome, ApiError):
        raise outcome
    return respond(_result(outcome))


def _of_list(outcomes: list[Answer | ApiError]) -> Response:
    """Answer a list: 200 if at least one message was published; else the status that all errors have in common, or 400."""
    refused = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    data = [_result(outcome) for outcome in outcomes]
    if not refused:
        return respond(data)
    message = f"{len(refused)} of {len(outcomes)} messages were not published"
    if len(refused) < len(outcomes):
        return respond(data, code=PARTIAL, message=message)
    codes = {outcome.http_status for outcome in refused}
    code = codes.pop() if len(codes) == 1 else 400
    headers = {**NO_STORE, **(refused[0].headers or {})} if code == 503 else NO_STORE
    return respond(data, code=code, message=message, http_status=code, headers=headers)
