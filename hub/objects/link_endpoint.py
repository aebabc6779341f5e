"""Serves signed links: streams uploads into the store and downloads out of it, never with a whole file in memory
(docs/protocol/files.md#links).

It stands in front of the REST application, as the endpoints of the protocols do, since that reads whole bodies. Errors have the form of S3,
whose clients follow such links.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from email.utils import formatdate
from typing import BinaryIO, Final
from xml.sax.saxutils import escape

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from hub.http.body import PACED, address_of, pieces_of
from hub.http.cors import MAX_AGE
from hub.http.file_names import disposition
from hub.http.security_headers import completing
from hub.http.tracing import access, request_id, trace_id
from hub.objects.conditions import fails, is_known, span_of
from hub.objects.counters import ObjectCounters
from hub.objects.hashing import Hashed, SourceError, hashed
from hub.objects.links import PREFIX, Disposition, FileLink, FileLinks, LinkError, Purpose
from hub.objects.settings import ObjectsSettings
from hub.objects.shares import BusyError, TransferShares
from hub.objects.standstill import Speed, TooSlowError, moving, unsent
from hub.objects.store import (
    ObjectNotFoundError,
    ObjectStore,
    ObjectStoreError,
    Span,
    Stored,
    StoreUnavailableError,
    WrongSizeError,
)
from hub.objects.transfer import Coming, Download, LinkOwner, LinkUsedError, NoRoomError, Outcome, Unsatisfiable, Upload
from hub.security.connections import connection_of
from hub.security.origin import header
from hub.storage.transactions import StorageError

Headers = list[tuple[bytes, bytes]]

RETRY_AFTER_S: Final = 2

ROUTE: Final = f"{PREFIX}{{tenant}}/{{id}}"
"""What stands for a link in the access log: never the link itself, which is a credential."""

_CORS: Final[Headers] = [
    # without credentials: the link is the credential, so any page may use it that has it
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"ETag, Content-Disposition, Content-Range, Accept-Ranges, Retry-After, x-amz-request-id"),
]
_PREFLIGHT: Final[Headers] = [
    *_CORS,
    (b"access-control-allow-methods", b"GET, HEAD, PUT"),
    (b"access-control-allow-headers", b"Content-Type, Range, If-Range, If-Match, If-None-Match, If-Unmodified-Since, X-Requested-With"),
    MAX_AGE,
]
_SAFE: Final[Headers] = [
    # a file is what somebody has uploaded: a browser must run nothing of it
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"cache-control", b"private, no-store"),
]

_log = structlog.get_logger(__name__)


class _Refused(Exception):
    """The answer to a request is an error; ``code`` and text as S3 has them."""

    def __init__(self, status: int, code: str, text: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.headers = headers


class LinkEndpoint:
    """The ASGI application of links."""

    __slots__ = ("_arriving", "_coming", "_counters", "_links", "_owners", "_settings", "_shares", "_store")

    def __init__(
        self,
        links: FileLinks,
        store: ObjectStore,
        owners: Callable[[], Iterable[LinkOwner]],
        settings: ObjectsSettings,
        counters: ObjectCounters,
    ) -> None:
        """``owners`` returns who knows the files of each purpose; it is asked with each request, since families are built later."""
        self._links = links
        self._store = store
        self._owners = owners
        self._settings = settings
        self._counters = counters
        self._shares = TransferShares(settings, counters)
        self._coming: Counter[tuple[str, Purpose]] = Counter()
        """Bytes that uploads under way announced, by tenant and purpose."""
        self._arriving: Counter[tuple[str, Purpose]] = Counter()
        """Uploads under way."""

    @property
    def transfers(self) -> int:
        """Uploads and downloads that are under way."""
        return self._shares.total

    def serves(self, path: str) -> bool:
        """See :meth:`hub.transports.dispatcher.Endpoint.serves`."""
        return path.startswith(PREFIX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        identifier = request_id(scope["headers"])
        answer = _Answer(scope, receive, send, identifier)
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=identifier, trace_id=trace_id(scope["headers"])):
            try:
                await self._respond(scope, receive, answer)
            finally:
                access(scope, answer.status, time.perf_counter() - began, ROUTE)

    async def _respond(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._serve(scope, receive, answer)
        except _Refused as refused:
            await answer.error(refused)
        except ClientDisconnect:
            self._counters.broken += 1
        except NoRoomError as error:
            await answer.error(_Refused(403, "QuotaExceeded", str(error), [_CLOSE]))
        except LinkUsedError as error:
            await answer.error(_Refused(412, "PreconditionFailed", f"{error}: ask for a new link", [_CLOSE]))
        except StorageError:
            await answer.error(_busy(503, "ServiceUnavailable", "the database does not answer: try again"))
        except BusyError as error:
            await answer.error(_busy(503, "SlowDown", str(error)))
        except ObjectStoreError as error:
            self._counters.failed += 1
            code = error.code if isinstance(error, StoreUnavailableError) else type(error).__name__
            _log.warning("object_store_failed", code=code, error=str(error))
            await answer.error(_busy(503, "ServiceUnavailable", "the store does not take or give this file now: try again"))
        except TimeoutError as error:
            self._broken_off(error)
            await answer.error(_Refused(400, "RequestTimeout", "the bytes came too slowly, or not at all: see objects.idle_s", [_CLOSE]))

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        method = scope["method"]
        if method == "OPTIONS":
            await answer.empty(204, _PREFLIGHT)
            return
        if method not in ("GET", "HEAD", "PUT"):
            allow = [(b"allow", b"GET, HEAD, OPTIONS, PUT")]
            raise _Refused(405, "MethodNotAllowed", f"expected GET, HEAD or PUT, got {method[:20]}", allow)
        try:
            raw = scope.get("raw_path") or scope["path"].encode()
            link = self._links.read(method, raw.decode("latin-1"), scope["query_string"].decode("latin-1"))
        except LinkError as error:
            self._counters.refused += 1
            raise _Refused(403, error.code, str(error)) from None
        owner = next((each for each in self._owners() if each.purpose is link.purpose), None)
        if owner is None:
            raise _missing()
        connection = connection_of(scope)
        if connection is not None:
            if not connection.identify(link.tenant):
                raise _busy(503, "SlowDown", "this tenant has its share of the connections: try again")
            connection.admit(anonymous=False, tenant=link.tenant)
        with self._shares.one(link, address_of(scope)):
            if method == "PUT":
                await self._upload(scope, receive, answer, link, owner)
            else:
                await self._download(scope, answer, link, owner)

    def _broken_off(self, error: Exception) -> None:
        self._counters.broken += 1
        if isinstance(error, TooSlowError):
            self._counters.too_slow += 1

    # -- uploads ------------------------------------------------------------------------------------------------------

    async def _upload(self, scope: Scope, receive: Receive, answer: _Answer, link: FileLink, owner: LinkOwner) -> None:
        size = _check_upload(scope, link)
        whose = link.tenant, link.purpose
        self._coming[whose] += size
        self._arriving[whose] += 1
        try:
            await self._take(scope, receive, answer, link, owner, size)
        finally:
            self._coming[whose] -= size
            self._arriving[whose] -= 1
            if not self._arriving[whose]:
                del self._arriving[whose], self._coming[whose]

    async def _take(self, scope: Scope, receive: Receive, answer: _Answer, link: FileLink, owner: LinkOwner, size: int) -> None:
        whose = link.tenant, link.purpose
        upload = await owner.begin(link, Coming(self._arriving[whose], self._coming[whose]))
        if upload is None:
            raise _missing()
        if link.size is None and size > upload.max_bytes:
            raise _Refused(400, "EntityTooLarge", f"Content-Length: expected at most {upload.max_bytes}, got {size}", [_CLOSE])
        scope[PACED] = True
        pieces = self._paced(receive)
        if upload.stored is not None:
            _refuse_other(await _hash(pieces, size), upload.stored)
            await answer.empty(200, [(b"etag", _quoted(upload.stored.md5)), *_CORS])
            return
        try:
            stored = await self._store.put(upload.key, pieces, size, tenant=link.tenant)
        except WrongSizeError as error:
            raise _Refused(400, "IncompleteBody", str(error), [_CLOSE]) from None
        outcome = await self._finish(link, upload, stored, owner)
        if outcome is Outcome.GONE:
            raise _missing()
        if outcome is Outcome.OTHER:
            raise _taken()
        self._counters.uploaded += 1
        self._counters.bytes_in += stored.size
        await answer.empty(200, [(b"etag", _quoted(stored.md5)), *_CORS])

    async def _finish(self, link: FileLink, upload: Upload, stored: Stored, owner: LinkOwner) -> Outcome:
        """Let the owner note the upload; if it is not kept, its object is deleted."""
        try:
            outcome = await owner.finish(link, upload, stored)
        except (NoRoomError, LinkUsedError):
            await self._store.delete([upload.key])
            raise
        if outcome is not Outcome.KEPT:
            await self._store.delete([upload.key])
        return outcome

    async def _paced(self, receive: Receive) -> AsyncIterator[bytes]:
        """The pieces of a body.

        Raises:
            TimeoutError: none came for ``idle_s`` seconds.
            TooSlowError: they come more slowly than ``min_bytes_per_s``, which keeps others out.
            ClientDisconnect: the client has gone before the end.
        """
        pieces = pieces_of(receive)
        idle_s, min_bytes_per_s = self._settings.idle_s, self._settings.min_bytes_per_s
        now = asyncio.get_running_loop().time
        began, size = now(), 0
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    came = [await anext(pieces)]
            except StopAsyncIteration:
                return
            size += len(came[0])
            lasted = now() - began
            if lasted > idle_s and size < min_bytes_per_s * lasted:
                raise TooSlowError
            yield came.pop()  # not kept here until the next one comes: it may have 256 KiB

    # -- downloads ----------------------------------------------------------------------------------------------------

    async def _download(self, scope: Scope, answer: _Answer, link: FileLink, owner: LinkOwner) -> None:
        before = None
        for _ in range(_FINDS):
            file = await owner.find(link)
            if file is None:
                raise _missing()
            if file.key == before:
                _log.error("object_missing", key=file.key)
                self._counters.failed += 1
                raise _missing()
            try:
                await self._answer(scope, answer, link, file)
                return
            except ObjectNotFoundError:
                before = file.key  # another upload may have taken its place since the owner was asked
        raise _busy(503, "SlowDown", "the file is replaced again and again: try again")

    async def _answer(self, scope: Scope, answer: _Answer, link: FileLink, file: Download) -> None:
        """Answer with a file.

        Raises:
            ObjectNotFoundError: its object is not there; nothing was answered.
        """
        etag = _quoted(file.etag)
        headers = [*_file_headers(file, link), (b"etag", etag)]
        if fails(scope, file):
            raise _Refused(412, "PreconditionFailed", "If-Match, If-Unmodified-Since: the file is another one by now")
        if is_known(scope, file):
            await answer.empty(304, [*headers, *_CORS])
            return
        try:
            span = span_of(scope, file)
        except Unsatisfiable:
            size = [(b"content-range", b"bytes */%d" % file.size)]
            raise _Refused(416, "InvalidRange", f"Range: expected a part of {file.size} bytes", size) from None
        status, length = 200, file.size
        if span is not None:
            status, length = 206, span.end - span.start
            headers.append((b"content-range", b"bytes %d-%d/%d" % (span.start, span.end - 1, file.size)))
        if scope["method"] == "HEAD":
            await answer.start(status, length, headers)
            await answer.piece(b"", more=False)
            return
        address = address_of(scope)
        speed = Speed(lambda: self._shares.min_bytes_per_s(link, address), self._settings.idle_s)
        await self._send(answer, file, span, status, length, headers, speed)

    async def _send(
        self, answer: _Answer, file: Download, span: Span | None, status: int, length: int, headers: Headers, speed: Speed
    ) -> None:
        opened = await self._store.open_file(file.key) if answer.sends_files and length else None
        pieces = await self._store.get(file.key, span) if opened is None else None
        try:
            await answer.start(status, length, headers)
            if opened is not None:
                async with moving(answer.unsent, length, self._settings.idle_s, speed):
                    await answer.file(opened, 0 if span is None else span.start, length)
                sent = length
            elif pieces is not None:
                sent = await self._send_pieces(answer, pieces, length, speed)
        except ConnectionError:  # the client has gone
            self._counters.broken += 1
            return
        except (ObjectStoreError, OSError) as error:  # a time limit is an OSError, too
            # the answer has begun: only a broken connection can tell that it is not whole
            self._broken_off(error)
            if not isinstance(error, TimeoutError):
                _log.warning("object_broken_off", key=file.key, error=str(error))
            await answer.abort()
            return
        finally:
            if opened is not None:
                opened.close()
            if pieces is not None:
                await pieces.aclose()  # type: ignore[attr-defined] # every store yields from a generator
        self._counters.downloaded += 1
        self._counters.bytes_out += sent

    async def _send_pieces(self, answer: _Answer, pieces: AsyncIterator[bytes], length: int, speed: Speed) -> int:
        """Send a body. Returns how many bytes it had.

        Raises:
            ConnectionError: the client has gone.
        """
        sent = 0
        async for piece in pieces:
            sent += len(piece)
            if answer.gone:  # the server drops what is sent to nobody
                raise ConnectionResetError("the client has gone")
            async with moving(answer.unsent, len(piece), self._settings.idle_s, speed):
                await answer.piece(piece, more=sent < length)
        if sent < length or not length:
            await answer.piece(b"", more=False)  # shorter than it should be: the server closes the connection
        return sent


class _Answer:
    """The answer to one request."""

    __slots__ = ("_begun", "_identifier", "_receive", "_scope", "_send", "_server", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, identifier: str) -> None:
        """``identifier`` is that of the request, which every answer has and the access log, too."""
        self.status = 0
        """0: nothing was answered."""
        self._scope = scope
        self._receive = receive
        self._identifier = identifier
        self._server = getattr(send, "__self__", None)
        self._send = completing(send)
        self._begun = False

    async def start(self, status: int, length: int | None, headers: Headers) -> None:
        sized = [] if length is None else [(b"content-length", b"%d" % length)]
        await self._start(status, [*headers, *sized, *_CORS])

    @property
    def gone(self) -> bool:
        """Whether the client has closed the connection, as far as the server knows."""
        return bool(getattr(self._server, "disconnected", False))

    @property
    def sends_files(self) -> bool:
        """Whether the server sends files without the bytes going through this process; see :mod:`hub.transports.file_sending`."""
        return _ZERO_COPY in (self._scope.get("extensions") or ())

    async def file(self, opened: BinaryIO, start: int, count: int) -> None:
        """Send a part of a file as the whole body.

        Raises:
            ConnectionError: the client has gone.
            OSError: the file cannot be read.
        """
        await self._send({"type": _ZERO_COPY, "file": opened, "offset": start, "count": count, "more_body": False})

    async def piece(self, content: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": content, "more_body": more})

    async def empty(self, status: int, headers: Headers) -> None:
        sized = [] if status in (204, 304) else [(b"content-length", b"0")]
        await self._start(status, [*headers, *sized])
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, headers: Headers) -> None:
        self._begun = True
        self.status = status
        told = [*headers, (b"x-amz-request-id", self._identifier.encode("ascii"))]
        await self._send({"type": "http.response.start", "status": status, "headers": told})

    async def error(self, refused: _Refused) -> None:
        """Answer with an error, in the form of S3; if the answer has begun, break it off."""
        if self._begun:
            await self.abort()
            return
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{refused.code}</Code><Message>{escape(str(refused))}</Message>'
            f"<RequestId>{self._identifier}</RequestId></Error>"
        )
        body = b"" if self._scope["method"] == "HEAD" else text.encode("utf-8", "replace")
        headers = [(b"content-type", b"application/xml"), *_SAFE, *refused.headers]
        try:
            await self.start(refused.status, len(text.encode("utf-8", "replace")), headers)
            await self.piece(body, more=False)
        except OSError:
            _log.debug("link_client_gone")

    def unsent(self) -> int:
        """Bytes of the connection that the client has not got."""
        transport = getattr(self._server, "transport", None)
        left: int = getattr(self._server, "file_left", 0)
        return 0 if transport is None else left + unsent(transport)

    async def abort(self) -> None:
        """Break the connection off, so that the client sees that the answer is not whole."""
        transport = getattr(self._server, "transport", None)
        if transport is None:
            return
        transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(
                _ABORTED_S
            ):  # until the server knows it: else it logs an answer that was left unfinished as an error
                while (await self._receive())["type"] != "http.disconnect":
                    pass


_ABORTED_S: Final = 5
_FINDS: Final = 5
"""Times that the owner is asked for a file which others replace meanwhile."""
_ZERO_COPY: Final = "http.response.zerocopysend"
_CLOSE: Final = (b"connection", b"close")
_LENGTH: Final = re.compile(rb"0|[1-9]\d{0,15}", re.ASCII)


def _check_upload(scope: Scope, link: FileLink) -> int:
    """Check the headers of an upload, before anything of it is read. Returns how many bytes it has."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    expected = "the number of bytes" if link.size is None else f"{link.size}"
    if not lengths or any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        raise _Refused(411, "MissingContentLength", f"Content-Length: expected {expected}, got none", [_CLOSE])
    if link.size is None:
        sized = len(set(lengths)) == 1 and _LENGTH.fullmatch(lengths[0]) is not None
    else:
        sized = lengths == [b"%d" % link.size]
    if not sized:
        got = lengths[0].decode("latin-1")[:20]
        raise _Refused(400, "IncompleteBody", f"Content-Length: expected {expected}, as the link says, got {got}", [_CLOSE])
    if header(scope, b"content-encoding") not in (None, "identity"):
        raise _Refused(400, "InvalidRequest", "Content-Encoding: expected none", [_CLOSE])
    for name in ("Content-Range", "If-Match", "If-None-Match", "If-Unmodified-Since"):
        if header(scope, name.lower().encode()) is not None:
            raise _Refused(501, "NotImplemented", f"{name}: expected none: an upload is a whole file, without conditions", [_CLOSE])
    got_type = header(scope, b"content-type") or ""
    if link.content_type and got_type.lower() != link.content_type.lower():
        shown = got_type[:100] or "none"
        raise _Refused(403, "SignatureDoesNotMatch", f"Content-Type: expected {link.content_type}, as the link says, got {shown}", [_CLOSE])
    return int(lengths[0])


