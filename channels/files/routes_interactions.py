"""REST for desktops: the files of an interaction, one file with a link, what may be attached, and deleting."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import Path, Query, Request, Response

from channels.files.arns import Arns
from channels.files.checks import MAX_EXPIRY_S, MIN_EXPIRY_S
from channels.files.schemas import UNAVAILABLE, UNKNOWN, DeletedAnswer, FileAnswer, FilesAnswer, LimitsAnswer
from channels.files.serializers import file_details
from channels.files.service_files import FileService
from channels.files.settings import FilesSettings
from channels.files.state_machine import FileStatus
from hub.core.field_error import FieldError
from hub.core.principal import Principal
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.objects.links import Disposition
from hub.security.hosts import Hosts

MAX_PAGE: Final = 500
"""Files of one page."""

_CURSOR: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)

FileId = Annotated[str, Path(alias="fileId", description="The id of the file.", max_length=256, pattern="^[^\0]*$")]
InteractionId = Annotated[str, Path(alias="interactionId", description="The id of the interaction.", max_length=255, pattern="^[^\0]*$")]
Reader = Annotated[Principal, requires("/files/read")]
Writer = Annotated[Principal, requires("/files/write")]


def create_router(files: FileService, settings: FilesSettings, arns: Arns, hosts: Hosts) -> HubRouter:
    """The routes. ``hosts`` says where clients find the hub."""
    router = HubRouter(prefix="/api/v1", tags=["Files"], responses=UNAVAILABLE)

    @router.get(
        "/interactions/{interactionId:path}/files",
        summary="Files of an interaction",
        response_model=FilesAnswer,
        responses={404: {"description": "The id has a line feed, which no path of the API takes."}},
    )
    async def of_interaction(
        caller: Reader,
        interaction: InteractionId,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Entries of a page.")] = 100,
        cursor: Annotated[str | None, Query(description="`data.cursor` of the page before.", max_length=32)] = None,
    ) -> Response:
        """The files of an interaction, the newest first; none for one that is unknown. What becomes of them is told on the hub's channel
        `/nexus/v3/interactions/{interactionId}/files`.
        """
        if cursor is not None and _CURSOR.fullmatch(cursor) is None:
            raise FieldError.of_value("cursor", "`data.cursor` of the page before", cursor)
        page = await files.of_interaction(caller.tenant, interaction, None if cursor is None else int(cursor), limit)
        data: dict[str, Any] = {"files": [file_details(each, arns) for each in page.files]}
        if page.cursor is not None:
            data["cursor"] = str(page.cursor)
        return respond(data)

    @router.get("/files/limits", summary="What may be attached", response_model=LimitsAnswer)
    async def limits(caller: Reader) -> Response:
        """The bounds of files, for pages that say so before somebody chooses a file."""
        return respond(
            {
                "maxBytes": settings.max_bytes,
                "extensions": list(settings.extensions),
                "chatFiles": settings.chat_files,
                "emailFiles": settings.email_files,
                "resourceFiles": settings.resource_files,
                "resourceBytes": settings.resource_bytes,
                "maxTags": settings.max_tags,
                "scanned": bool(settings.scanner_url),
            }
        )

    @router.get("/files/{fileId}", summary="A file", response_model=FileAnswer, responses=UNKNOWN)
    async def get(
        request: Request,
        caller: Reader,
        identifier: FileId,
        shown: Annotated[
            Disposition, Query(alias="disposition", description="Whether a browser shows the file or saves it.")
        ] = Disposition.ATTACHMENT,
        expiry_s: Annotated[
            int, Query(alias="expiresIn", ge=MIN_EXPIRY_S, le=MAX_EXPIRY_S, description="Seconds that the link lives.")
        ] = MAX_EXPIRY_S,
    ) -> Response:
        """A file, and when it is approved a link to its content."""
        base_url = hosts.base_url(request.scope)
        file = await files.get(caller.tenant, identifier)
        data = file_details(file, arns)
        if file.status is FileStatus.APPROVED:
            url, expires_ms = await files.download_link(file, base_url, expiry_s=expiry_s, disposition=shown)
            data["link"] = {"url": url, "expiresAt": expires_ms}
        return respond(data)

    @router.delete("/files/{fileId}", summary="Delete a file", response_model=DeletedAnswer, responses=UNKNOWN)
    async def delete(caller: Writer, identifier: FileId) -> Response:
        """Delete a file and its content; links to it end."""
        await files.delete(caller.tenant, identifier)
        return respond({"id": identifier})

    return router
