"""REST: the five calls of Amazon Connect for files that are attached to a resource (docs/protocol/attached-files.md)."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final

from fastapi import Path, Query, Request, Response
from starlette.types import Scope

from channels.files.amazon_errors import REQUEST_ID, id_of
from channels.files.arns import Arns, agent_of, check_arn, check_instance, contact_of
from channels.files.connect_route import SERVICE, ConnectRoute
from channels.files.models import Call, NewFile
from channels.files.schemas_attached import (
    ANSWERS,
    MAX_BODY_BYTES,
    MAX_ID,
    MAX_INSTANCE,
    STARTED_ANSWERS,
    Batch,
    BatchGet,
    Creator,
    Got,
    Nothing,
    Started,
    StartUpload,
)
from channels.files.serializers_attached import USE_CASE, batch, started, with_link
from channels.files.service_files import FileService
from channels.files.state_machine import State
from hub.core.field_error import FieldError
from hub.core.json_text import show
from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.http.body import apart, check_announced, read_body, takes
from hub.http.errors import ApiError
from hub.http.fast_routes import FastRoute, FrameworkAnswersError
from hub.http.permits import requires
from hub.http.read_model import parse_model
from hub.http.responses import NO_STORE, EnvelopeResponse
from hub.http.routing import HubRouter
from hub.http.signed_route import SIGNED
from hub.objects.links import Disposition
from hub.security.hosts import Hosts

DEFAULT_EXPIRY_S: Final = 300
MIN_EXPIRY_S: Final = 5
_ROOT: Final = "/attached-files"
_ARN: Final = "associatedResourceArn"
_USUAL: Final = re.compile(rb"associatedResourceArn=[^&=]+")
"""The query of a call that names a resource and nothing else."""

Reader = Annotated[Principal, requires("/files/read")]
Writer = Annotated[Principal, requires("/files/write")]
InstanceId = Annotated[str, Path(alias="InstanceId", max_length=MAX_INSTANCE, description="The instance id of the tenant, or its name.")]
FileId = Annotated[str, Path(alias="FileId", max_length=MAX_ID, description="The id of the file.")]
ResourceArn = Annotated[str, Query(alias=_ARN, description="To what the files belong: any ARN.")]
Expiry = Annotated[
    int, Query(alias="urlExpiryInSeconds", ge=MIN_EXPIRY_S, le=DEFAULT_EXPIRY_S, description="For how long the link is good, in seconds.")
]
Shown = Annotated[str, Query(alias="urlContentDisposition", description="`INLINE` or `ATTACHMENT`.")]


class AttachedCalls:
    """What the calls do, whichever way they come: by the framework or by a fast route."""

    __slots__ = ("_arns", "_files", "_hosts")

    def __init__(self, files: FileService, arns: Arns, hosts: Hosts) -> None:
        """``hosts`` gives the base URL of links."""
        self._files = files
        self._arns = arns
        self._hosts = hosts

    async def start(self, request: Request, caller: Principal, instance: str, resource: str, body: StartUpload) -> Response:
        """Announce a file, and get a link to upload its bytes by."""
        check_instance(instance, caller.tenant)
        created_by, creator = _created_by(body.CreatedBy, caller, self._arns)
        new = NewFile(
            tenant=caller.tenant,
            call=Call.ATTACHED,
            resource=check_arn("AssociatedResourceArn", resource),
            interaction_id=contact_of(resource, caller.tenant),
            name=body.FileName,
            size=body.FileSizeInBytes,
            content_type="",
            created_by=created_by,
            creator=creator,
            tags=body.Tags or {},
            client_token=body.ClientToken,
            url_expiry_s=DEFAULT_EXPIRY_S if body.UrlExpiryInSeconds is None else body.UrlExpiryInSeconds,
        )
        if body.FileUseCaseType != USE_CASE:
            raise FieldError("FileUseCaseType", USE_CASE, show(body.FileUseCaseType))
        file, link = await self._files.start(new, self._hosts.base_url(request.scope))
        return _answer(request, started(file, link, self._arns))

    async def complete(self, request: Request, caller: Principal, instance: str, identifier: str, resource: str) -> Response:
        """Say that the bytes were uploaded."""
        check_instance(instance, caller.tenant)
        checked = check_arn("AssociatedResourceArn", resource)
        await self._files.complete(caller.tenant, identifier, call=Call.ATTACHED, resource=checked, client_token=None)
        return _answer(request, {})

    async def get(
        self,
        request: Request,
        caller: Principal,
        instance: str,
        identifier: str,
        resource: str,
        expiry_s: int = DEFAULT_EXPIRY_S,
        shown: str = Disposition.ATTACHMENT.name,
    ) -> Response:
        """Look at a file; if it is approved, with a link to download it by."""
        check_instance(instance, caller.tenant)
        if shown not in Disposition.__members__:
            raise FieldError("UrlContentDisposition", " or ".join(Disposition.__members__), show(shown))
        file = await self._files.get(caller.tenant, identifier, resource=check_arn("AssociatedResourceArn", resource))
        link = None
        if file.state is State.APPROVED:
            base_url = self._hosts.base_url(request.scope)
            link = await self._files.download_link(file, base_url, expiry_s=expiry_s, disposition=Disposition[shown])
        return _answer(request, with_link(file, self._arns, link))


def create_attached_fast_routes(calls: AttachedCalls, limits: Limits) -> list[FastRoute]:
    """The fast routes: start, complete and get, as Amazon's clients send them. The framework has the rest, and bodies that are wrong."""

    @takes(MAX_BODY_BYTES)
    async def start(request: Request, caller: Principal, instance: str) -> Response:
        check_announced(request, MAX_BODY_BYTES)
        body = await read_body(request, MAX_BODY_BYTES)
        try:
            new = await apart(len(body), lambda: parse_model(StartUpload, body, limits))
        except (ApiError, FieldError):
            raise FrameworkAnswersError(body) from None
        return await calls.start(request, caller, instance, request.query_params[_ARN], new)

    async def complete(request: Request, caller: Principal, instance: str, identifier: str) -> Response:
        check_announced(request, limits.max_rest_body_bytes)
        return await calls.complete(request, caller, instance, identifier, request.query_params[_ARN])

    async def get(request: Request, caller: Principal, instance: str, identifier: str) -> Response:
        return await calls.get(request, caller, instance, identifier, request.query_params[_ARN])

    def announces(scope: Scope) -> bool:
        return _is_usual(scope) and [value for name, value in scope["headers"] if name == b"content-type"] == [b"application/json"]

    of_file = f"{_ROOT}/{{InstanceId}}/{{FileId}}"
    return [
        FastRoute("PUT", f"{_ROOT}/{{InstanceId}}", "/files/write", start, announces, SERVICE),
        FastRoute("POST", of_file, "/files/write", complete, _is_usual, SERVICE),
        FastRoute("GET", of_file, "/files/read", get, _is_usual, SERVICE),
    ]


