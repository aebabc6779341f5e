"""REST: the audit log of the caller's tenant (docs/audit.md#rest)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query, Response

from hub.audit import store
from hub.audit.log import AuditLog
from hub.audit.models import Event
from hub.audit.schemas import AuditAnswer
from hub.audit.serializers import row_entry
from hub.core.field_error import FieldError
from hub.core.principal import Principal
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.storage.transactions import Transactions

MAX_PAGE: Final = 500
"""Rows of one page."""

MAX_CURSOR: Final = 15
"""Digits of a cursor."""


def create_router(transactions: Transactions, audit: AuditLog) -> HubRouter:
    """The routes."""
    router = HubRouter(prefix="/api/v1", tags=["Audit"])

    @router.get("/audit", summary="The audit log", response_model=AuditAnswer)
    async def rows(
        caller: Annotated[Principal, requires("/audit/read")],
        event: Annotated[list[Event] | None, Query(description="Only of these events; may be repeated.")] = None,
        person: Annotated[
            str | None, Query(description="Only what this user did, or what was done to it: a name, as it signs in.", max_length=128)
        ] = None,
        since: Annotated[int | None, Query(description="Only what is newer, in milliseconds since 1970 UTC.", ge=0, lt=2**53)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Rows of a page.")] = 100,
        cursor: Annotated[str | None, Query(description="`data.cursor` of the page before.", max_length=MAX_CURSOR)] = None,
    ) -> Response:
        """Who changed or tried what in the caller's tenant, the newest first.

        A page with few rows, or none, is the last one only if it has no `cursor`: one call looks through a limited number of rows.
        """
        before = _before(cursor)
        who = "" if person is None else audit.person(caller.tenant, person)
        wanted = store.Wanted(tuple(event or ()), who, since or 0)
        found = await transactions.read(lambda tx: store.page(tx, caller.tenant, wanted, before, limit))
        data: dict[str, Any] = {"rows": [row_entry(row) for row in found.rows]}
        if found.before is not None:
            data["cursor"] = str(found.before)
        return respond(data)

    return router


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit()):
        raise FieldError.of_value("cursor", "`data.cursor` of the page before", cursor)
    return int(cursor)
