"""Media resources: takes a file from a form, checks its content, keeps it as an object and a row, sends it and removes it."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

import multipart
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from channels.messaging import store_channels, store_media
from channels.messaging.counters import Counters
from channels.messaging.errors import ChannelGoneError, UnknownMediaError, files
from channels.messaging.media_store import MediaStore
from channels.messaging.models import Channel, MediaResource
from channels.messaging.settings import MessagingSettings
from hub.core.field_error import FieldError
from hub.core.ports import Clock
from hub.http.errors import ApiError
from hub.http.file_names import clean_name, disposition
from hub.http.filetypes import FileTypeError, check_file
from hub.objects.folder import is_id, new_id
from hub.objects.store import ObjectNotFoundError
from hub.storage.transactions import Transaction, Transactions

FORM_BYTES: Final = 64 * 1024
"""Bytes that a form may have around its file: boundaries, headers, other fields."""

FIELD: Final = "file"
"""The field of the form that has the file (docs/protocol/messaging.md#media)."""

_MAX_FIELDS: Final = 16


class _Upload(NamedTuple):
    filename: str
    declared: str | None
    content: bytes


class MediaService:
    """The media resources of all channels."""

    __slots__ = ("_clock", "_counters", "_objects", "_settings", "_transactions")

    def __init__(
        self, transactions: Transactions, objects: MediaStore, settings: MessagingSettings, clock: Clock, counters: Counters
    ) -> None:
        self._transactions = transactions
        self._objects = objects
        self._settings = settings
        self._clock = clock
        self._counters = counters

    @property
    def limit(self) -> int:
        """Bytes that a whole form may have."""
        return self._settings.max_media_bytes + FORM_BYTES

    async def store(self, channel: Channel, request: Request, body: bytes) -> MediaResource:
        """Store the file of a form. It is durable when this returns.

        Raises:
            FieldError: it is no such form.
            ApiError: 413 too large, 415 of a type that is not taken or not what was said of it.
            ChannelGoneError: the channel was removed meanwhile.
            MediaUnavailableError: the file could not be written.
            StorageError: the database could not be written; if no row names the file, the sweep removes it.
        """
        upload = await asyncio.to_thread(_read_form, request.headers.get("content-type", ""), body)
        if len(upload.content) > self._settings.max_media_bytes:
            raise ApiError.of_field(FIELD, f"at most {self._settings.max_media_bytes} bytes", len(upload.content), http_status=413)
        try:
            mimetype = await asyncio.to_thread(
                check_file, upload.content, filename=upload.filename, declared=upload.declared, allowed=self._settings.media_types
            )
        except FileTypeError as error:
            raise ApiError.of_field(f"{FIELD}.{error.field}", error.expected, error.got, http_status=415) from None
        resource = MediaResource(new_id(), channel.number, upload.filename, mimetype, len(upload.content), self._clock.wall_ms())
        with files():
            await self._objects.write(resource.id, upload.content)
        try:
            await self._transactions.write(lambda tx: _insert(tx, channel, resource))
        except ChannelGoneError:
            with files():
                await self._objects.remove([resource.id])
            raise
        # after a StorageError nobody knows whether the row is there, if the connection broke while committing: the sweep finds out
        self._counters.media_stored += 1
        return resource

    async def find(self, channel: Channel, identifier: str) -> MediaResource:
        """Find a media resource of a channel.

        Raises:
            UnknownMediaError: there is none.
            StorageError: the database cannot be read.
        """
        found = await self._transactions.read(lambda tx: store_media.find(tx, channel.number, identifier)) if is_id(identifier) else None
        if found is None:
            raise UnknownMediaError(identifier)
        return found

    async def by_link(self, channel: str, identifier: str) -> MediaResource:
        """Find the media resource that a link with a good signature names.

        Raises:
            UnknownMediaError: it was removed since.
            StorageError: the database cannot be read.
        """
        found = await self._transactions.read(lambda tx: store_media.by_link(tx, channel, identifier))
        if found is None:
            raise UnknownMediaError(identifier)
        return found

    async def fetch(self, resource: MediaResource) -> Response:
        """Send the bytes, in pieces, with headers that make a browser save them and run nothing.

        Raises:
            UnknownMediaError: the file is gone.
            MediaUnavailableError: the file cannot be opened.
        """
        with files():
            try:
                pieces = await self._objects.open(resource.id)
            except ObjectNotFoundError:
                raise UnknownMediaError(resource.id) from None

        self._counters.media_fetched += 1
        return StreamingResponse(
            pieces,
            headers={
                "Content-Type": resource.mimetype,
                "Content-Length": str(resource.length),
                "Content-Disposition": disposition(resource.filename),
                "Content-Security-Policy": "default-src 'none'; sandbox",
                "Cache-Control": "private, no-store",
            },
        )

    async def remove(self, channel: Channel, identifier: str) -> MediaResource:
        """Remove a media resource. Links to it answer 404 from then on.

        Raises:
            UnknownMediaError: there is none.
            StorageError: the database cannot be written.
        """
        found = await self.find(channel, identifier)
        if not await self._transactions.write(lambda tx: store_media.remove(tx, identifier)):
            raise UnknownMediaError(identifier)  # another request has removed it meanwhile
        with files():
            await self._objects.remove([identifier])
        self._counters.media_removed += 1
        return found


def _insert(tx: Transaction, channel: Channel, resource: MediaResource) -> None:
    if not store_channels.lock(tx, channel.number):
        raise ChannelGoneError(channel.id)
    store_media.insert(tx, resource)


def _read_form(content_type: str, body: bytes) -> _Upload:
    """The file of a ``multipart/form-data`` body (RFC 7578).

    Raises:
        FieldError: there is none, or more than one.
        ApiError: 415, it is no form.
    """
    kind, options = multipart.parse_options_header(content_type)
    if kind != "multipart/form-data":
        raise ApiError.of_field("Content-Type", "multipart/form-data", content_type or None, http_status=415)
    boundary = options.get("boundary", "")
    if not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise FieldError.of_value("Content-Type", "multipart/form-data with a boundary of 1 to 70 characters", content_type)
    found: list[tuple[multipart.MultipartSegment, list[bytes]]] = []
    pieces: list[bytes] = []
    try:
        with multipart.PushMultipartParser(boundary, content_length=len(body), max_segment_count=_MAX_FIELDS, strict=True) as parser:
            for event in parser.parse(body):
                if isinstance(event, multipart.MultipartSegment):
                    pieces = []
                    if event.name == FIELD and event.filename is not None:
                        found.append((event, pieces))
                elif event is not None:
                    pieces.append(bytes(event))
    except multipart.MultipartError as error:
        raise FieldError.of_value("body", f"a form of multipart/form-data ({error})", f"{len(body)} bytes") from None
    if len(found) != 1:
        raise FieldError.of_value(FIELD, "one file in the form", "nothing" if not found else f"{len(found)} files")
    segment, content = found[0]
    if not any(content):
        raise FieldError.of_value(FIELD, "a file that is not empty", "0 bytes")
    declared = segment.header("Content-Type")
    return _Upload(clean_name(segment.filename, "media"), declared or None, b"".join(content))