def _is_usual(scope: Scope) -> bool:
    """Whether a request names a resource and nothing else, and an instance and a file as they are: an id may have a slash."""
    return _USUAL.fullmatch(scope["query_string"]) is not None and b"%" not in scope["raw_path"]


def create_attached_router(calls: AttachedCalls, files: FileService, arns: Arns) -> HubRouter:
    """The routes."""
    router = HubRouter(prefix=_ROOT, tags=["Attached files"], responses=ANSWERS, route_class=ConnectRoute)

    @router.put("/{InstanceId}", summary="Attach a file", response_model=Started, responses=STARTED_ANSWERS, openapi_extra=SIGNED)
    @takes(MAX_BODY_BYTES)
    async def start_attached_file_upload(
        request: Request, caller: Writer, instance_id: InstanceId, resource: ResourceArn, body: StartUpload
    ) -> Response:
        """Announce a file, and get a link to upload its bytes by (StartAttachedFileUpload)."""
        return await calls.start(request, caller, instance_id, resource, body)

    @router.post(
        "/{InstanceId}", summary="Look at attached files", response_model=Batch, response_model_exclude_none=True, openapi_extra=SIGNED
    )
    @takes(MAX_BODY_BYTES)
    async def batch_get_attached_file_metadata(
        request: Request, caller: Reader, instance_id: InstanceId, resource: ResourceArn, body: BatchGet
    ) -> Response:
        """Look at several files of one resource (BatchGetAttachedFileMetadata)."""
        check_instance(instance_id, caller.tenant)
        found, missing = await files.batch(caller.tenant, check_arn("AssociatedResourceArn", resource), body.FileIds)
        return _answer(request, batch(found, missing, arns))

    @router.post("/{InstanceId}/{FileId}", summary="Complete an upload", response_model=Nothing, openapi_extra=SIGNED)
    async def complete_attached_file_upload(
        request: Request, caller: Writer, instance_id: InstanceId, file_id: FileId, resource: ResourceArn
    ) -> Response:
        """Say that the bytes were uploaded; the content is checked (CompleteAttachedFileUpload)."""
        return await calls.complete(request, caller, instance_id, file_id, resource)

    @router.get(
        "/{InstanceId}/{FileId}", summary="Get an attached file", response_model=Got, response_model_exclude_none=True, openapi_extra=SIGNED
    )
    async def get_attached_file(
        request: Request,
        caller: Reader,
        instance_id: InstanceId,
        file_id: FileId,
        resource: ResourceArn,
        expiry: Expiry = DEFAULT_EXPIRY_S,
        shown: Shown = Disposition.ATTACHMENT.name,
    ) -> Response:
        """Look at a file; if it is approved, with a link to download it by (GetAttachedFile)."""
        return await calls.get(request, caller, instance_id, file_id, resource, expiry, shown)

    @router.delete("/{InstanceId}/{FileId}", summary="Delete an attached file", response_model=Nothing, openapi_extra=SIGNED)
    async def delete_attached_file(
        request: Request, caller: Writer, instance_id: InstanceId, file_id: FileId, resource: ResourceArn
    ) -> Response:
        """Delete a file and its bytes (DeleteAttachedFile)."""
        check_instance(instance_id, caller.tenant)
        await files.delete(caller.tenant, file_id, resource=check_arn("AssociatedResourceArn", resource))
        return _answer(request, {})

    return router


def _answer(request: Request, content: dict[str, Any]) -> Response:
    return EnvelopeResponse(content, 200, {**NO_STORE, REQUEST_ID: id_of(request.scope)})


def _created_by(given: Creator | None, caller: Principal, arns: Arns) -> tuple[str, str | None]:
    """Who creates a file, as JSON, and that person's id: the agent whom the client names, else the caller."""
    if given is None:
        return json.dumps({"AWSIdentityArn": arns.caller(caller)}), caller.subject
    if given.AWSIdentityArn is not None:
        raise FieldError("CreatedBy.AWSIdentityArn", "nothing: it is that of the caller", show(given.AWSIdentityArn))
    if given.ConnectUserArn is None:
        raise FieldError("CreatedBy", "ConnectUserArn", "nothing")
    arn = check_arn("CreatedBy.ConnectUserArn", given.ConnectUserArn)
    return json.dumps({"ConnectUserArn": arn}), agent_of(arn)
