"""REST: Alvaria's API of object keys, versions 2 and 3 (docs/protocol/media-storage.md#calls)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from fastapi import Depends, Path, Query, Request, Response

from channels.media_storage.errors import UnknownOrganisationError
from channels.media_storage.keys import check_key, is_folder, of_token, operation_of
from channels.media_storage.schemas import ERRORS, Deleted, DownloadKey, LinkedKey2, ObjectKeys2, ObjectKeys3, UploadKey
from channels.media_storage.serializers import V2, V3, deleted_body, linked_body, listing_body
from channels.media_storage.service import Kind, MediaService
from hub.core.principal import Principal
from hub.http.permits import authenticated, permit
from hub.http.responses import NO_STORE, EnvelopeResponse
from hub.http.routing import HubRouter
from hub.objects.instances import is_tenant
from hub.security.hosts import Hosts

BASE: Final = "/organizations/{orgId}/mediaStorage/data"

MAX_PAGE: Final = 1_000
"""Items of one page."""


class KeyType2(StrEnum):
    """``keyType`` of version 2."""

    FILE = "file"
    DIRECTORY = "directory"
    BOTH = "file:directory"
    UPLOAD = "signedUploadUrl"
    DOWNLOAD = "signedDownloadUrl"
    NATIVE_UPLOAD = "nativeSignedUploadUrl"
    NATIVE_DOWNLOAD = "nativeSignedDownloadUrl"


_UPLOADS: Final = {KeyType2.UPLOAD, KeyType2.NATIVE_UPLOAD}
_DOWNLOADS: Final = {KeyType2.DOWNLOAD, KeyType2.NATIVE_DOWNLOAD}


def _member(
    org: Annotated[str, Path(alias="orgId", description="The tenant's name, or its id.", max_length=64)],
    caller: Annotated[Principal, authenticated()],
) -> Principal:
    """Who calls, for its own organisation. Another one is refused before any parameter is looked at."""
    if not is_tenant(org, caller.tenant):
        raise UnknownOrganisationError(org)
    return caller


Member = Annotated[Principal, Depends(_member)]
Key = Annotated[str, Query(description="The path of a file, or with a slash at its end that of a folder.")]
FileKey = Annotated[str, Query(description="The path of a file.")]
Most = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of a page, at most.")]
Token = Annotated[str | None, Query(description="From the page before.")]


class _Calls:
    """What the routes do."""

    __slots__ = ("_hosts", "_media")

    def __init__(self, media: MediaService, hosts: Hosts) -> None:
        self._media = media
        self._hosts = hosts

    async def listing(
        self, request: Request, caller: Principal, key: str, kind: Kind, most: int, token: tuple[str, str | None], version: int
    ) -> Response:
        """A page of a listing; ``token`` is its name and what was given."""
        folder = check_key(key)
        if is_folder(key) and not key.endswith("/"):
            folder = f"{key}/"
        operation = operation_of(folder)
        await permit(request.app.state.gate, request.scope, operation)
        if folder.endswith("/") and kind is not Kind.BOTH:
            # it shows names of all folders below: whoever may not use one of them may not see them
            await permit(request.app.state.gate, request.scope, f"{operation}/**")
        start = "" if token[1] is None else of_token(token[0], token[1], folder)
        body = await self._media.listing(
            caller.tenant,
            folder,
            kind,
            version=version,
            start=start,
            limit=most,
            counted=version != V2,
            render=lambda found: listing_body(found, version, tree=kind is Kind.DIRECTORY),
        )
        return Response(body, media_type="application/json", headers=NO_STORE)

    async def link(self, request: Request, caller: Principal, key: str, version: int, *, upload: bool) -> Response:
        """A file with its links."""
        await permit(request.app.state.gate, request.scope, operation_of(check_key(key)))
        make = self._media.upload_link if upload else self._media.download_link
        linked = await make(caller.tenant, key, self._hosts.base_url(request.scope))
        return EnvelopeResponse(linked_body(linked, version), headers=NO_STORE)

    async def delete(self, request: Request, caller: Principal, key: str) -> None:
        """Delete a file."""
        await permit(request.app.state.gate, request.scope, operation_of(check_key(key)))
        await self._media.delete(caller.tenant, key)


def create_router(media: MediaService, hosts: Hosts) -> HubRouter:
    """The routes of both versions."""
    router = HubRouter(prefix="/via", tags=["media storage"], responses=ERRORS)
    calls = _Calls(media, hosts)

    @router.get(f"/v2{BASE}/objectKeys", summary="Files, folders or a link (version 2)", response_model=ObjectKeys2 | LinkedKey2)
    async def object_keys_2(
        request: Request,
        caller: Member,
        key: Key,
        keyType: Annotated[KeyType2, Query(description="What to list, or which link to give.")],
        maxResults: Most = MAX_PAGE,
        continuationToken: Token = None,
    ) -> Response:
        """List files or folders, or give a signed link to a file."""
        if keyType in _UPLOADS or keyType in _DOWNLOADS:
            return await calls.link(request, caller, key, V2, upload=keyType in _UPLOADS)
        return await calls.listing(request, caller, key, Kind(keyType.value), maxResults, ("continuationToken", continuationToken), V2)

    @router.delete(f"/v2{BASE}/objectKeys", summary="Delete a file (version 2)", status_code=204)
    async def delete_object_key_2(request: Request, caller: Member, key: FileKey) -> Response:
        """Delete a file."""
        await calls.delete(request, caller, key)
        return Response(status_code=204, headers=NO_STORE)

    @router.get(f"/v3{BASE}/objectKeys", summary="Files or folders (version 3)", response_model=ObjectKeys3)
    async def object_keys_3(
        request: Request,
        caller: Member,
        key: Key,
        keyType: Annotated[Kind, Query(description="What to list.")],
        maxResults: Most = MAX_PAGE,
        nextToken: Token = None,
    ) -> Response:
        """List files or folders."""
        return await calls.listing(request, caller, key, keyType, maxResults, ("nextToken", nextToken), V3)

    @router.delete(f"/v3{BASE}/objectKeys", summary="Delete a file (version 3)", response_model=Deleted)
    async def delete_object_key_3(request: Request, caller: Member, key: FileKey) -> Response:
        """Delete a file."""
        await calls.delete(request, caller, key)
        return EnvelopeResponse(deleted_body(key), headers=NO_STORE)

    @router.get(f"/v3{BASE}/signedUploadUrl", summary="A link for an upload (version 3)", response_model=UploadKey)
    async def signed_upload_url(request: Request, caller: Member, key: FileKey) -> Response:
        """Give a link by which a file can be uploaded below `imports/`."""
        return await calls.link(request, caller, key, V3, upload=True)

    @router.get(f"/v3{BASE}/signedDownloadUrl", summary="A link for a download (version 3)", response_model=DownloadKey)
    async def signed_download_url(request: Request, caller: Member, key: FileKey) -> Response:
        """Give a link by which a file can be downloaded."""
        return await calls.link(request, caller, key, V3, upload=False)

    return router
