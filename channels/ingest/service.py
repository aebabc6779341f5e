"""Serves requests with events: reads a body, splits it into events and checks them, in time slices of the event loop."""

import codecs
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request

from channels.events import ACCEPTED, DUPLICATE, Event, EventSink, format_time
from channels.ingest.binary_mode import is_binary, is_json, of_headers, structured
from channels.ingest.cloudevents import EventError, parse_event, split_document, split_lines
from channels.ingest.counters import Counters
from channels.ingest.settings import IngestSettings
from hub.core.json_text import show
from hub.core.ports import Clock, Loop
from hub.core.time_slice import TimeSlice
from hub.http.body import GZIP, content_encoding, read_body
from hub.http.envelope import status
from hub.http.errors import ApiError
from hub.http.inflate import inflate

ONE: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
LINES: Final = "application/x-ndjson"
LINE_TYPES: Final = (LINES, "application/ndjson", "application/jsonl")
"""The three content types of one format."""
PLAIN: Final = "application/json"
STRUCTURED: Final = (ONE, BATCH, *LINE_TYPES)
"""Content types that state how the body contains events, with or without ``ce-`` headers."""
CONTENT_TYPES: Final = (*STRUCTURED, PLAIN)
"""Content types that are accepted; ``application/json`` is one event, an array, or the data of an event whose attributes are headers."""
BINARY: Final = "binary"
"""The binary content mode, :mod:`channels.ingest.binary_mode`: any JSON content type, or none, with ``ce-`` headers."""

_UTF8_AT_ONCE = 256 * 1024


class Outcome(NamedTuple):
    """The outcome of one request with events."""

    accepted: int
    duplicates: int
    failures: list[dict[str, Any]]
    """One for each event that was refused: its ``index``, and the ``status`` with the reason."""
    events: int
    """The number of events in the request."""


class Ingest:
    """Takes the events of a request: it reads, splits and checks the body, in slices, and passes the events to the sink."""

    __slots__ = ("_clock", "_counters", "_loop", "_settings", "_sink")

    def __init__(self, *, sink: EventSink, counters: Counters, settings: IngestSettings, clock: Clock, loop: Loop) -> None:
        self._sink = sink
        self._counters = counters
        self._settings = settings
        self._clock = clock
        self._loop = loop

    @property
    def max_body_bytes(self) -> int:
        """The largest body of a request, in bytes."""
        return self._settings.max_body_bytes

    async def post(self, request: Request, tenant: str, *, past: bool = False) -> Outcome:
        """Take the events of a request for a tenant; with ``past`` the limit on their age does not apply.

        Raises:
            ApiError: 413, the body has too many bytes or events; 415, its content type is not accepted.
            EventError: the request is malformed.
            EventSinkError: the event log could not be written.
        """
        counters = self._counters
        counters.requests += 1
        arrived_ms = self._clock.wall_ms()
        time_slice = TimeSlice(self._clock, self._loop)
        try:
            kind = content_type(request)
            body = await read_body(request, self._settings.max_body_bytes, GZIP)
            counters.bytes += len(body)
            if content_encoding(request, GZIP) == GZIP:
                body = await inflate(request, body, self._settings.max_body_bytes, time_slice.checkpoint)
            parts = await self._split(kind, body.removeprefix(codecs.BOM_UTF8), request, time_slice)
            events, failures, count = await self._parse(parts, arrived_ms, time_slice, of_headers if kind == BINARY else None)
        except (ApiError, EventError):
            counters.refused_requests += 1
            raise
        counters.refused_invalid += len(failures)
        outcomes = await self._sink.accept(tenant, [event for _, event in events], past=past)
        for (index, event), outcome in zip(events, outcomes, strict=True):
            if outcome not in (ACCEPTED, DUPLICATE):
                refused = refusal(outcome, event)
                failures.append({"index": index, "status": status(400, str(refused), _detail(refused))})
        return Outcome(outcomes.count(ACCEPTED), outcomes.count(DUPLICATE), failures, count)

    async def _split(self, kind: str, body: bytes, request: Request, time_slice: TimeSlice) -> Iterable[bytes | msgspec.Raw]:
        """Split a request into its events, as JSON text."""
        if kind in LINE_TYPES:
            # each line is an event: bytes that are not UTF-8 are a failure of their event alone
            return split_lines(body)
        await _check_utf8(body, time_slice)
        if kind == BINARY:
            return (structured(request.headers.raw, body),)
        return split_document(body, one=kind in (ONE, PLAIN), many=kind in (BATCH, PLAIN))

    async def _parse(
        self,
        parts: Iterable[bytes | msgspec.Raw],
        arrived_ms: int,
        time_slice: TimeSlice,
        in_words_of: Callable[[EventError], EventError] | None,
    ) -> tuple[list[tuple[int, Event]], list[dict[str, Any]], int]:
        """Returns the valid events with their indices, the failures, and the number of events. ``in_words_of`` changes an error so that it
        names the field as the caller does: a header in the binary mode.
        """
        limit = self._settings.max_events
        events: list[tuple[int, Event]] = []
        failures: list[dict[str, Any]] = []
        count = 0
        for index, part in enumerate(parts):
            count = index + 1
            if count > limit:
                raise ApiError(
                    413,
                    f"body: expected at most {limit} events, got more",
                    detail={"field": "body", "expected": f"at most {limit} events", "got": "more"},
                )
            try:
                events.append((index, parse_event(part, arrived_ms=arrived_ms, max_depth=self._settings.max_depth)))
            except EventError as refused:
                error = refused if in_words_of is None else in_words_of(refused)
                failures.append({"index": index, "status": status(400, str(error), _detail(error))})
            if time_slice.used_up:
                await time_slice.checkpoint()
        return events, failures, count


def content_type(request: Request) -> str:
    """Which of :data:`CONTENT_TYPES` the body has, or :data:`BINARY`.

    Raises:
        ApiError: 415, it has another one, or a charset other than UTF-8 and ASCII.
    """
    given = request.headers.get("content-type", "")
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    in_headers = is_binary(request.headers.raw) and (not kind or is_json(kind))
    if kind not in CONTENT_TYPES and not in_headers:
        raise ApiError.of_field("Content-Type", f"one of {', '.join(CONTENT_TYPES)}", given or None, http_status=415)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise ApiError.of_field("Content-Type", "charset=utf-8", given, http_status=415)
    return BINARY if in_headers and kind not in STRUCTURED else kind


_REFUSED = re.compile(r"(?P<field>[A-Za-z.]+): expected (?P<expected>.*)[,;] got (?P<got>.*)", re.DOTALL)


def refusal(outcome: str, event: Event) -> EventError:
    """The error of an event that a consumer refused, from the text of :class:`channels.events.RefusedEventError`.

    A text of another form becomes an error of the field ``time``, with the whole text and the time of the event.
    """
    if parts := _REFUSED.fullmatch(outcome):
        return EventError(parts["field"], parts["expected"], parts["got"])
    return EventError("time", f"one that is in order ({outcome})", show(format_time(event.time_ms)))


def _detail(error: EventError) -> dict[str, str]:
    return {"field": error.field, "expected": error.expected, "got": error.got}


async def _check_utf8(body: bytes, time_slice: TimeSlice) -> None:
    if body.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(body), _UTF8_AT_ONCE):
            decoder.decode(body[at : at + _UTF8_AT_ONCE])
            if time_slice.used_up:
                await time_slice.checkpoint()
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        got = f"the byte 0x{error.object[error.start]:02x}"
        raise EventError("body", "UTF-8", got) from None