async def _hash(pieces: AsyncIterator[bytes], size: int) -> Stored:
    through = Hashed(size)
    try:
        async for _ in hashed(pieces, through):
            pass
    except SourceError as error:
        raise error.error from None
    except WrongSizeError as error:
        raise _Refused(400, "IncompleteBody", str(error), [_CLOSE]) from None
    return through.finish()


def _refuse_other(stored: Stored, before: Stored) -> None:
    """Refuse an upload of other bytes than a file has already; browsers repeat requests, so the same ones are taken."""
    if stored != before:
        raise _taken()


def _file_headers(file: Download, link: FileLink) -> Headers:
    inline = link.disposition is Disposition.INLINE
    return [
        (b"content-type", file.content_type.encode("latin-1", "replace")),
        (b"content-disposition", disposition(file.name, inline=inline).encode("latin-1", "replace")),
        (b"accept-ranges", b"bytes"),
        (b"last-modified", formatdate(file.modified_ms / 1000, usegmt=True).encode()),
        *_SAFE,
    ]


def _quoted(etag: str) -> bytes:
    return f'"{etag}"'.encode()


def _missing() -> _Refused:
    return _Refused(404, "NoSuchKey", "there is no such file", [_CLOSE])


def _taken() -> _Refused:
    return _Refused(412, "PreconditionFailed", "other bytes were uploaded by this link: ask for a new file")


def _busy(status: int, code: str, text: str) -> _Refused:
    return _Refused(status, code, text, [(b"retry-after", b"%d" % RETRY_AFTER_S), _CLOSE])
