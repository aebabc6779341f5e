"""The answers of the audit log's API, as /openapi.json has them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from hub.http.schemas import Status


class AuditRow(BaseModel):
    """One row."""

    tenant: str
    number: int = Field(description="Counts the rows of the tenant from 1, without a gap.")
    at: str = Field(description="The time, by RFC 3339.")
    atMs: int = Field(description="The time, in milliseconds since 1970 UTC.")
    event: str
    who: str = Field(description="`person:` and a pseudonym, `key:` or `client:` and its name, `command-line:` and a pseudonym, or `hub`.")
    address: str = Field(description="The address of the client; empty: none, or not known.")
    client: str = Field(description="The OAuth client by which it was done; empty: none.")
    target: str = Field(description="What it was done to, such as `role:wall`.")
    count: int = Field(description="How often it happened.")
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    hash: str = Field(description="SHA-256 of the row and of the hash of the row before it.")


class AuditPage(BaseModel):
    """A page of rows, the newest first."""

    rows: list[AuditRow]
    cursor: str | None = Field(None, description="For the next page, which may hold older rows; a page without it is the last one.")


class AuditAnswer(BaseModel):
    """The envelope of a page."""

    status: Status
    data: AuditPage
