"""Bodies of requests and responses with several statistics. Large ones are parsed and encoded in pieces, so that the event loop goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
import orjson

from hub.core.json_text import ascii_json
from hub.core.time_slice import TimeSlice
from hub.http.body import INLINE_BYTES, check_members
from hub.http.errors import ApiError

BYTES_A_MEMBER: Final = 10
"""A body has at most one member or element for so many bytes that it may have: those of a statistic take more."""

_ITEM_MEMBERS: Final = 1_000
"""Members and elements of one statistic, which is parsed in one piece."""

_ITEMS_AT_ONCE: Final = 128
"""Items that are encoded in one piece: 0.5 ms or so."""

_ABSENT: Final = msgspec.Raw(b"null")
_SHOWN: Final = 200

_BODY: Final = ("body", "a JSON object")
_DATA: Final = ("data", "an object with statistics")
_STATISTICS: Final = ("data.statistics", "a list of one or more statistics")

T = TypeVar("T")


class _Body(msgspec.Struct):
    operation_id: msgspec.Raw = msgspec.field(default=_ABSENT, name="operationId")
    data: msgspec.Raw = _ABSENT


class _Data(msgspec.Struct):
    statistics: msgspec.Raw = _ABSENT


_body: Final = msgspec.json.Decoder(_Body)
_data: Final = msgspec.json.Decoder(_Data)
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])


async def parse_request(raw: bytes, max_bytes: int, time_slice: TimeSlice) -> tuple[object, list[object]]:
    """``operationId`` (None without one) and ``data.statistics``, a list with something in it, of a body that may have ``max_bytes``.

    A large one is parsed statistic by statistic: only where they begin and end is found out in one piece.

    Raises:
        ApiError: 400, a member is missing or of another type, or it is no JSON; 413, it has more members than so many bytes need.
    """
    if len(raw) <= INLINE_BYTES:
        body = _load(raw)
        if not isinstance(body, dict):
            raise ApiError.of_field(*_BODY, body)
        data = body.get("data")
        if not isinstance(data, dict):
            raise ApiError.of_field(*_DATA, data)
        items = data.get("statistics")
        if not isinstance(items, list) or not items:
            raise ApiError.of_field(*_STATISTICS, items)
        return body.get("operationId"), items
    check_members(raw, max_bytes // BYTES_A_MEMBER)
    outline = _decode(raw, _body, *_BODY)
    parts = _decode(_decode(outline.data, _data, *_DATA).statistics, _elements, *_STATISTICS)
    if not parts:
        raise ApiError.of_field(*_STATISTICS, [])
    found: list[object] = []
    for part in parts:
        check_members(bytes(part), _ITEM_MEMBERS, "data.statistics")
        found.append(_load(part))
        await time_slice.checkpoint()
    check_members(bytes(outline.operation_id), _ITEM_MEMBERS, "operationId")
    return _load(outline.operation_id), found


async def encode_list(items: Sequence[T], shown: Callable[[T], dict[str, Any]], time_slice: TimeSlice) -> orjson.Fragment:
    """A list of what ``shown`` says of each item, as a part of an answer; piece by piece."""
    pieces = []
    for start in range(0, len(items), _ITEMS_AT_ONCE):
        await time_slice.checkpoint()
        pieces.append(ascii_json([shown(item) for item in items[start : start + _ITEMS_AT_ONCE]])[1:-1])
    return orjson.Fragment(b"[%b]" % b",".join(pieces))


def _load(raw: bytes | msgspec.Raw) -> Any:
    try:
        return orjson.loads(memoryview(raw))
    except orjson.JSONDecodeError as error:
        raise _no_json(error) from None


def _decode(raw: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[T], field: str, expected: str) -> T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        raise ApiError.of_field(field, expected, _start_of(raw)) from None
    except msgspec.DecodeError as error:
        raise _no_json(error) from None


def _no_json(error: Exception) -> ApiError:
    return ApiError(400, f"body: expected a JSON object, got {error}", detail={"field": "body"})


def _start_of(raw: bytes | msgspec.Raw) -> str:
    return bytes(memoryview(raw)[:_SHOWN]).decode("utf-8", "replace")
