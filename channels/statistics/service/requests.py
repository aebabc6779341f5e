"""The items of REST requests, each checked field by field (docs/protocol/statistics.md#requests)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from channels.statistics.engine.definition import DefinitionError, ObjectType, Opened, parse_definition, parse_object_type
from channels.statistics.engine.library import predefined
from hub.core.json_text import show

MAX_ID_LENGTH = 255
"""Characters of an operationId, statisticId or objectId: those of an id in an event."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One statistic that a request asks for. ``name`` is None if the request has a definition of its own."""

    statistic_id: str
    object_type: ObjectType
    object_id: str
    name: str | None
    opened: Opened


@dataclass(frozen=True, slots=True)
class Refusal:
    """One statistic that is refused. ``message`` says which field is wrong, what was expected and what came.

    ``name``, ``object_id`` and ``object_type`` are those of the request, as far as they can be shown.
    """

    statistic_id: str | None
    field: str
    message: str
    name: str | None = None
    object_id: str | None = None
    object_type: str | None = None
    code: int = 400


class ItemError(ValueError):
    """A field of one item is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def parse_item(item: object, taken: set[str], *, by_name_only: bool = False) -> Wanted | Refusal:
    """Check one element of ``data.statistics``. ``taken`` holds the statistic ids of the items before it, and this one's is added; an id
    that was used before is refused (docs/protocol/statistics.md#ids).

    With ``by_name_only`` an item is ``{name, objectId, objectType}`` as for get-statistic-ex, and has no ``statisticId``.
    """
    if not isinstance(item, dict):
        return Refusal(None, "statistics", f"statistics: expected objects, got {show(item)}")
    statistic_id: str | None = None
    try:
        if not by_name_only:
            statistic_id = _statistic_id(item.get("statisticId"))
            if statistic_id in taken:
                raise ItemError("statisticId", f"expected one that this request has not used before, got {show(statistic_id)}")
            taken.add(statistic_id)
        object_id = check_id("objectId", item.get("objectId"))
        object_type = parse_object_type(item.get("objectType"))
        name, opened = _statistic(item, object_type, by_name_only)
    except (ItemError, DefinitionError) as error:
        return Refusal(
            statistic_id,
            error.field,
            str(error),
            name=_legible(item.get("name")),
            object_id=_legible(item.get("objectId")),
            object_type=_legible(item.get("objectType")),
        )
    return Wanted(statistic_id or "", object_type, object_id, name, opened)


def check_id(field: str, value: object) -> str:
    """An id that a client chose: text of 1 to 255 characters, none of them a control character.

    Raises:
        ItemError: it is something else.
    """
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_LENGTH or not _is_plain(value):
        came = "nothing" if value is None else show(value)
        raise ItemError(field, f"expected text of 1 to {MAX_ID_LENGTH} characters without control characters, got {came}")
    return value


def new_id() -> str:
    """An id for a subscription or statistic whose request brought none (docs/protocol/statistics.md#ids)."""
    return str(uuid4())


def _is_plain(text: str) -> bool:
    # a lone surrogate cannot be encoded; the rest are control characters of ASCII
    return not any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in text)


def _statistic_id(value: object) -> str:
    return new_id() if value is None else check_id("statisticId", value)


def _statistic(item: dict[str, object], object_type: ObjectType, by_name_only: bool) -> tuple[str | None, Opened]:
    name, definition = item.get("name"), item.get("definition")
    if by_name_only or definition is None:
        if name is None:
            expected = "the name of a predefined statistic" if by_name_only else "either name or definition"
            raise ItemError("name", f"expected {expected}, got nothing")
        opened = predefined(name, object_type)
        return str(name), opened
    if name is not None:
        raise ItemError("definition", "expected either name or definition, got both")
    return None, parse_definition(definition, object_type)


def _legible(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= MAX_ID_LENGTH and _is_plain(value) else None
