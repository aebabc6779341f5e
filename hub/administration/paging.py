"""Pages of lists: by key, so that what is added or removed meanwhile moves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import Query

T = TypeVar("T")

MAX_PAGE: Final = 500
"""Entries of one page."""

MAX_BODY_BYTES: Final = 64 * 1024
"""Bytes of a body; that of a client with all its URIs fits."""

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Entries of a page.")]
Cursor = Annotated[str | None, Query(description="`data.cursor` of the page before.", max_length=128)]


def page(kind: str, found: Sequence[T], limit: int, entry: Callable[[T], dict[str, Any]], key: Callable[[T], str]) -> dict[str, Any]:
    """The data of a page. ``found`` has one entry more than ``limit`` if there is another page."""
    data: dict[str, Any] = {kind: [entry(each) for each in found[:limit]]}
    if len(found) > limit:
        data["cursor"] = key(found[limit - 1])
    return data
