"""Bodies and answers of the access calls (``/api/v1``, docs/protocol/credentials.md)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hub.http.schemas import Status
from hub.security.credentials import MAX_SECRET_LENGTH
from hub.security.passwords import MAX_LENGTH
from hub.security.tickets import TICKET_S

_Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_LENGTH)]


class SignIn(BaseModel):
    """Either ``token``, or ``tenant``, ``username`` and ``password``."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "hubt_..."}]})

    token: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_SECRET_LENGTH)] | None = Field(
        default=None, description="A bearer token."
    )
    tenant: _Text | None = Field(default=None, description="The user's tenant.")
    username: _Text | None = Field(default=None, description="The user's name.")
    password: _Text | None = Field(default=None, description="The user's password.")


class Me(BaseModel):
    """A caller, as the hub sees it."""

    tenant: str = Field(description="The caller's tenant.", examples=["acme"])
    subject: str = Field(description="The user or name of a token, or `key:` and the name of an API key.", examples=["ana"])
    roles: list[str] = Field(description="The caller's roles.", examples=[["supervisor"]])


class MeAnswer(BaseModel):
    """Envelope of a caller."""

    status: Status
    data: Me


class Ticket(BaseModel):
    """A ticket, and how long it is good for."""

    ticket: str = Field(description="Goes into the URL: `/ws?ticket=...`, `/events?ticket=...`.")
    expiresIn: int = Field(description="Seconds.", examples=[TICKET_S])


class TicketAnswer(BaseModel):
    """Envelope of a ticket."""

    status: Status
    data: Ticket


class Done(BaseModel):
    """Envelope of an answer without data."""

    status: Status
